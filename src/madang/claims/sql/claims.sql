-- The verbs of exclusive time. The exclusion constraint, and not what is read here, keeps two claims apart.

-- Lock the leaves of these claims, and refuse where one of the claims takes its time no longer.
CREATE FUNCTION claims_lock_claims(p_claims bigint[]) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  IF cardinality(p_claims) = 0 OR NOT p_claims <@ ARRAY(SELECT id FROM claims_claim WHERE id = ANY (p_claims)) THEN
    PERFORM claims_refuse('claims_missing');
  END IF;
  PERFORM claims_lock_leaves(ARRAY(SELECT leaf_id FROM claims_claim WHERE id = ANY (p_claims)));
  IF EXISTS (SELECT FROM claims_claim WHERE id = ANY (p_claims) AND state NOT IN ('held', 'confirmed')) THEN
    PERFORM claims_refuse('claims_gone');
  END IF;
END $$;

CREATE FUNCTION claims_take(
  p_things bigint[], p_start timestamptz, p_end timestamptz, p_state text, p_expires_at timestamptz,
  p_source_type text, p_source_id bigint
) RETURNS bigint[] LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_claims bigint[];
BEGIN
  WITH made AS (
    INSERT INTO claims_claim (leaf_id, during, state, expires_at, source_type, source_id)
    SELECT leaf, claims_during(p_start, p_end), p_state, p_expires_at, p_source_type, p_source_id
      FROM unnest(claims_lock_things(p_things)) leaf ORDER BY leaf
    RETURNING id)
  SELECT array_agg(id ORDER BY id) INTO v_claims FROM made;
  RETURN v_claims;
END $$;

CREATE FUNCTION claims_confirm(p_claims bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
  PERFORM claims_lock_claims(p_claims);
  UPDATE claims_claim SET state = 'confirmed', expires_at = NULL WHERE id = ANY (p_claims) AND state = 'held';
END $$;

CREATE FUNCTION claims_release(p_claims bigint[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_freed bigint;
BEGIN
  PERFORM claims_lock_leaves(ARRAY(SELECT leaf_id FROM claims_claim WHERE id = ANY (p_claims)));
  UPDATE claims_claim SET state = 'released' WHERE id = ANY (p_claims) AND state IN ('held', 'confirmed');
  GET DIAGNOSTICS v_freed = ROW_COUNT;
  RETURN v_freed;
END $$;

CREATE FUNCTION claims_move(p_claims bigint[], p_start timestamptz, p_end timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
  PERFORM claims_lock_claims(p_claims);
  UPDATE claims_claim SET during = claims_during(p_start, p_end) WHERE id = ANY (p_claims);
END $$;
