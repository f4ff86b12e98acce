-- The folded totals of accounts without a limit.
WITH legs AS (
  SELECT credit_id AS account_id, amount AS credited, 0 AS debited, booked_at FROM ledger_entry WHERE kind <> 'hold'
  UNION ALL SELECT debit_id, 0, amount, booked_at FROM ledger_entry WHERE kind <> 'hold'),
counted AS (
  SELECT l.account_id, sum(credited) AS credited, sum(debited) AS debited FROM legs l
    JOIN ledger_account a ON a.id = l.account_id
   WHERE NOT a.limited AND booked_at < ((SELECT max(day) FROM ledger_seal) + 1)::timestamp AT TIME ZONE 'Asia/Seoul'
   GROUP BY l.account_id)
SELECT 'account ' || account_id, (t.credited, t.debited)::text, (c.credited, c.debited)::text
  FROM counted c FULL JOIN ledger_total t USING (account_id)
 WHERE (t.credited, t.debited) IS DISTINCT FROM (c.credited, c.debited) ORDER BY account_id
