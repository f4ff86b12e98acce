-- Each day's digest again, from the one that stands for the day before: the first day that differs is the one that was changed.
SELECT s.day::text, s.entries || ' entries, ' || left(s.digest, 12), d.o_entries || ' entries, ' || left(d.o_digest, 12)
  FROM (SELECT *, lag(digest, 1, '') OVER (ORDER BY day) AS before FROM ledger_seal) s
  CROSS JOIN LATERAL ledger_digest(s.day, s.before) d
 WHERE (s.digest, s.previous, s.entries) IS DISTINCT FROM (d.o_digest::varchar, s.before, d.o_entries)
UNION ALL
-- Nothing was booked before the first of them.
SELECT (e.booked_at AT TIME ZONE 'Asia/Seoul')::date::text, 'entry ' || e.id, 'nothing before ' || (SELECT min(day) FROM ledger_seal)
  FROM ledger_entry e WHERE e.booked_at < (SELECT min(day) FROM ledger_seal)::timestamp AT TIME ZONE 'Asia/Seoul'
 ORDER BY 1
