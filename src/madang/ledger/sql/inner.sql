-- The steps that the verbs are made of. Nobody but the verbs may call them.

CREATE FUNCTION ledger_month(p_at timestamptz) RETURNS date LANGUAGE sql STABLE
AS $$ SELECT date_trunc('month', p_at AT TIME ZONE 'Asia/Seoul')::date $$;

-- Refuse because of what is left. The same SQLSTATE and name as the CHECK that stands behind every update; the detail is
-- "<left> <unit>". An account without a balance row isn't limited, and can't hold or give.
CREATE FUNCTION ledger_refuse_overspent(p_account bigint) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE v_left bigint; v_unit text;
BEGIN
  SELECT b.credited - b.debited - b.held, c.unit INTO v_left, v_unit
    FROM ledger_balance b JOIN ledger_account a ON a.id = b.account_id JOIN ledger_commodity c ON c.id = a.commodity_id
   WHERE b.account_id = p_account;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'account % is not limited', p_account USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_limited';
  END IF;
  RAISE EXCEPTION 'overspent' USING ERRCODE = '23514', CONSTRAINT = 'ledger_never_overspent', TABLE = 'ledger_balance',
    DETAIL = format('%s %s', v_left, v_unit);
END $$;

-- Both accounts exist, have the roles that the verb needs, and count the same commodity. What is used up is never limited:
-- its account is not updated on the hot path.
CREATE FUNCTION ledger_check_pair(p_debit bigint, p_debit_roles text[], p_credit bigint, p_credit_roles text[])
RETURNS void LANGUAGE plpgsql
AS $$
DECLARE v_debit ledger_account; v_credit ledger_account;
BEGIN
  SELECT * INTO v_debit FROM ledger_account WHERE id = p_debit;
  SELECT * INTO v_credit FROM ledger_account WHERE id = p_credit;
  IF v_debit.id IS NULL OR v_credit.id IS NULL THEN
    RAISE EXCEPTION 'no such account' USING ERRCODE = 'MD404', CONSTRAINT = 'ledger_account';
  END IF;
  IF p_debit = p_credit THEN
    RAISE EXCEPTION 'one account' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_two_accounts';
  END IF;
  IF v_debit.commodity_id <> v_credit.commodity_id THEN
    RAISE EXCEPTION 'two commodities' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_one_commodity';
  END IF;
  IF NOT (v_debit.role = ANY (p_debit_roles) AND v_credit.role = ANY (p_credit_roles))
     OR (v_credit.limited AND v_credit.role = 'consumed') THEN
    RAISE EXCEPTION '% to %', v_debit.role, v_credit.role USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_account_role';
  END IF;
END $$;

-- An older view of what is booked would give back twice, or book into a month that is closed.
CREATE FUNCTION ledger_need_a_new_view() RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the ledger is written in READ COMMITTED' USING ERRCODE = '0A000';
  END IF;
END $$;

-- What a verb begins with: the lock that all postings share and that the closing of a month takes alone, then the balances
-- that it may change, in the order of their ids, and only then any entry. Whatever is read after it is as it will stay.
CREATE FUNCTION ledger_enter(p_accounts bigint[] DEFAULT '{}') RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  PERFORM ledger_need_a_new_view();
  PERFORM pg_advisory_xact_lock_shared(119182731994482);  -- the letters of "ledger" as one number
  PERFORM FROM ledger_balance WHERE account_id = ANY (p_accounts) ORDER BY account_id FOR NO KEY UPDATE;
END $$;

-- The month that an event counts in. What happened in a closed month counts in the open one and names the closed one.
-- The clock's own month is never closed, so nothing has to be looked up for what happens now.
CREATE FUNCTION ledger_period_of(p_event_at timestamptz, p_now timestamptz, OUT o_period date, OUT o_adjusts date)
LANGUAGE plpgsql STABLE
AS $$
DECLARE v_closed date;
BEGIN
  IF p_event_at NOT BETWEEN '2000-01-01' AND p_now + interval '1 day' THEN
    RAISE EXCEPTION 'not yet' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_usage_times';
  END IF;
  o_period := ledger_month(coalesce(p_event_at, p_now));
  IF o_period < ledger_month(p_now) THEN
    SELECT max(month) INTO v_closed FROM ledger_period;
    IF o_period <= v_closed THEN
      o_adjusts := o_period;
      o_period := greatest(ledger_month(p_now), (v_closed + interval '1 month')::date);
    END IF;
  END IF;
END $$;

