-- Each day's digest again, from the one that stands for the day before: the first day that differs is the one that was changed.
-- The oldest seals are of entries alone; the first that isn't covers the records of all days before.
SELECT s.day::text, s.entries || ' entries, ' || coalesce(s.records || ' records, ', '') || left(s.digest, 12),
       d.o_entries || ' entries, ' || coalesce(r.o_records || ' records, ', '') || left(coalesce(r.o_digest, d.o_digest), 12)
  FROM (SELECT *, lag(digest, 1, '') OVER (ORDER BY day) AS before, lag(records) OVER (ORDER BY day) AS records_before FROM ledger_seal) s
  CROSS JOIN LATERAL ledger_digest(s.day, s.before) d
  CROSS JOIN LATERAL ledger_digest_records(
    CASE WHEN s.records_before IS NULL THEN '-infinity' ELSE s.day END, CASE WHEN s.records IS NOT NULL THEN s.day END, d.o_digest) r
 WHERE (s.digest, s.previous, s.entries, s.records)
       IS DISTINCT FROM (coalesce(r.o_digest, d.o_digest)::varchar, s.before, d.o_entries, r.o_records)
UNION ALL
-- Nothing was booked before the first of them.
SELECT (e.booked_at AT TIME ZONE 'Asia/Seoul')::date::text, 'entry ' || e.id, 'nothing before ' || (SELECT min(day) FROM ledger_seal)
  FROM ledger_entry e WHERE e.booked_at < (SELECT min(day) FROM ledger_seal)::timestamp AT TIME ZONE 'Asia/Seoul'
 ORDER BY 1
