-- The verbs. Each is one call, one entry (settle: maybe two), and either done whole or not at all.
-- Every verb is idempotent: the same (source, key) and payload gives the same answer and changes nothing.

CREATE FUNCTION ledger_grant(
  p_pool bigint, p_account bigint, p_amount bigint, p_source text, p_key text, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_entry bigint; v_fresh boolean;
BEGIN
  PERFORM ledger_enter(ARRAY[p_pool, p_account]);
  PERFORM ledger_check_pair(p_pool, '{pool}', p_account, '{allocation}');
  SELECT * INTO v_entry, v_fresh FROM ledger_write('grant', p_pool, p_account, p_amount, p_source, p_key, NULL, p_actor, p_reason);
  IF v_fresh THEN
    PERFORM ledger_move(p_pool, p_account, p_amount);
  END IF;
  RETURN v_entry;
END $$;

-- An end that can be read wherever it is shown: not at the end of all times.
CREATE FUNCTION ledger_readable(p_until timestamptz) RETURNS boolean LANGUAGE sql STABLE
AS $$ SELECT p_until IS NULL OR p_until BETWEEN '2000-01-01' AND '9000-01-01' $$;

CREATE FUNCTION ledger_check_until(p_until timestamptz) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  IF NOT ledger_readable(p_until) THEN
    RAISE EXCEPTION 'no instant' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_until';
  END IF;
END $$;

-- The way that nearly every hold takes is an update and an insert. A key that was used before, or is used by another at this
-- moment, is refused by its index; whoever asks again (p_again) finds what was booked. To look for it first would cost every
-- hold what only a replay needs.
CREATE FUNCTION ledger_hold(
  p_account bigint, p_sink bigint, p_amount bigint, p_source text, p_key text, p_until timestamptz, p_actor bigint, p_reason text,
  p_again boolean DEFAULT false
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_entry bigint; v_now timestamptz; v_sink bigint; v_old ledger_entry;
BEGIN
  -- As a condition and not as a statement of its own, which would take ten times as long.
  IF pg_advisory_xact_lock_shared(119182731994482) IS NOT NULL AND NOT p_again AND ledger_readable(p_until)
     AND current_setting('transaction_isolation') = 'read committed' THEN
    UPDATE ledger_balance SET held = held + p_amount
     WHERE account_id = p_account AND credited - debited - held >= p_amount RETURNING sink INTO v_sink;
    IF v_sink IS NOT NULL THEN
      v_now := clock_timestamp();
      IF p_sink <> v_sink THEN
        SELECT other.id INTO v_sink FROM ledger_account other JOIN ledger_account usual USING (commodity_id)
         WHERE other.id = p_sink AND other.role IN ('consumed', 'exchange') AND NOT other.limited AND usual.id = v_sink;
      END IF;
      IF p_sink = v_sink THEN
        INSERT INTO ledger_entry (source, ext_key, kind, debit_id, credit_id, amount, event_at, booked_at, expires_at, period, actor_id, reason)
        VALUES (p_source, p_key, 'hold', p_account, p_sink, p_amount, v_now, v_now, p_until, ledger_month(v_now), p_actor, p_reason)
        RETURNING id INTO v_entry;
        RETURN v_entry;
      END IF;
    END IF;
  END IF;
  PERFORM ledger_check_until(p_until);
  PERFORM ledger_enter(ARRAY[p_account]);
  PERFORM ledger_check_pair(p_account, '{allocation}', p_sink, '{consumed,exchange}');
  IF EXISTS (SELECT FROM ledger_account WHERE id = p_sink AND limited) THEN  -- its balance would not be told of the settlement
    RAISE EXCEPTION 'held for an account with a limit' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_account_role';
  END IF;
  SELECT * INTO v_old FROM ledger_entry WHERE source = p_source AND ext_key = p_key AND kind = 'hold' AND rev = 0;
  IF FOUND THEN
    IF (v_old.debit_id, v_old.credit_id, v_old.amount) IS DISTINCT FROM (p_account, p_sink, p_amount) THEN
      RAISE EXCEPTION 'key used with another payload' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_key';
    END IF;
    RETURN v_old.id;
  END IF;
  IF p_again OR ledger_free_overdue(p_account) THEN
    RETURN ledger_hold(p_account, p_sink, p_amount, p_source, p_key, p_until, p_actor, p_reason);
  END IF;
  PERFORM ledger_refuse_overspent(p_account);
END $$;

-- Use that no balance covers, of a hold or of none. No key names two of them: not the same amount of two holds, either.
CREATE FUNCTION ledger_lose(
  p_hold bigint, p_account bigint, p_sink bigint, p_amount bigint, p_source text, p_key text, p_event_at timestamptz, p_actor bigint,
  p_reason text
) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE v_entry bigint; v_fresh boolean;
BEGIN
  PERFORM ledger_enter();
  PERFORM ledger_check_pair(p_account, '{allocation}', p_sink, '{consumed,exchange}');
  SELECT * INTO v_entry, v_fresh FROM ledger_write(
    'overrun',
    (SELECT ledger_open_account(commodity_id, 'site', 0, 'overrun', false) FROM ledger_account WHERE id = p_account),
    p_sink, p_amount, p_source, p_key, p_event_at, p_actor, p_reason, p_concerns => p_account);
  IF NOT v_fresh AND (SELECT hold_id FROM ledger_excess WHERE entry_id = v_entry) IS DISTINCT FROM p_hold THEN
    RAISE EXCEPTION 'key used with another payload' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_key';
  END IF;
  IF v_fresh AND p_hold IS NOT NULL THEN
    INSERT INTO ledger_excess (hold_id, entry_id) VALUES (p_hold, v_entry);
  END IF;
  RETURN v_entry;
END $$;

-- It is never refused: `p_account` is whose use it was, and only named.
CREATE FUNCTION ledger_overrun(
  p_account bigint, p_sink bigint, p_amount bigint, p_source text, p_key text, p_event_at timestamptz, p_actor bigint, p_reason text
) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$ SELECT ledger_lose(NULL, p_account, p_sink, p_amount, p_source, p_key, p_event_at, p_actor, p_reason) $$;

-- End a hold with what was really used: up to the hold it is booked, the rest of the hold is back, the excess is an overrun.
-- A hold that was freed before covers nothing, so all of the use is an overrun: one, as a hold is settled once. Where a record
-- that named the hold told of it, that is the late use, as far as it was covered and beyond.
CREATE FUNCTION ledger_settle(
  p_hold bigint, p_used bigint, p_source text, p_key text, p_event_at timestamptz, p_actor bigint, p_reason text,
  p_again boolean DEFAULT false, OUT o_entry bigint, OUT o_used bigint, OUT o_overrun bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_end ledger_entry; v_late ledger_entry; v_account bigint; v_sink bigint; v_held bigint; v_now timestamptz;
        v_period date; v_adjusts date; v_charged bigint := 0;
BEGIN
  p_again := pg_advisory_xact_lock_shared(119182731994482) IS NULL OR p_again
             OR current_setting('transaction_isolation') <> 'read committed';
  SELECT debit_id, credit_id, amount INTO v_account, v_sink, v_held FROM ledger_entry WHERE id = p_hold AND kind = 'hold';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such hold' USING ERRCODE = 'MD404', CONSTRAINT = 'ledger_hold';
  END IF;
  o_used := CASE WHEN p_used > v_held THEN v_held ELSE p_used END;  -- null where it isn't said: nothing stands for it
  o_overrun := p_used - o_used;
  IF p_again THEN
    PERFORM ledger_enter(ARRAY[v_account]);
    IF p_used < 0 THEN
      RAISE EXCEPTION 'used less than nothing' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_amount_not_negative';
    END IF;
    SELECT * INTO v_end FROM ledger_entry WHERE hold_id = p_hold;
    p_again := FOUND;
  END IF;
  IF NOT p_again THEN
    UPDATE ledger_balance SET held = held - v_held, debited = debited + o_used WHERE account_id = v_account;
    v_now := clock_timestamp();
    v_period := ledger_month(v_now);
    IF ledger_month(p_event_at) <> v_period OR p_event_at > v_now + interval '1 day' THEN
      SELECT o_period, o_adjusts INTO v_period, v_adjusts FROM ledger_period_of(p_event_at, v_now);
    END IF;
    INSERT INTO ledger_entry (source, ext_key, kind, debit_id, credit_id, amount, hold_id, event_at, booked_at, period, adjusts_period,
                              actor_id, reason)
    VALUES (p_source, p_key, 'settle', v_account, v_sink, o_used, p_hold, coalesce(p_event_at, v_now), v_now,
            v_period, v_adjusts, p_actor, p_reason)
    RETURNING id INTO o_entry;
  ELSE
    SELECT e.* INTO v_late FROM ledger_excess x JOIN ledger_entry e ON e.id = x.entry_id WHERE x.hold_id = p_hold;
    PERFORM FROM ledger_entry e LEFT JOIN ledger_excess x ON x.entry_id = e.id
      WHERE e.source = p_source AND e.ext_key = p_key AND e.rev = 0
        AND CASE e.kind WHEN 'settle' THEN (e.hold_id, e.amount) IS DISTINCT FROM (p_hold, o_used)
                        WHEN 'overrun' THEN v_end.kind <> 'settle' AND v_late.id IS NOT NULL AND x.hold_id IS DISTINCT FROM p_hold
                                             AND (v_late.source, v_late.ext_key) <> (p_source, p_key) END;
    IF FOUND THEN
      RAISE EXCEPTION 'key used with another payload' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_key';
    END IF;
    IF v_end.kind <> 'settle' THEN
      o_used := 0;
      o_overrun := p_used;
      IF v_late.id IS NULL THEN
        o_entry := CASE p_used WHEN 0 THEN v_end.id
                   ELSE ledger_lose(p_hold, v_account, v_sink, p_used, p_source, p_key, p_event_at, p_actor, p_reason) END;
        RETURN;
      END IF;
      v_end := v_late;
      IF EXISTS (SELECT FROM ledger_usage WHERE entry_id = v_late.id) THEN  -- what its newest revision says
        SELECT coalesce(sum(amount) FILTER (WHERE kind <> 'overrun'), 0), sum(amount) INTO v_charged, v_late.amount
          FROM (SELECT *, max(rev) OVER () AS newest FROM ledger_entry WHERE source = v_late.source AND ext_key = v_late.ext_key
                   AND kind IN ('charge', 'overrun', 'settle')) e WHERE rev = newest;
        v_end.kind := 'overrun';
      END IF;
    END IF;
    IF o_overrun <> coalesce(v_late.amount, 0) OR v_end.kind = 'settle' AND o_used <> v_end.amount THEN
      RAISE EXCEPTION 'the hold was settled with another amount'
        USING ERRCODE = 'MD409', CONSTRAINT = CASE WHEN (v_end.source, v_end.ext_key) = (p_source, p_key)
                                                   THEN 'ledger_key' ELSE 'ledger_hold_resolved_once' END;
    END IF;
    o_entry := v_end.id;
    o_used := o_used + v_charged;
    o_overrun := o_overrun - v_charged;
    RETURN;
  END IF;
  IF o_overrun > 0 THEN
    PERFORM ledger_lose(p_hold, v_account, v_sink, o_overrun, p_source, p_key, p_event_at, p_actor, p_reason);
  END IF;
END $$;

-- The unused whole of a hold is back, by release or by expiry: it comes to the same. A settled hold can't be freed.
CREATE FUNCTION ledger_release(p_hold bigint, p_source text, p_key text, p_actor bigint, p_reason text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_hold ledger_entry := ledger_the_hold(p_hold); v_entry bigint;
BEGIN
  PERFORM ledger_enter(ARRAY[v_hold.debit_id]);
  v_entry := ledger_free('release', v_hold, p_source, p_key, p_actor, p_reason);
  IF v_entry IS NULL THEN
    SELECT id INTO v_entry FROM ledger_entry WHERE hold_id = p_hold AND kind IN ('release', 'expire');
    IF NOT FOUND THEN
      RAISE EXCEPTION 'the hold was settled' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_hold_resolved_once';
    END IF;
  END IF;
  RETURN v_entry;
END $$;

-- What the ledger ends and reverses by itself has keys of its own: whoever used one up would keep it from doing so.
CREATE FUNCTION ledger_not_ours(p_source text) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  IF p_source = 'ledger' THEN
    RAISE EXCEPTION 'the source of the ledger itself' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_key';
  END IF;
END $$;

CREATE FUNCTION ledger_expire(p_hold bigint, p_source text, p_key text, p_actor bigint, p_reason text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_hold ledger_entry := ledger_the_hold(p_hold); v_entry bigint;
BEGIN
  PERFORM ledger_not_ours(p_source);
  IF v_hold.expires_at IS NULL OR v_hold.expires_at > clock_timestamp() THEN
    RAISE EXCEPTION 'not overdue' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_overdue';
  END IF;
  PERFORM ledger_enter(ARRAY[v_hold.debit_id]);
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
  PERFORM ledger_enter(ARRAY[p_account, p_sink]);
  PERFORM ledger_check_pair(p_account, '{allocation}', p_sink, '{consumed,exchange}');
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
  PERFORM ledger_enter(ARRAY[p_giver, p_taker]);
  PERFORM ledger_check_pair(p_giver, '{allocation,exchange}', p_taker, '{allocation,exchange}');
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
  PERFORM ledger_enter(ARRAY[p_account, p_pool]);
  PERFORM ledger_check_pair(p_account, '{allocation}', p_pool, '{pool}');
  SELECT * INTO v_entry, v_fresh FROM ledger_write('reclaim', p_account, p_pool, p_amount, p_source, p_key, NULL, p_actor, p_reason);
  IF v_fresh THEN
    PERFORM ledger_move(p_account, p_pool, p_amount);
  END IF;
  RETURN v_entry;
END $$;
