-- What Django's models can't say. Foreign keys are checked at once: an entry on an account that isn't there never exists,
-- not even until commit. The balance rows are updated in place, so their pages keep room for it.
ALTER TABLE ledger_account
  ADD FOREIGN KEY (commodity_id) REFERENCES ledger_commodity;
ALTER TABLE ledger_balance
  ADD FOREIGN KEY (account_id) REFERENCES ledger_account,
  SET (fillfactor = 50);
ALTER TABLE ledger_entry
  ADD FOREIGN KEY (debit_id) REFERENCES ledger_account,
  ADD FOREIGN KEY (credit_id) REFERENCES ledger_account,
  ADD FOREIGN KEY (used_by_id) REFERENCES ledger_account,
  ADD FOREIGN KEY (hold_id) REFERENCES ledger_entry,
  ADD FOREIGN KEY (reverses_id) REFERENCES ledger_entry,
  ADD FOREIGN KEY (refunds_id) REFERENCES ledger_entry;

-- Every entry as its two signed legs; they sum to zero. A hold moves nothing, so it has none.
CREATE VIEW ledger_leg AS
  SELECT id AS entry_id, debit_id AS account_id, -amount AS amount, kind, period, booked_at FROM ledger_entry WHERE kind <> 'hold'
  UNION ALL
  SELECT id, credit_id, amount, kind, period, booked_at FROM ledger_entry WHERE kind <> 'hold';
