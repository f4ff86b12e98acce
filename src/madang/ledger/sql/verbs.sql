-- The verbs. Each is one call, one entry (settle: maybe two), and either done whole or not at all.
-- Every verb is idempotent: the same (source, key) and payload gives the same answer and changes nothing.

CREATE FUNCTION ledger_grant(
  p_pool bigint, p_account bigint, p_amount bigint, p_source text, p_key text, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_entry bigint; v_fresh boolean;
BEGIN
  PERFORM ledger_check_pair(p_pool, '{pool}', p_account, '{allocation}');
  SELECT * INTO v_entry, v_fresh FROM ledger_write('grant', p_pool, p_account, p_amount, p_source, p_key, NULL, p_actor, p_reason);
  IF v_fresh THEN
    PERFORM ledger_move(p_pool, p_account, p_amount);
  END IF;
  RETURN v_entry;
END $$;

CREATE FUNCTION ledger_hold(
  p_account bigint, p_sink bigint, p_amount bigint, p_source text, p_key text, p_until timestamptz, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_entry bigint; v_fresh boolean;
BEGIN
  PERFORM ledger_check_pair(p_account, '{allocation}', p_sink, '{consumed,exchange}');
  PERFORM ledger_free_overdue(p_account);
  SELECT * INTO v_entry, v_fresh FROM ledger_write(
    'hold', p_account, p_sink, p_amount, p_source, p_key, NULL, p_actor, p_reason, p_until => p_until);
  IF v_fresh THEN
    UPDATE ledger_balance SET held = held + p_amount, version = version + 1
     WHERE account_id = p_account AND credited - debited - held >= p_amount;
    IF NOT FOUND THEN
      PERFORM ledger_refuse_overspent(p_account);
    END IF;
  END IF;
  RETURN v_entry;
END $$;

-- Use that no balance covers. It is never refused: `p_account` is whose use it was, and only named.
CREATE FUNCTION ledger_overrun(
  p_account bigint, p_sink bigint, p_amount bigint, p_source text, p_key text, p_event_at timestamptz, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
  PERFORM ledger_check_pair(p_account, '{allocation}', p_sink, '{consumed,exchange}');
  RETURN (SELECT o_entry FROM ledger_write(
    'overrun',
    (SELECT ledger_open_account(commodity_id, 'site', 0, 'overrun', false) FROM ledger_account WHERE id = p_account),
    p_sink, p_amount, p_source, p_key, p_event_at, p_actor, p_reason, p_used_by => p_account));
END $$;

-- End a hold with what was really used: up to the hold it is booked, the rest of the hold is back, the excess is an overrun.
-- A hold that was freed before covers nothing, so all of the use is an overrun.
CREATE FUNCTION ledger_settle(
  p_hold bigint, p_used bigint, p_source text, p_key text, p_event_at timestamptz, p_actor bigint, p_reason text,
  OUT o_entry bigint, OUT o_used bigint, OUT o_overrun bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_hold ledger_entry; v_end ledger_entry; v_fresh boolean; v_over bigint;
BEGIN
  v_hold := ledger_the_hold(p_hold);
  o_used := least(p_used, v_hold.amount);
  o_overrun := p_used - o_used;
  SELECT e.o_entry, e.o_fresh INTO o_entry, v_fresh FROM ledger_write(
    'settle', v_hold.debit_id, v_hold.credit_id, o_used, p_source, p_key, p_event_at, p_actor, p_reason, p_hold => p_hold) e;
  IF v_fresh THEN
    UPDATE ledger_balance SET held = held - v_hold.amount, debited = debited + o_used, version = version + 1
     WHERE account_id = v_hold.debit_id;
  ELSE
    SELECT * INTO STRICT v_end FROM ledger_entry WHERE hold_id = p_hold;
    IF v_end.kind = 'settle' THEN
      SELECT coalesce(max(amount), 0) INTO v_over FROM ledger_entry
       WHERE source = v_end.source AND ext_key = v_end.ext_key AND kind = 'overrun' AND rev = 0;
      IF (v_end.amount, v_over) IS DISTINCT FROM (o_used, o_overrun) THEN
        RAISE EXCEPTION 'the hold was settled with another amount'
          USING ERRCODE = 'MD409', CONSTRAINT = CASE WHEN (v_end.source, v_end.ext_key) = (p_source, p_key)
                                                     THEN 'ledger_key' ELSE 'ledger_hold_resolved_once' END;
      END IF;
      o_entry := v_end.id;
      RETURN;
    END IF;
    o_entry := v_end.id;
    o_used := 0;
    o_overrun := p_used;
  END IF;
  IF o_overrun > 0 THEN
    v_over := ledger_overrun(
      v_hold.debit_id, v_hold.credit_id, o_overrun, p_source, p_key, p_event_at, p_actor, p_reason);
    IF NOT v_fresh THEN
      o_entry := v_over;
    END IF;
  END IF;
END $$;

-- The unused whole of a hold is back, by release or by expiry: it comes to the same. A settled hold can't be freed.
CREATE FUNCTION ledger_release(p_hold bigint, p_source text, p_key text, p_actor bigint, p_reason text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_entry bigint;
BEGIN
  v_entry := ledger_free('release', ledger_the_hold(p_hold), p_source, p_key, p_actor, p_reason);
  IF v_entry IS NULL THEN
    SELECT id INTO v_entry FROM ledger_entry WHERE hold_id = p_hold AND kind IN ('release', 'expire');
    IF NOT FOUND THEN
      RAISE EXCEPTION 'the hold was settled' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_hold_resolved_once';
    END IF;
  END IF;
  RETURN v_entry;
END $$;

CREATE FUNCTION ledger_expire(p_hold bigint, p_source text, p_key text, p_actor bigint, p_reason text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_hold ledger_entry := ledger_the_hold(p_hold); v_entry bigint;
BEGIN
  IF v_hold.expires_at IS NULL OR v_hold.expires_at > clock_timestamp() THEN
    RAISE EXCEPTION 'not overdue' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_overdue';
  END IF;
  v_entry := ledger_free('expire', v_hold, p_source, p_key, p_actor, p_reason);
  IF v_entry IS NULL THEN
    SELECT id INTO v_entry FROM ledger_entry WHERE hold_id = p_hold AND kind IN ('release', 'expire');
    IF NOT FOUND THEN
      RAISE EXCEPTION 'the hold was settled' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_hold_resolved_once';
    END IF;
  END IF;
  RETURN v_entry;
END $$;

CREATE FUNCTION ledger_charge(
  p_account bigint, p_sink bigint, p_amount bigint, p_source text, p_key text, p_event_at timestamptz, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_entry bigint; v_fresh boolean;
BEGIN
  PERFORM ledger_check_pair(p_account, '{allocation}', p_sink, '{consumed,exchange}');
  PERFORM ledger_free_overdue(p_account);
  SELECT * INTO v_entry, v_fresh FROM ledger_write(
    'charge', p_account, p_sink, p_amount, p_source, p_key, p_event_at, p_actor, p_reason);
  IF v_fresh THEN
    PERFORM ledger_move(p_account, p_sink, p_amount);
  END IF;
  RETURN v_entry;
END $$;

CREATE FUNCTION ledger_transfer(
  p_giver bigint, p_taker bigint, p_amount bigint, p_source text, p_key text, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_entry bigint; v_fresh boolean;
BEGIN
  PERFORM ledger_check_pair(p_giver, '{allocation,exchange}', p_taker, '{allocation,exchange}');
  PERFORM ledger_free_overdue(p_giver);
  SELECT * INTO v_entry, v_fresh FROM ledger_write('transfer', p_giver, p_taker, p_amount, p_source, p_key, NULL, p_actor, p_reason);
  IF v_fresh THEN
    PERFORM ledger_move(p_giver, p_taker, p_amount);
  END IF;
  RETURN v_entry;
END $$;

CREATE FUNCTION ledger_reclaim(
  p_account bigint, p_pool bigint, p_amount bigint, p_source text, p_key text, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_entry bigint; v_fresh boolean;
BEGIN
  PERFORM ledger_check_pair(p_account, '{allocation}', p_pool, '{pool}');
  PERFORM ledger_free_overdue(p_account);
  SELECT * INTO v_entry, v_fresh FROM ledger_write('reclaim', p_account, p_pool, p_amount, p_source, p_key, NULL, p_actor, p_reason);
  IF v_fresh THEN
    PERFORM ledger_move(p_account, p_pool, p_amount);
  END IF;
  RETURN v_entry;
END $$;
