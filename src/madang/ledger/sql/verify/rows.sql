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
SELECT 'record ' || u.source || ' ' || u.key, 'entry ' || u.entry_id, 'its settlement, charge or overrun'
  FROM ledger_usage u LEFT JOIN ledger_entry e ON e.id = u.entry_id
 WHERE (e.source, e.ext_key, e.rev) IS DISTINCT FROM (u.source, u.key, u.rev)
    OR e.kind NOT IN ('settle', 'charge', 'overrun') ORDER BY 1
