-- The steps about leaves that the verbs are made of. Each statement of a function sees what was committed before it began,
-- so what is read after a lock is what the lock protects.

-- Exclusive and counted time has one shape: the end isn't part of it, and no end means until further notice.
CREATE FUNCTION claims_during(p_start timestamptz, p_end timestamptz) RETURNS tstzrange LANGUAGE sql IMMUTABLE
AS $$ SELECT tstzrange(p_start, p_end, '[)') $$;

CREATE FUNCTION claims_refuse(p_name text, p_detail bigint DEFAULT NULL) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  RAISE EXCEPTION '%', p_name USING ERRCODE = 'MD409', CONSTRAINT = p_name, DETAIL = coalesce(p_detail::text, '');
END $$;

-- Whether a transaction that has leaves or pools of its own waits for this one, if only for one that does: it may be what this
-- one waits for. (Who holds a row can't be asked; who waits for whom can.)
CREATE FUNCTION claims_waited_for() RETURNS boolean LANGUAGE sql
AS $$
  WITH RECURSIVE waits AS (
    SELECT pid FROM pg_locks
     WHERE (locktype, classid, objid, objsubid) = ('advisory', 1668047209, 0, 2) AND granted AND pid <> pg_backend_pid()
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION SELECT unnest(pg_blocking_pids(pid)) FROM waits)
  SELECT EXISTS (SELECT FROM waits WHERE pid = pg_backend_pid())
$$;

-- An update of the pool and not only a lock: who counts by an older view of the claims must fail, not find a seat that is taken.
CREATE FUNCTION claims_lock_rows(p_leaves bigint[], p_pool bigint) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  IF p_pool IS NULL THEN
    PERFORM FROM claims_leaf WHERE id = ANY (p_leaves) ORDER BY id FOR NO KEY UPDATE;
  ELSE
    UPDATE claims_pool SET capacity = capacity WHERE id = p_pool;
  END IF;
END $$;

-- Lock leaves in id order, or a pool. Every verb begins with this, so two that want the same wait here, and not at the
-- constraint, where each could wait for the other.
-- A transaction of several verbs may ask for what comes before what it has (leaves by their ids, then pools by theirs). In
-- every circle of waits there is one that did so. It is the one that looks up from its waiting and gives way: the server
-- would find the circle only after a second, and again each time that the verb is tried again.
CREATE FUNCTION claims_lock(p_leaves bigint[], p_pool bigint DEFAULT NULL) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE
  v_furthest bigint := nullif(current_setting('madang.claims_furthest', true), '')::bigint;  -- gone with the transaction
  v_first bigint := coalesce(p_pool, (SELECT min(id) FROM unnest(p_leaves) id) - 9223372036854775807);
  v_last bigint := coalesce(p_pool, (SELECT max(id) FROM unnest(p_leaves) id) - 9223372036854775807);
  v_lock_timeout text := current_setting('lock_timeout');
BEGIN
  IF v_first < v_furthest THEN
    LOOP
      BEGIN
        PERFORM set_config('lock_timeout', '100ms', true);
        PERFORM claims_lock_rows(p_leaves, p_pool);
        PERFORM set_config('lock_timeout', v_lock_timeout, true);
        EXIT;
      EXCEPTION WHEN lock_not_available THEN
        IF claims_waited_for() THEN
          PERFORM claims_refuse('claims_circle');
        END IF;
      END;
    END LOOP;
  ELSE
    PERFORM claims_lock_rows(p_leaves, p_pool);
  END IF;
  PERFORM pg_advisory_xact_lock_shared(1668047209, 0);  -- keeps nobody out: it shows who has something, to claims_waited_for
  PERFORM set_config('madang.claims_furthest', greatest(v_furthest, v_last)::text, true);
END $$;

-- The leaves locked, and what is overdue on them ended by the clock: no timer has to run.
CREATE FUNCTION claims_lock_leaves(p_leaves bigint[]) RETURNS void LANGUAGE plpgsql
AS $$
BEGIN
  PERFORM claims_lock(p_leaves);
  UPDATE claims_claim SET state = 'expired'
   WHERE leaf_id = ANY (p_leaves) AND state = 'held' AND expires_at <= clock_timestamp();
END $$;

-- The leaves that these things are made of, locked, with all that they are parts of below these things: so that nothing
-- gets a part while the whole of it is taken.
CREATE FUNCTION claims_lock_things(p_things bigint[]) RETURNS bigint[] LANGUAGE plpgsql
AS $$
DECLARE v_leaves bigint[]; v_tree bigint[]; v_locked bigint[];
BEGIN
  IF coalesce(cardinality(p_things), 0) = 0 OR NOT p_things <@ ARRAY(SELECT id FROM claims_leaf WHERE id = ANY (p_things)) THEN
    PERFORM claims_refuse('claims_missing');
  END IF;
  LOOP
    WITH RECURSIVE tree AS (
      SELECT id FROM claims_leaf WHERE id = ANY (p_things)
      UNION SELECT part.id FROM claims_leaf part JOIN tree ON part.parent_id = tree.id)
    SELECT array_agg(id ORDER BY id), array_agg(id ORDER BY id) FILTER (
             WHERE NOT EXISTS (SELECT FROM claims_leaf part WHERE part.parent_id = tree.id))
      INTO v_tree, v_leaves FROM tree;
    EXIT WHEN v_tree = v_locked;  -- one of them may have got parts while we waited for it
    PERFORM claims_lock_leaves(v_tree);
    v_locked := v_tree;
  END LOOP;
  RETURN v_leaves;
END $$;

CREATE FUNCTION claims_make_leaf(p_owner_type text, p_owner_id bigint, p_part text, p_parent bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_leaf claims_leaf; v_leaves bigint[];
BEGIN
  SELECT * INTO v_leaf FROM claims_leaf WHERE (owner_type, owner_id, part) = (p_owner_type, p_owner_id, p_part);
  IF NOT FOUND AND p_parent IS NOT NULL THEN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      RAISE EXCEPTION 'by an older view of the claims' USING ERRCODE = '40001';
    END IF;
    v_leaves := claims_lock_things(ARRAY[p_parent]);
    -- Not only a lock: who takes the parent by an older view of the tree must fail, not find it without parts.
    UPDATE claims_leaf SET part = part WHERE id = p_parent;
    -- The new part would not know of a claim on the whole: on the parent itself, or on every part of it for one reason.
    IF v_leaves = ARRAY[p_parent] AND EXISTS (SELECT FROM claims_claim WHERE leaf_id = p_parent AND state IN ('held', 'confirmed'))
       OR EXISTS (
         SELECT FROM claims_claim first
          WHERE leaf_id = v_leaves[1] AND state IN ('held', 'confirmed') AND coalesce(upper(during), 'infinity') > clock_timestamp()
            AND cardinality(v_leaves) = (
              SELECT count(DISTINCT leaf_id) FROM claims_claim other
               WHERE leaf_id = ANY (v_leaves) AND state IN ('held', 'confirmed') AND during && first.during
                 AND (other.source_type, other.source_id) = (first.source_type, first.source_id))) THEN
      PERFORM claims_refuse('claims_in_use');
    END IF;
  END IF;
  IF v_leaf.id IS NULL THEN
    INSERT INTO claims_leaf (owner_type, owner_id, part, parent_id) VALUES (p_owner_type, p_owner_id, p_part, p_parent)
    ON CONFLICT DO NOTHING;
    SELECT * INTO v_leaf FROM claims_leaf WHERE (owner_type, owner_id, part) = (p_owner_type, p_owner_id, p_part);
  END IF;
  IF v_leaf.parent_id IS DISTINCT FROM p_parent THEN
    PERFORM claims_refuse('claims_other_parent');
  END IF;
  RETURN v_leaf.id;
END $$;
