-- Days with entries that were over, and their night too, when something was booked last (or at that instant), and have no seal;
-- or that were over when the nightly task last began that ended well: it has sealed them, so somebody took the seal away.
WITH night AS MATERIALIZED (
  SELECT max(e.at) AS began FROM procrastinate_jobs j JOIN procrastinate_events e ON e.job_id = j.id AND e.type = 'started'
   WHERE j.task_name = 'ledger.every_night' AND j.status = 'succeeded'),
since AS MATERIALIZED (
  SELECT (booked_at AT TIME ZONE 'Asia/Seoul')::date AS day, count(*) AS entries, max(booked_at) AS last FROM ledger_entry
   WHERE booked_at >= coalesce((SELECT max(day) + 1 FROM ledger_seal)::timestamp AT TIME ZONE 'Asia/Seoul', '-infinity') GROUP BY 1)
SELECT day::text, 'no seal', entries || ' entries' FROM since
 WHERE day < (SELECT greatest((greatest(max(last), %(at)s) AT TIME ZONE 'Asia/Seoul' - interval '6 hours')::date,
                              (SELECT began AT TIME ZONE 'Asia/Seoul' FROM night)::date) FROM since)
UNION ALL
SELECT (day + 1)::text, 'no seal', 'one of each day'
  FROM (SELECT day, lead(day) OVER (ORDER BY day) AS next FROM ledger_seal) s WHERE next > day + 1
 ORDER BY 1