-- Write one entry, or find that it was written before.
-- (id, true): written now. (id, false): a replay, the same key and payload. (null, false): what it ends or reverses was
-- ended or reversed under another key; the verb decides what that means. Another payload under the key is a conflict.
-- The verb has entered, so that the month read here stays open until commit. clock_timestamp(), not now(): now() is the start of the transaction, maybe before the closing.
CREATE FUNCTION ledger_write(
  p_kind text, p_debit bigint, p_credit bigint, p_amount bigint, p_source text, p_key text, p_event_at timestamptz,
  p_actor bigint, p_reason text, p_hold bigint DEFAULT NULL, p_reverses bigint DEFAULT NULL, p_refunds bigint DEFAULT NULL,
  p_concerns bigint DEFAULT NULL, p_rev int DEFAULT 0, OUT o_entry bigint, OUT o_fresh boolean
) LANGUAGE plpgsql
AS $$
DECLARE
  v_old ledger_entry; v_now timestamptz; v_month record;
  v_concerns bigint := coalesce(p_concerns, CASE WHEN p_kind IN ('grant', 'refund', 'transfer', 'reverse') THEN p_credit END);
BEGIN
  v_now := clock_timestamp();
  v_month := ledger_period_of(p_event_at, v_now);
  INSERT INTO ledger_entry (source, ext_key, kind, rev, debit_id, credit_id, amount, hold_id, reverses_id, refunds_id, concerns_id,
                            event_at, booked_at, period, adjusts_period, actor_id, reason)
  VALUES (p_source, p_key, p_kind, p_rev, p_debit, p_credit, p_amount, p_hold, p_reverses, p_refunds, v_concerns,
          coalesce(p_event_at, v_now), v_now, v_month.o_period, v_month.o_adjusts, p_actor, p_reason)
  ON CONFLICT DO NOTHING RETURNING id INTO o_entry;
  o_fresh := FOUND;
  IF NOT o_fresh THEN
    SELECT * INTO v_old FROM ledger_entry WHERE source = p_source AND ext_key = p_key AND kind = p_kind AND rev = p_rev;
    IF FOUND AND (v_old.debit_id, v_old.credit_id, v_old.amount, v_old.hold_id, v_old.reverses_id, v_old.refunds_id, v_old.concerns_id)
       IS DISTINCT FROM (p_debit, p_credit, p_amount, p_hold, p_reverses, p_refunds, v_concerns) THEN
      RAISE EXCEPTION 'key used with another payload' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_key';
    END IF;
    o_entry := v_old.id;
  END IF;
END $$;

-- Move an amount between the balances of the two accounts, where they are limited; the verb has locked them.
CREATE FUNCTION ledger_move(p_debit bigint, p_credit bigint, p_amount bigint) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  UPDATE ledger_balance SET debited = debited + p_amount
   WHERE account_id = p_debit AND credited - debited - held >= p_amount;
  IF NOT FOUND AND EXISTS (SELECT FROM ledger_account WHERE id = p_debit AND limited) THEN
    IF ledger_free_overdue(p_debit) THEN
      UPDATE ledger_balance SET debited = debited + p_amount
       WHERE account_id = p_debit AND credited - debited - held >= p_amount;
    END IF;
    IF NOT FOUND THEN
      PERFORM ledger_refuse_overspent(p_debit);
    END IF;
  END IF;
  UPDATE ledger_balance SET credited = credited + p_amount WHERE account_id = p_credit;
END $$;

-- End a hold without use: the whole of it is available again; its balance is locked. Returns null where it had been ended otherwise.
CREATE FUNCTION ledger_free(
  p_kind text, p_hold ledger_entry, p_source text, p_key text, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE v_entry bigint; v_fresh boolean;
BEGIN
  SELECT * INTO v_entry, v_fresh FROM ledger_write(
    p_kind, p_hold.debit_id, p_hold.credit_id, 0, p_source, p_key, NULL, p_actor, p_reason, p_hold => p_hold.id);
  IF v_fresh THEN
    UPDATE ledger_balance SET held = held - p_hold.amount WHERE account_id = p_hold.debit_id;
  END IF;
  RETURN v_entry;
END $$;

-- Whoever needs more than is available first ends what is overdue on the account: correctness needs no timer.
-- Whether anything was.
CREATE FUNCTION ledger_free_overdue(p_account bigint) RETURNS boolean LANGUAGE plpgsql
AS $$
DECLARE v_hold ledger_entry; v_now timestamptz := clock_timestamp(); v_freed boolean := false;
BEGIN
  FOR v_hold IN
    SELECT h.* FROM ledger_entry h
     WHERE h.debit_id = p_account AND h.kind = 'hold' AND h.expires_at <= v_now
       AND NOT EXISTS (SELECT FROM ledger_entry e WHERE e.hold_id = h.id)
     ORDER BY h.id
  LOOP
    PERFORM ledger_free('expire', v_hold, 'ledger', 'hold ' || v_hold.id, NULL, 'overdue');
    v_freed := true;
  END LOOP;
  RETURN v_freed;
END $$;

CREATE FUNCTION ledger_the_hold(p_hold bigint) RETURNS ledger_entry LANGUAGE plpgsql
AS $$
DECLARE v_hold ledger_entry;
BEGIN
  SELECT * INTO v_hold FROM ledger_entry WHERE id = p_hold AND kind = 'hold';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such hold' USING ERRCODE = 'MD404', CONSTRAINT = 'ledger_hold';
  END IF;
  RETURN v_hold;
END $$;
