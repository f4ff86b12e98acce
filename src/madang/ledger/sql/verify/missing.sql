-- Days with entries that were over, and their night too, when something was booked last (or at that instant), and have no seal.
WITH since AS MATERIALIZED (
  SELECT (booked_at AT TIME ZONE 'Asia/Seoul')::date AS day, count(*) AS entries, max(booked_at) AS last FROM ledger_entry
   WHERE booked_at >= coalesce((SELECT max(day) + 1 FROM ledger_seal)::timestamp AT TIME ZONE 'Asia/Seoul', '-infinity') GROUP BY 1)
SELECT day::text, 'no seal', entries || ' entries' FROM since
 WHERE day < (SELECT (greatest(max(last), %(at)s) AT TIME ZONE 'Asia/Seoul' - interval '6 hours')::date FROM since)
UNION ALL
SELECT (day + 1)::text, 'no seal', 'one of each day'
  FROM (SELECT day, lead(day) OVER (ORDER BY day) AS next FROM ledger_seal) s WHERE next > day + 1
 ORDER BY 1
