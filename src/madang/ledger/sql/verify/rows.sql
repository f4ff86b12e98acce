-- Entries and records that name an account, hold or entry that isn't there, or isn't what it should be.
SELECT 'entry ' || e.id, e.kind || ' from ' || e.debit_id || ' to ' || e.credit_id || coalesce(' of hold ' || e.hold_id, ''),
       'two accounts of one commodity and, for what ends, refunds or reverses another entry, that entry'
  FROM ledger_entry e
  LEFT JOIN ledger_account d ON d.id = e.debit_id LEFT JOIN ledger_account c ON c.id = e.credit_id
  LEFT JOIN ledger_entry h ON h.id = e.hold_id LEFT JOIN ledger_entry o ON o.id = coalesce(e.reverses_id, e.refunds_id)
 WHERE d.commodity_id IS DISTINCT FROM c.commodity_id OR d.id IS NULL OR e.debit_id = e.credit_id
    OR (e.kind IN ('refund', 'reverse')) <> coalesce((o.debit_id, o.credit_id) = (e.credit_id, e.debit_id), false)
    OR (e.kind IN ('settle', 'release', 'expire')) <> coalesce(h.kind = 'hold' AND h.debit_id = e.debit_id, false)
    OR e.kind = 'overrun' AND e.concerns_id IS NULL
UNION ALL
SELECT 'entry ' || e.id, e.kind || ' from ' || d.role || ' to ' || c.role, 'accounts of other roles'
  FROM ledger_entry e JOIN ledger_account d ON d.id = e.debit_id JOIN ledger_account c ON c.id = e.credit_id
 WHERE NOT CASE e.kind
   WHEN 'grant' THEN (d.role, c.role) = ('pool', 'allocation')
   WHEN 'reclaim' THEN (d.role, c.role) = ('allocation', 'pool')
   WHEN 'transfer' THEN d.role IN ('allocation', 'exchange') AND c.role IN ('allocation', 'exchange')
   WHEN 'overrun' THEN d.role = 'overrun' AND c.role IN ('consumed', 'exchange')
   WHEN 'refund' THEN d.role IN ('consumed', 'exchange') AND c.role = 'allocation'
   WHEN 'reverse' THEN true
   ELSE d.role = 'allocation' AND c.role IN ('consumed', 'exchange') END
UNION ALL
SELECT 'entry ' || o.id, 'gave back ' || g.amount, 'at most ' || o.amount
  FROM (SELECT coalesce(e.refunds_id, e.reverses_id) AS entry_id, sum(e.amount) AS amount FROM ledger_entry e
         WHERE coalesce(e.refunds_id, e.reverses_id) IS NOT NULL
           AND NOT (e.kind = 'refund' AND EXISTS (SELECT FROM ledger_entry v WHERE v.reverses_id = e.id)) GROUP BY 1) g
  JOIN ledger_entry o ON o.id = g.entry_id WHERE g.amount > o.amount
UNION ALL
SELECT 'account ' || b.account_id, 'its use goes to account ' || b.sink, 'to what is used of its commodity'
  FROM ledger_balance b JOIN ledger_account a ON a.id = b.account_id LEFT JOIN ledger_account s ON s.id = b.sink
 WHERE (a.role = 'allocation') IS DISTINCT FROM coalesce(s.role = 'consumed' AND NOT s.limited AND s.commodity_id = a.commodity_id, false)
UNION ALL
SELECT 'hold ' || x.hold_id, 'its excess is entry ' || x.entry_id, 'an overrun or record of its account'
  FROM ledger_excess x LEFT JOIN ledger_entry h ON h.id = x.hold_id LEFT JOIN ledger_entry o ON o.id = x.entry_id
 WHERE NOT coalesce(h.kind = 'hold' AND CASE WHEN o.kind = 'overrun' THEN o.concerns_id = h.debit_id
   ELSE o.debit_id = h.debit_id AND EXISTS (SELECT FROM ledger_usage u WHERE u.entry_id = o.id) END, false)
UNION ALL
SELECT 'record ' || u.source || ' ' || u.key, u.amount || ' of account ' || u.account_id, b.amount || ' of account ' || b.account_id
  FROM ledger_usage u
  CROSS JOIN LATERAL (
    SELECT sum(e.amount) AS amount, min(CASE e.kind WHEN 'overrun' THEN e.concerns_id ELSE e.debit_id END) AS account_id
      FROM ledger_entry e WHERE e.source = u.source AND e.ext_key = u.key AND e.rev = u.rev AND e.kind IN ('settle', 'charge', 'overrun')) b
 WHERE (u.amount, u.account_id) IS DISTINCT FROM (b.amount, b.account_id)
UNION ALL
SELECT 'record ' || u.source || ' ' || u.key, 'entry ' || u.entry_id, 'its settlement, charge or overrun'
  FROM ledger_usage u LEFT JOIN ledger_entry e ON e.id = u.entry_id
 WHERE (e.source, e.ext_key, e.rev) IS DISTINCT FROM (u.source, u.key, u.rev)
    OR e.kind NOT IN ('settle', 'charge', 'overrun') ORDER BY 1
