-- Corrections are entries of their own that name the old one. Both lock its balance and then its row, so that two of them,
-- or one and a metering that corrects the same use, can't together give back more than it took.

CREATE FUNCTION ledger_lock_entry(p_entry bigint) RETURNS ledger_entry LANGUAGE plpgsql
AS $$
DECLARE v_old ledger_entry;
BEGIN
  SELECT * INTO v_old FROM ledger_entry WHERE id = p_entry;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such entry' USING ERRCODE = 'MD404', CONSTRAINT = 'ledger_entry';
  END IF;
  PERFORM ledger_enter(ARRAY[v_old.debit_id, v_old.credit_id]);
  PERFORM FROM ledger_entry WHERE id = p_entry FOR UPDATE;
  RETURN v_old;
END $$;

-- What refunds and a reversal have given back of an entry. A refund that was itself reversed gave nothing.
CREATE FUNCTION ledger_given_back(p_entry bigint) RETURNS numeric LANGUAGE sql
AS $$
  SELECT coalesce((SELECT sum(r.amount) FROM ledger_entry r WHERE r.refunds_id = p_entry
                     AND NOT EXISTS (SELECT FROM ledger_entry v WHERE v.reverses_id = r.id)), 0)
       + coalesce((SELECT amount FROM ledger_entry WHERE reverses_id = p_entry), 0)
$$;

CREATE FUNCTION ledger_refund(
  p_entry bigint, p_amount bigint, p_source text, p_key text, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_old ledger_entry := ledger_lock_entry(p_entry); v_entry bigint; v_fresh boolean;
BEGIN
  IF v_old.kind NOT IN ('settle', 'charge') THEN
    RAISE EXCEPTION 'a % can not be refunded', v_old.kind USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_refundable';
  END IF;
  SELECT * INTO v_entry, v_fresh FROM ledger_write(
    'refund', v_old.credit_id, v_old.debit_id, p_amount, p_source, p_key, NULL, p_actor, p_reason, p_refunds => p_entry);
  IF v_fresh THEN
    IF ledger_given_back(p_entry) > v_old.amount THEN
      RAISE EXCEPTION 'more than the entry took' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_refundable';
    END IF;
    PERFORM ledger_move(v_old.credit_id, v_old.debit_id, p_amount);
  END IF;
  RETURN v_entry;
END $$;

CREATE FUNCTION ledger_reverse(p_entry bigint, p_source text, p_key text, p_actor bigint, p_reason text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_old ledger_entry := ledger_lock_entry(p_entry); v_entry bigint; v_fresh boolean;
BEGIN
  PERFORM ledger_not_ours(p_source);
  IF v_old.kind IN ('hold', 'release', 'expire', 'reverse') THEN
    RAISE EXCEPTION 'a % can not be reversed', v_old.kind USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_reversible';
  END IF;
  SELECT * INTO v_entry, v_fresh FROM ledger_write(
    'reverse', v_old.credit_id, v_old.debit_id, v_old.amount, p_source, p_key, NULL, p_actor, p_reason,
    p_reverses => p_entry, p_concerns => CASE v_old.kind WHEN 'overrun' THEN v_old.concerns_id END);
  IF v_fresh THEN
    IF ledger_given_back(p_entry) > v_old.amount THEN
      RAISE EXCEPTION 'partly refunded before' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_reversible';
    END IF;
    PERFORM ledger_move(v_old.credit_id, v_old.debit_id, v_old.amount);
  ELSIF v_entry IS NULL THEN
    RAISE EXCEPTION 'reversed before' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_reversed_once';
  END IF;
  RETURN v_entry;
END $$;
