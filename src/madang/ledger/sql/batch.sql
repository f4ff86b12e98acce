-- Many requests in one statement and one commit: what a hot account needs, whose speed is that of its commits.
-- Each request is answered by itself, as the verb would have: an entry, or the name of what refused it. What is plain goes as
-- one statement; what isn't (a replay, a balance that may not suffice for all) goes through the verb, in the order of arrival.

-- Balances are locked in the order of their ids, each by itself: whoever waited for a row has its condition judged anew, and
-- a list would be sorted anew each time. Batches wait for each other before that, at a few locks that stand for all balances,
-- and so find none of the rows changed since they began to look.
CREATE FUNCTION ledger_lock_balances(p_accounts bigint[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(119182731994500 + part) FROM (SELECT DISTINCT a % 32 AS part FROM unnest(p_accounts) a ORDER BY 1) p;
  PERFORM (SELECT account_id FROM ledger_balance WHERE account_id = a FOR NO KEY UPDATE)
     FROM (SELECT DISTINCT a FROM unnest(p_accounts) a ORDER BY a) one;
END $$;

-- Holds or charges. A request is plain where its key is new, it goes where the use of its account goes, and the account
-- covers all that this batch asks of it.
CREATE FUNCTION ledger_take_batch(
  p_kind text, p_accounts bigint[], p_sinks bigint[], p_amounts bigint[], p_keys text[], p_source text, p_until timestamptz,
  p_event_at timestamptz, p_actor bigint, p_reason text
) RETURNS TABLE (o_n bigint, o_entry bigint, o_refusal text, o_detail text) LANGUAGE plpgsql SET enable_seqscan = off
AS $$
DECLARE v_now timestamptz; v_month record; v_answer bigint[]; v_asked record;
BEGIN
  PERFORM ledger_check_until(p_until);
  PERFORM ledger_enter();
  PERFORM ledger_lock_balances(p_accounts);
  v_now := clock_timestamp();
  v_month := ledger_period_of(p_event_at, v_now);
  WITH asked AS (
    SELECT * FROM unnest(p_accounts, p_sinks, p_amounts, p_keys) WITH ORDINALITY AS a(account, sink, amount, key, n)),
  known AS MATERIALIZED (  -- each request by itself: no plan may read all entries instead
    SELECT a.*, (SELECT credited - debited - held FROM ledger_balance WHERE account_id = a.account) AS available,
           coalesce(amount >= 0 AND row_number() OVER (PARTITION BY key ORDER BY n) = 1
             AND a.sink = (SELECT sink FROM ledger_balance WHERE account_id = a.account)
             AND (SELECT e.id FROM ledger_entry e WHERE e.source = p_source AND e.ext_key = a.key AND e.kind = p_kind AND e.rev = 0) IS NULL,
             false) AS fits
      FROM asked a),
  plain AS MATERIALIZED (
    SELECT * FROM (SELECT *, bool_and(fits) OVER one AND sum(amount) OVER one <= available AS all_fit FROM known
                   WINDOW one AS (PARTITION BY account)) judged WHERE all_fit),
  moved AS (
    UPDATE ledger_balance b SET held = b.held + CASE p_kind WHEN 'hold' THEN s.amount ELSE 0 END,
                                debited = b.debited + CASE p_kind WHEN 'hold' THEN 0 ELSE s.amount END
      FROM (SELECT account, sum(amount)::bigint AS amount FROM plain GROUP BY account) s WHERE b.account_id = s.account),
  written AS (
    INSERT INTO ledger_entry (source, ext_key, kind, debit_id, credit_id, amount, event_at, booked_at, expires_at, period,
                              adjusts_period, actor_id, reason)
    SELECT p_source, key, p_kind, account, sink, amount, coalesce(p_event_at, v_now), v_now, p_until, v_month.o_period,
           v_month.o_adjusts, p_actor, p_reason FROM plain ORDER BY n
    RETURNING id, ext_key)
  SELECT array_agg(w.id ORDER BY a.n) INTO v_answer
    FROM asked a LEFT JOIN plain p USING (n) LEFT JOIN written w ON w.ext_key = p.key;

  FOR v_asked IN SELECT n FROM generate_subscripts(p_keys, 1) n WHERE v_answer[n] IS NULL ORDER BY n LOOP
    BEGIN
      v_answer[v_asked.n] := CASE p_kind
        WHEN 'hold' THEN ledger_hold(p_accounts[v_asked.n], p_sinks[v_asked.n], p_amounts[v_asked.n], p_source, p_keys[v_asked.n],
                                     p_until, p_actor, p_reason, p_again => true)
        ELSE ledger_charge(p_accounts[v_asked.n], p_sinks[v_asked.n], p_amounts[v_asked.n], p_source, p_keys[v_asked.n],
                           p_event_at, p_actor, p_reason) END;
    EXCEPTION WHEN check_violation OR SQLSTATE 'MD404' OR SQLSTATE 'MD409' OR SQLSTATE 'MD422' OR numeric_value_out_of_range THEN
      GET STACKED DIAGNOSTICS o_refusal = CONSTRAINT_NAME, o_detail = PG_EXCEPTION_DETAIL;
      o_n := v_asked.n;
      RETURN NEXT;
    END;
  END LOOP;
  RETURN QUERY SELECT n::bigint, v_answer[n], NULL, NULL FROM generate_subscripts(p_keys, 1) n WHERE v_answer[n] IS NOT NULL;
END $$;

CREATE FUNCTION ledger_hold_batch(
  p_accounts bigint[], p_sinks bigint[], p_amounts bigint[], p_keys text[], p_source text, p_until timestamptz, p_actor bigint, p_reason text
) RETURNS TABLE (o_n bigint, o_entry bigint, o_refusal text, o_detail text)
LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$ SELECT * FROM ledger_take_batch('hold', p_accounts, p_sinks, p_amounts, p_keys, p_source, p_until, NULL, p_actor, p_reason) $$;

CREATE FUNCTION ledger_charge_batch(
  p_accounts bigint[], p_sinks bigint[], p_amounts bigint[], p_keys text[], p_source text, p_event_at timestamptz, p_actor bigint,
  p_reason text
) RETURNS TABLE (o_n bigint, o_entry bigint, o_refusal text, o_detail text)
LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$ SELECT * FROM ledger_take_batch('charge', p_accounts, p_sinks, p_amounts, p_keys, p_source, NULL, p_event_at, p_actor, p_reason) $$;

-- A settlement is plain where its hold is open and named once, its key is new, and the hold covers the use.
CREATE FUNCTION ledger_settle_batch(
  p_holds bigint[], p_used bigint[], p_keys text[], p_source text, p_event_at timestamptz, p_actor bigint, p_reason text
) RETURNS TABLE (o_n bigint, o_entry bigint, o_used bigint, o_overrun bigint, o_refusal text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET enable_seqscan = off
AS $$
DECLARE v_now timestamptz; v_month record; v_asked record;
BEGIN
  PERFORM ledger_enter();
  PERFORM ledger_lock_balances(
    ARRAY(SELECT (SELECT debit_id FROM ledger_entry WHERE id = hold AND kind = 'hold') FROM unnest(p_holds) hold));
  v_now := clock_timestamp();
  v_month := ledger_period_of(p_event_at, v_now);
  FOR v_asked IN
    WITH asked AS (SELECT * FROM unnest(p_holds, p_used, p_keys) WITH ORDINALITY AS a(hold, used, key, n)),
    plain AS MATERIALIZED (
      SELECT a.*, h.amount, h.debit_id, h.credit_id
        FROM (SELECT *, count(*) OVER (PARTITION BY hold) AS same_hold, count(*) OVER (PARTITION BY key) AS same_key FROM asked) a
       CROSS JOIN LATERAL (SELECT amount, debit_id, credit_id FROM ledger_entry WHERE id = a.hold AND kind = 'hold' OFFSET 0) h
       WHERE same_hold = 1 AND same_key = 1 AND used BETWEEN 0 AND h.amount
         AND (SELECT e.id FROM ledger_entry e WHERE e.hold_id = a.hold) IS NULL
         AND (SELECT e.id FROM ledger_entry e WHERE e.source = p_source AND e.ext_key = a.key AND e.kind = 'settle' AND e.rev = 0) IS NULL),
    moved AS (
      UPDATE ledger_balance b SET held = b.held - s.amount, debited = b.debited + s.used
        FROM (SELECT debit_id, sum(amount)::bigint AS amount, sum(used)::bigint AS used FROM plain GROUP BY debit_id) s
       WHERE b.account_id = s.debit_id),
    written AS (
      INSERT INTO ledger_entry (source, ext_key, kind, debit_id, credit_id, amount, hold_id, event_at, booked_at, period,
                                adjusts_period, actor_id, reason)
      SELECT p_source, key, 'settle', debit_id, credit_id, used, hold, coalesce(p_event_at, v_now), v_now, v_month.o_period,
             v_month.o_adjusts, p_actor, p_reason FROM plain ORDER BY n
      RETURNING id, hold_id)
    SELECT a.n, a.hold, a.used, a.key, w.id AS entry FROM asked a LEFT JOIN written w ON w.hold_id = a.hold ORDER BY a.n
  LOOP
    SELECT v_asked.n, v_asked.entry, v_asked.used, 0, NULL INTO o_n, o_entry, o_used, o_overrun, o_refusal;
    IF v_asked.entry IS NULL THEN
      BEGIN
        SELECT s.o_entry, s.o_used, s.o_overrun INTO o_entry, o_used, o_overrun
          FROM ledger_settle(v_asked.hold, v_asked.used, p_source, v_asked.key, p_event_at, p_actor, p_reason, p_again => true) s;
      EXCEPTION WHEN unique_violation OR check_violation OR SQLSTATE 'MD404' OR SQLSTATE 'MD409' OR SQLSTATE 'MD422' OR numeric_value_out_of_range THEN
        GET STACKED DIAGNOSTICS o_refusal = CONSTRAINT_NAME;
      END;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;
