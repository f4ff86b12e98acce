-- The verbs of what is counted, by the peak and not the sum: two that follow each other need one seat, not two.

-- The most that is taken of the pool at any instant of that time, without the claim p_besides.
CREATE FUNCTION claims_peak(p_pool bigint, p_during tstzmultirange, p_besides bigint DEFAULT NULL) RETURNS bigint
LANGUAGE sql
AS $$
  WITH busy AS (
    SELECT claim.amount, claim.during * piece AS during
      FROM claims_pool_claim claim JOIN unnest(p_during) piece ON claim.during && piece
     -- As the index is written: what the pool lent in years that are over isn't read.
     WHERE int8range(claim.pool_id, claim.pool_id, '[]') && int8range(p_pool, p_pool, '[]') AND claim.during && p_during
       AND claim.id IS DISTINCT FROM p_besides AND claim.state IN ('held', 'confirmed')
       AND coalesce(claim.expires_at, 'infinity') > clock_timestamp()),
  steps AS (
    SELECT lower(during) AS at, amount FROM busy
    UNION ALL SELECT upper(during), -amount FROM busy WHERE NOT upper_inf(during)),
  -- One step per instant: who leaves then and who comes then don't sit at the same time.
  levels AS (SELECT sum(sum(amount)) OVER (ORDER BY at) AS level FROM steps GROUP BY at)
  SELECT coalesce(max(level), 0)::bigint FROM levels
$$;

CREATE FUNCTION claims_pool_peak(p_pool bigint, p_start timestamptz, p_end timestamptz) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$ SELECT claims_peak(p_pool, tstzmultirange(claims_during(p_start, p_end))) $$;

-- The pool locked, and what is overdue on it ended.
CREATE FUNCTION claims_lock_pool(p_pool bigint) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM claims_pool WHERE id = p_pool) THEN
    PERFORM claims_refuse('claims_missing');
  END IF;
  PERFORM claims_lock(NULL, p_pool);
  UPDATE claims_pool_claim SET state = 'expired'
   WHERE pool_id = p_pool AND state = 'held' AND expires_at <= clock_timestamp();
END $$;

-- The claim, with its pool locked. Refused where it takes its time no longer.
CREATE FUNCTION claims_lock_pool_claim(p_claim bigint) RETURNS claims_pool_claim LANGUAGE plpgsql
AS $$
DECLARE v_claim claims_pool_claim;
BEGIN
  PERFORM claims_lock_pool((SELECT pool_id FROM claims_pool_claim WHERE id = p_claim));
  SELECT * INTO v_claim FROM claims_pool_claim WHERE id = p_claim;
  IF v_claim.state NOT IN ('held', 'confirmed') THEN
    PERFORM claims_refuse('claims_gone');
  END IF;
  RETURN v_claim;
END $$;

CREATE FUNCTION claims_need(p_pool bigint, p_during tstzmultirange, p_amount bigint, p_besides bigint DEFAULT NULL)
RETURNS void LANGUAGE plpgsql
AS $$
DECLARE v_free bigint := (SELECT capacity FROM claims_pool WHERE id = p_pool) - claims_peak(p_pool, p_during, p_besides);
BEGIN
  IF NOT isempty(p_during) AND p_amount > v_free THEN
    PERFORM claims_refuse('claims_full', greatest(v_free, 0));
  END IF;
END $$;

CREATE FUNCTION claims_make_pool(p_owner_type text, p_owner_id bigint, p_part text, p_capacity bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_pool claims_pool;
BEGIN
  INSERT INTO claims_pool (owner_type, owner_id, part, capacity) VALUES (p_owner_type, p_owner_id, p_part, p_capacity)
  ON CONFLICT DO NOTHING;
  SELECT * INTO v_pool FROM claims_pool WHERE (owner_type, owner_id, part) = (p_owner_type, p_owner_id, p_part);
  IF v_pool.capacity <> p_capacity THEN
    PERFORM claims_refuse('claims_other_capacity');
  END IF;
  RETURN v_pool.id;
END $$;

CREATE FUNCTION claims_pool_take(
  p_pool bigint, p_amount bigint, p_start timestamptz, p_end timestamptz, p_state text, p_expires_at timestamptz,
  p_source_type text, p_source_id bigint
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_during tstzrange := claims_during(p_start, p_end); v_claim bigint;
BEGIN
  PERFORM claims_lock_pool(p_pool);
  PERFORM claims_need(p_pool, tstzmultirange(v_during), p_amount);
  INSERT INTO claims_pool_claim (pool_id, amount, during, state, expires_at, source_type, source_id)
  VALUES (p_pool, p_amount, v_during, p_state, p_expires_at, p_source_type, p_source_id) RETURNING id INTO v_claim;
  RETURN v_claim;
END $$;

CREATE FUNCTION claims_pool_confirm(p_claim bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
  PERFORM claims_lock_pool_claim(p_claim);
  UPDATE claims_pool_claim SET state = 'confirmed', expires_at = NULL WHERE id = p_claim AND state = 'held';
END $$;

CREATE FUNCTION claims_pool_release(p_claims bigint[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_freed bigint;
BEGIN
  PERFORM claims_lock_pool(pool_id) FROM (
    SELECT DISTINCT pool_id FROM claims_pool_claim WHERE id = ANY (p_claims) ORDER BY pool_id) pools;
  UPDATE claims_pool_claim SET state = 'released' WHERE id = ANY (p_claims) AND state IN ('held', 'confirmed');
  GET DIAGNOSTICS v_freed = ROW_COUNT;
  RETURN v_freed;
END $$;

-- What the claim has was promised to it: only what it asks for beyond that is checked. So it can always be made shorter or
-- smaller, also where the pool was made smaller since.
CREATE FUNCTION claims_pool_move(p_claim bigint, p_start timestamptz, p_end timestamptz, p_amount bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE
  v_old claims_pool_claim := claims_lock_pool_claim(p_claim);
  v_during tstzrange := claims_during(p_start, p_end); v_asked tstzmultirange := tstzmultirange(v_during);
BEGIN
  IF coalesce(p_amount, v_old.amount) <= v_old.amount THEN
    v_asked := v_asked - tstzmultirange(v_old.during);
  END IF;
  PERFORM claims_need(v_old.pool_id, v_asked, coalesce(p_amount, v_old.amount), p_claim);
  UPDATE claims_pool_claim SET during = v_during, amount = coalesce(p_amount, amount) WHERE id = p_claim;
END $$;

-- What is over may have been more.
CREATE FUNCTION claims_pool_resize(p_pool bigint, p_capacity bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_promised bigint;
BEGIN
  PERFORM claims_lock_pool(p_pool);
  v_promised := claims_peak(p_pool, tstzmultirange(claims_during(clock_timestamp(), NULL)));
  IF v_promised > p_capacity THEN
    PERFORM claims_refuse('claims_promised', v_promised);
  END IF;
  UPDATE claims_pool SET capacity = p_capacity WHERE id = p_pool;
END $$;
