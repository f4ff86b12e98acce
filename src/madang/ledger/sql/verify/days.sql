-- The sums of days, rebuilt from the records one by one. A record that was replaced has its first entry reversed by the metering.
WITH live AS (SELECT u.* FROM ledger_usage u
      WHERE NOT EXISTS (SELECT FROM ledger_entry r WHERE r.reverses_id = u.entry_id AND r.source = 'ledger')),
counted AS (
  SELECT c.day, l.account_id, l.user_ref, l.resource_ref, count(*) FILTER (WHERE c.is_last) AS records, sum(c.used) AS used,
         sum(c.wall_s) AS wall_s, coalesce(sum(l.wait_s) FILTER (WHERE c.is_last), 0) AS wait_s
    FROM live l CROSS JOIN LATERAL ledger_cut(l.started_at, l.ended_at, l.amount, l.wall_s) c GROUP BY 1, 2, 3, 4),
stored AS (SELECT * FROM ledger_usage_day WHERE (records, used, wall_s, wait_s) <> (0, 0, 0, 0)),
both_of_them AS (
  SELECT day, account_id, user_ref, resource_ref, (s.records, s.used, s.wall_s, s.wait_s)::text AS stored,
         (c.records, c.used, c.wall_s, c.wait_s)::text AS counted
    FROM counted c FULL JOIN stored s USING (day, account_id, user_ref, resource_ref)
   WHERE (c.records, c.used, c.wall_s, c.wait_s) IS DISTINCT FROM (s.records, s.used, s.wall_s, s.wait_s)
     AND (c.records, c.used, c.wall_s, c.wait_s) IS DISTINCT FROM (0::bigint, 0::numeric, 0::numeric, 0::numeric))
SELECT day || ', account ' || account_id || ', user ' || user_ref || ', resource ' || resource_ref, stored, counted
  FROM both_of_them ORDER BY day, account_id, user_ref, resource_ref
