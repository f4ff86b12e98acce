-- The sums of months: use by the clock from the days, what was booked from the entries of the ledger itself.
WITH booked AS (
  SELECT u.account_id, u.user_ref, u.resource_ref, e.period AS month, coalesce(e.adjusts_period, e.period) AS adjusts,
         e.amount AS booked, (e.id = u.entry_id)::int AS records, CASE WHEN e.id = u.entry_id THEN u.wait_s ELSE 0 END AS wait_s
    FROM ledger_usage u
    JOIN ledger_entry e ON e.source = u.source AND e.ext_key = u.key AND e.rev = u.rev AND e.kind IN ('settle', 'charge', 'overrun')
  UNION ALL
  SELECT u.account_id, u.user_ref, u.resource_ref, r.period, coalesce(r.adjusts_period, r.period), -r.amount,
         -(e.id = u.entry_id)::int, CASE WHEN e.id = u.entry_id THEN -u.wait_s ELSE 0 END
    FROM ledger_usage u
    JOIN ledger_entry e ON e.source = u.source AND e.ext_key = u.key AND e.rev = u.rev AND e.kind IN ('settle', 'charge', 'overrun')
    JOIN ledger_entry r ON r.reverses_id = e.id AND r.source = 'ledger'),
parts AS (
  SELECT month, adjusts, account_id, user_ref, resource_ref, records, 0::numeric AS used, booked, 0::numeric AS wall_s, wait_s
    FROM booked
  UNION ALL
  SELECT date_trunc('month', day)::date, date_trunc('month', day)::date, account_id, user_ref, resource_ref, 0, used, 0, wall_s, 0
    FROM ledger_usage_day),
counted AS (
  SELECT month, adjusts, account_id, user_ref, resource_ref, sum(records) AS records, sum(used) AS used, sum(booked) AS booked,
         sum(wall_s) AS wall_s, sum(wait_s) AS wait_s FROM parts GROUP BY 1, 2, 3, 4, 5),
both_of_them AS (
  SELECT month, adjusts, account_id, user_ref, resource_ref, (s.records, s.used, s.booked, s.wall_s, s.wait_s)::text AS stored,
         (c.records, c.used, c.booked, c.wall_s, c.wait_s)::text AS counted
    FROM counted c FULL JOIN ledger_usage_month s USING (month, adjusts, account_id, user_ref, resource_ref)
   WHERE (c.records, c.used, c.booked, c.wall_s, c.wait_s) IS DISTINCT FROM (s.records, s.used, s.booked, s.wall_s, s.wait_s))
SELECT month || ' for ' || adjusts || ', account ' || account_id || ', user ' || user_ref || ', resource ' || resource_ref,
       stored, counted
  FROM both_of_them ORDER BY month, adjusts, account_id, user_ref, resource_ref
