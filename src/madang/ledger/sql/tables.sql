-- What Django's models can't say. Foreign keys are checked at once and not at commit. Balances and sums are updated in
-- place, so their pages keep room for it.
ALTER TABLE ledger_account
  ADD FOREIGN KEY (commodity_id) REFERENCES ledger_commodity;
ALTER TABLE ledger_balance
  ADD FOREIGN KEY (account_id) REFERENCES ledger_account,
  SET (fillfactor = 50);
ALTER TABLE ledger_usage_day SET (fillfactor = 70);
ALTER TABLE ledger_usage_month SET (fillfactor = 70);

-- PostgreSQL reads the CHECKs of a table anew in every statement that writes to it, and those of a type once. So what one
-- column can't be is said by its type.
CREATE DOMAIN ledger_kind AS varchar(20) COLLATE "C" CONSTRAINT ledger_entry_kind CHECK (VALUE IN
  ('grant', 'hold', 'settle', 'release', 'expire', 'charge', 'overrun', 'refund', 'transfer', 'reclaim', 'reverse'));
CREATE DOMAIN ledger_amount AS bigint CONSTRAINT ledger_amount_not_negative CHECK (VALUE >= 0);
CREATE DOMAIN ledger_figure AS bigint CONSTRAINT ledger_balance_not_negative CHECK (VALUE >= 0);
ALTER TABLE ledger_entry
  ALTER kind TYPE ledger_kind, ALTER amount TYPE ledger_amount;
ALTER TABLE ledger_balance ALTER credited TYPE ledger_figure, ALTER debited TYPE ledger_figure, ALTER held TYPE ledger_figure;

-- Every entry as its two signed legs; they sum to zero. A hold moves nothing, so it has none.
CREATE VIEW ledger_leg AS
  SELECT id AS entry_id, debit_id AS account_id, -amount AS amount, kind, period, booked_at FROM ledger_entry WHERE kind <> 'hold'
  UNION ALL
  SELECT id, credit_id, amount, kind, period, booked_at FROM ledger_entry WHERE kind <> 'hold';

-- What was used, as its sources say. Partitioned, so that old months can be written to Parquet and let go.
CREATE TABLE ledger_usage (
  entry_id bigint NOT NULL, source varchar(100) COLLATE "C" NOT NULL, key varchar(200) COLLATE "C" NOT NULL, rev int NOT NULL,
  submitted_at timestamptz NOT NULL, account_id bigint NOT NULL, user_ref bigint NOT NULL, resource_ref bigint NOT NULL,
  started_at timestamptz NOT NULL, ended_at timestamptz NOT NULL, amount bigint NOT NULL, wall_s bigint NOT NULL,
  wait_s bigint NOT NULL, raw jsonb,
  PRIMARY KEY (entry_id, submitted_at)
) PARTITION BY RANGE (submitted_at);
