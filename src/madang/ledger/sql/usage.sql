-- Use that was metered elsewhere: records, what they book, and what they add up to, all in one transaction.

-- Take away whatever rights new tables are given by default.
CREATE FUNCTION ledger_keep_private(p_table regclass) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE v_role text;
BEGIN
  FOR v_role IN SELECT DISTINCT a.grantee::regrole::text FROM pg_class, aclexplode(relacl) a
                 WHERE oid = p_table AND a.grantee NOT IN (0, relowner) LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %s', p_table, v_role);
  END LOOP;
END $$;

-- Where the records of one transaction wait for ledger_meter: they are gone with it, and nobody else ever sees them. The
-- table belongs to the owner, so nothing in it can run what the application wrote. A record takes the number of its entry
-- here already, and not in a join.
CREATE FUNCTION ledger_stage() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
  IF to_regclass('pg_temp.ledger_stage') IS NULL THEN
    CREATE TEMP TABLE ledger_stage (  -- what has always the same length comes first: then all of it is read faster
      entry_id bigint NOT NULL DEFAULT nextval('ledger_entry_id_seq'), submitted_at timestamptz NOT NULL, account_id bigint NOT NULL,
      user_ref bigint NOT NULL, resource_ref bigint NOT NULL, started_at timestamptz NOT NULL, ended_at timestamptz NOT NULL,
      amount bigint NOT NULL, wall_s bigint NOT NULL, wait_s bigint NOT NULL,
      rev int NOT NULL DEFAULT 0, settles boolean NOT NULL DEFAULT false,  -- found by ledger_meter, as is covered
      hold_id bigint, covered bigint, key varchar(200) COLLATE "C" NOT NULL, raw jsonb
    ) ON COMMIT DELETE ROWS;
    PERFORM ledger_keep_private('pg_temp.ledger_stage');
    GRANT INSERT (key, hold_id, submitted_at, account_id, user_ref, resource_ref, started_at, ended_at, amount, wall_s, wait_s, raw)
      ON ledger_stage TO PUBLIC;
  END IF;
END $$;

-- The months of these records have a partition. Attached, not created in place: importers of other months go on.
CREATE FUNCTION ledger_add_month(p_month date) RETURNS void LANGUAGE plpgsql
SET timezone = 'UTC' SET datestyle = 'ISO, YMD'  -- the bounds are written and read back as text
AS $$
DECLARE v_name text := 'ledger_usage_' || to_char(p_month, 'YYYYMM');
BEGIN
  IF to_regclass('{schema}.' || v_name) IS NULL THEN
    PERFORM pg_advisory_xact_lock(119182731994483);
    IF to_regclass('{schema}.' || v_name) IS NULL THEN
      EXECUTE format('CREATE TABLE {schema}.%I (LIKE ledger_usage INCLUDING ALL)', v_name);
      PERFORM ledger_keep_private(to_regclass('{schema}.' || v_name));  -- it is read through its parent
      EXECUTE format('ALTER TABLE ledger_usage ATTACH PARTITION {schema}.%I FOR VALUES FROM (%L) TO (%L)', v_name,
                     p_month::timestamp AT TIME ZONE 'Asia/Seoul', (p_month + interval '1 month') AT TIME ZONE 'Asia/Seoul');
    END IF;
  END IF;
END $$;

-- A time span cut at midnight in Seoul, and what falls into each day. The parts of a whole number add up to it: each is the
-- difference of two rounded shares. The end is not included, so a span that ends at midnight has nothing in the next day.
CREATE FUNCTION ledger_cut(p_from timestamptz, p_to timestamptz, p_amount bigint, p_wall bigint)
RETURNS TABLE (day date, used bigint, wall_s bigint, is_last boolean) LANGUAGE sql STABLE
AS $$
  SELECT d::date, (floor(p_amount * s.until) - floor(p_amount * s.since))::bigint,
         (floor(p_wall * s.until) - floor(p_wall * s.since))::bigint, s.until = 1
    FROM generate_series(date_trunc('day', p_from AT TIME ZONE 'Asia/Seoul'),
                         greatest(p_from AT TIME ZONE 'Asia/Seoul', p_to AT TIME ZONE 'Asia/Seoul' - interval '1 microsecond'),
                         interval '1 day') d
    CROSS JOIN LATERAL (SELECT d AT TIME ZONE 'Asia/Seoul' AS since, (d + interval '1 day') AT TIME ZONE 'Asia/Seoul' AS until OFFSET 0) m
    CROSS JOIN LATERAL (
      SELECT CASE WHEN m.since <= p_from THEN 0 ELSE extract(epoch FROM m.since - p_from) / extract(epoch FROM p_to - p_from) END AS since,
             CASE WHEN m.until >= p_to THEN 1 ELSE extract(epoch FROM m.until - p_from) / extract(epoch FROM p_to - p_from) END AS until
      OFFSET 0) s
$$;

-- The months of records that come in several lanes: made before, since a lane would wait for the one that makes them.
CREATE FUNCTION ledger_open_months(p_months date[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
BEGIN
  PERFORM ledger_add_month(m) FROM (
    SELECT DISTINCT date_trunc('month', m)::date AS m FROM unnest(p_months) m
     WHERE m BETWEEN '2000-01-01' AND clock_timestamp() + interval '1 month') months;
END $$;

-- The use of a hold that was freed came as a record, which is booked as this entry: that is the late use of the hold, of which
-- there is one. Where somebody had settled it late before, the overrun of that is reversed: the record says more of the same use.
CREATE FUNCTION ledger_told_late(p_hold bigint, p_entry bigint, p_actor bigint, p_reason text) RETURNS void LANGUAGE plpgsql
AS $$
DECLARE v_late ledger_entry;
BEGIN
  INSERT INTO ledger_excess (hold_id, entry_id) VALUES (p_hold, p_entry) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    SELECT e.* INTO v_late FROM ledger_excess x JOIN ledger_entry e ON e.id = x.entry_id
     WHERE x.hold_id = p_hold AND NOT EXISTS (SELECT FROM ledger_usage u WHERE u.entry_id = e.id)
       AND NOT EXISTS (SELECT FROM ledger_entry r WHERE r.reverses_id = e.id);
    IF FOUND THEN
      PERFORM ledger_write('reverse', v_late.credit_id, v_late.debit_id, v_late.amount, 'ledger', 'entry ' || v_late.id,
                           v_late.event_at, p_actor, p_reason, p_reverses => v_late.id, p_concerns => v_late.concerns_id);
    END IF;
  END IF;
END $$;

-- Book everything in the stage as the use of `p_source`, which is alone with its records until the transaction ends: or,
-- with p_beside, beside others of the source that also say so. Then it is alone with the accounts of its records.
-- A record that names an open hold settles it. Any other is charged as far as the account covers it, in the order of arrival.
-- What neither covers is an overrun: use is never refused. A record that names a freed hold is its late use: that and a late
-- settlement of the hold are the same. (Of a record that names no hold nobody can know what it is the same as.)
-- A record that is known and changed, or comes with its hold now, has its old entries reversed and is booked anew. What can't be
-- booked is named in `o_refused`, and the rest is booked.
CREATE FUNCTION ledger_meter(
  p_source text, p_digest bytea, p_actor bigint, p_reason text, p_beside boolean DEFAULT false,
  OUT o_fresh bigint, OUT o_changed bigint, OUT o_overrun numeric, OUT o_refused jsonb
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '32MB'
SET timezone = 'Asia/Seoul'  -- of days and months: a zone that is named is looked up for every instant
AS $$
DECLARE
  v_now timestamptz; v_late timestamptz; v_odd boolean; v_this date; v_closed date; v_open date; v_month date; v_old ledger_usage[]; v_entry ledger_entry; v_wrong jsonb; v_tight bigint[]; v_account bigint; v_freed boolean; v_told bigint[];
BEGIN
  IF NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('pg_temp.ledger_stage') AND relowner = current_user::regrole) THEN
    RAISE EXCEPTION 'not our stage' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_stage';
  END IF;
  IF p_beside THEN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(p_source, 119182731994482));
  ELSE
    PERFORM pg_advisory_xact_lock(hashtextextended(p_source, 119182731994482));
  END IF;
  PERFORM ledger_enter();
  v_now := clock_timestamp();
  v_late := v_now + interval '1 day';
  v_this := ledger_month(v_now);
  SELECT coalesce(max(month), '-infinity') INTO v_closed FROM ledger_period;
  v_open := greatest(v_this, (v_closed + interval '1 month')::date);
  o_refused := '[]';
  o_changed := 0;

  -- What no ledger can book. (Two keys may only seem to be the same here.)
  SELECT count(*) <> count(DISTINCT hashtextextended(s.key, 0)) OR bool_or(
           s.amount < 0 OR s.wall_s < 0 OR s.wait_s < 0 OR s.ended_at < s.started_at
           OR s.amount > 10000000000000000 OR s.wall_s > 100000000000 OR s.wait_s > 100000000000
           OR s.started_at < '2000-01-01' OR s.ended_at > v_late OR s.submitted_at NOT BETWEEN '2000-01-01' AND v_late
           OR s.hold_id IS NOT NULL AND (
             SELECT h.id FROM ledger_entry h WHERE h.id = s.hold_id AND h.kind = 'hold' AND h.debit_id = s.account_id) IS NULL)
    INTO v_odd FROM ledger_stage s;
  IF v_odd OR EXISTS (SELECT FROM (SELECT DISTINCT account_id FROM ledger_stage) s
                        LEFT JOIN ledger_balance b ON b.account_id = s.account_id AND b.sink IS NOT NULL WHERE b.sink IS NULL) THEN
    WITH judged AS (
      SELECT s.entry_id, s.key, CASE
               WHEN a.id IS NULL THEN 'ledger_account'
               WHEN a.role <> 'allocation' OR NOT a.limited THEN 'ledger_account_role'
               WHEN s.amount < 0 OR s.wall_s < 0 OR s.wait_s < 0 THEN 'ledger_amount_not_negative'
               WHEN s.amount > 10000000000000000 OR s.wall_s > 100000000000 OR s.wait_s > 100000000000 THEN 'ledger_amount_not_beyond'
               WHEN s.ended_at < s.started_at OR s.started_at < '2000-01-01' OR s.ended_at > v_late
                 OR s.submitted_at NOT BETWEEN '2000-01-01' AND v_late THEN 'ledger_usage_times'
               WHEN s.hold_id IS NOT NULL AND h.id IS NULL THEN 'ledger_hold'
               WHEN row_number() OVER (PARTITION BY s.key ORDER BY s.entry_id) > 1 THEN 'ledger_key' END AS why
        FROM ledger_stage s LEFT JOIN ledger_account a ON a.id = s.account_id
        LEFT JOIN ledger_entry h ON h.id = s.hold_id AND h.kind = 'hold' AND h.debit_id = s.account_id),
    gone AS (
      DELETE FROM ledger_stage s USING judged j WHERE j.entry_id = s.entry_id AND j.why IS NOT NULL RETURNING s.entry_id, s.key, j.why)
    SELECT coalesce(jsonb_agg(jsonb_build_object('key', key, 'why', why) ORDER BY entry_id), '[]') INTO v_wrong FROM gone;
    o_refused := o_refused || v_wrong;
  END IF;

  -- Balances are locked in the order of their ids, whatever comes then; and before anybody asks what is known of a use.
  PERFORM FROM ledger_balance WHERE account_id IN (SELECT account_id FROM ledger_stage) ORDER BY account_id FOR NO KEY UPDATE;

  -- What is known: the same again is nothing new; another account of the same use replaces it. So does the same with a hold that
  -- still stands: it had come without.
  -- (Asked for each record by itself, here and below: a plan that reads all entries instead is a day's work.)
  IF EXISTS (SELECT FROM ledger_stage s CROSS JOIN LATERAL (
               SELECT FROM ledger_entry e WHERE e.source = p_source AND e.ext_key = s.key
                  AND CASE WHEN e.kind IN ('charge', 'overrun', 'settle') THEN true END OFFSET 0) known) THEN
    WITH known AS (
      SELECT DISTINCT ON (s.entry_id) s.entry_id, s.key, u.rev, u.entry_id AS was, s.hold_id, s.amount, s.ended,
             (u.account_id, u.user_ref, u.resource_ref, u.started_at, u.ended_at, u.amount, u.wall_s, u.wait_s, u.raw)
               IS NOT DISTINCT FROM
             (s.account_id, s.user_ref, s.resource_ref, s.started_at, s.ended_at, s.amount, s.wall_s, s.wait_s, s.raw)
               AND (s.hold_id IS NULL OR s.ended IS NOT NULL) AS same
        FROM (SELECT *, CASE WHEN hold_id IS NOT NULL THEN
                       (SELECT min(h.kind::text) FROM ledger_entry h WHERE h.hold_id = one.hold_id) END AS ended
                FROM ledger_stage one OFFSET 0) s
        CROSS JOIN LATERAL (SELECT id FROM ledger_entry WHERE source = p_source AND ext_key = s.key
                               AND kind IN ('charge', 'overrun', 'settle') OFFSET 0) e
        LEFT JOIN LATERAL (SELECT * FROM ledger_usage WHERE entry_id = e.id AND submitted_at = s.submitted_at OFFSET 0) u ON true
       ORDER BY s.entry_id, u.rev DESC NULLS LAST),
    stuck AS (  -- not from here, or from another instant; or what it took was partly given back, or reversed where it took nothing
      SELECT k.entry_id, k.key, CASE WHEN k.was IS NULL THEN 'ledger_key' ELSE 'ledger_reversible' END AS why
        FROM known k WHERE k.was IS NULL OR NOT k.same AND EXISTS (
          SELECT FROM ledger_entry e WHERE e.source = p_source AND e.ext_key = k.key AND e.rev = k.rev AND (
            ledger_given_back(e.id) > 0 OR (SELECT r.id FROM ledger_entry r WHERE r.reverses_id = e.id) IS NOT NULL))),
    gone AS (
      DELETE FROM ledger_stage s USING known k WHERE k.entry_id = s.entry_id
         AND (k.same OR EXISTS (SELECT FROM stuck WHERE stuck.entry_id = s.entry_id))),
    next AS (
      UPDATE ledger_stage s SET rev = k.rev + 1 FROM known k
       WHERE k.entry_id = s.entry_id AND NOT k.same AND NOT EXISTS (SELECT FROM stuck WHERE stuck.entry_id = s.entry_id)
      RETURNING k.was, s.submitted_at)
    SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object('key', key, 'why', why) ORDER BY entry_id), '[]') FROM stuck),
           (SELECT array_agg(u::ledger_usage) FROM next
              CROSS JOIN LATERAL (SELECT * FROM ledger_usage WHERE entry_id = next.was AND submitted_at = next.submitted_at OFFSET 0) u),
           (SELECT array_agg(ARRAY[hold_id, was] ORDER BY entry_id) FROM known WHERE same AND amount > 0 AND ended <> 'settle')
      INTO v_wrong, v_old, v_told;
    o_refused := o_refused || v_wrong;
    o_changed := coalesce(cardinality(v_old), 0);
  END IF;

  IF o_changed > 0 THEN
    -- Use that goes to another account: out of order, so two who exchange theirs may have to be asked again.
    PERFORM FROM ledger_balance WHERE account_id IN (SELECT account_id FROM unnest(v_old)) ORDER BY account_id FOR NO KEY UPDATE;
    FOR v_entry IN
      SELECT e.* FROM unnest(v_old) o
       CROSS JOIN LATERAL (SELECT * FROM ledger_entry WHERE source = o.source AND ext_key = o.key AND rev = o.rev
                              AND kind IN ('charge', 'overrun', 'settle') OFFSET 0) e
       -- Both of its own were booked at one instant: another of this key is a verb's, and not of this record.
       CROSS JOIN LATERAL (SELECT booked_at FROM ledger_entry WHERE id = o.entry_id OFFSET 0) own WHERE e.booked_at = own.booked_at
       ORDER BY e.debit_id, e.id
    LOOP
      SELECT w.o_fresh INTO v_odd FROM ledger_write(
        'reverse', v_entry.credit_id, v_entry.debit_id, v_entry.amount, 'ledger', 'entry ' || v_entry.id, v_entry.event_at, p_actor,
        p_reason, p_reverses => v_entry.id, p_concerns => CASE v_entry.kind WHEN 'overrun' THEN v_entry.concerns_id END) w;
      IF NOT v_odd THEN  -- an overrun has no balance that we could have locked: somebody reversed it since we looked
        RAISE EXCEPTION 'reversed meanwhile' USING ERRCODE = '23505', CONSTRAINT = 'ledger_reversed_once';
      END IF;
      UPDATE ledger_balance SET credited = credited + v_entry.amount WHERE account_id = v_entry.debit_id;
    END LOOP;
    DELETE FROM ledger_import WHERE source = p_source;
  END IF;

  -- Holds first: what they cover is settled, the rest of them is back.
  WITH ended AS (
    UPDATE ledger_stage s SET covered = least(s.amount, h.amount), settles = true
      FROM (SELECT DISTINCT ON (hold_id) hold_id, entry_id FROM ledger_stage WHERE hold_id IS NOT NULL ORDER BY hold_id, entry_id) f
      CROSS JOIN LATERAL (SELECT amount FROM ledger_entry WHERE id = f.hold_id OFFSET 0) h
     WHERE f.entry_id = s.entry_id AND (SELECT min(e.id) FROM ledger_entry e WHERE e.hold_id = f.hold_id) IS NULL
    RETURNING s.account_id, h.amount, s.covered),
  sums AS (SELECT account_id, sum(amount) AS held, sum(covered) AS covered FROM ended GROUP BY account_id)
  UPDATE ledger_balance b SET held = b.held - s.held, debited = b.debited + s.covered FROM sums s WHERE b.account_id = s.account_id;

  -- Then what no hold was for is charged, in the order of arrival, as far as the account covers it.
  FOR v_account IN
    SELECT account_id FROM ledger_stage s JOIN ledger_balance b USING (account_id) WHERE NOT settles
     GROUP BY account_id, b.credited, b.debited, b.held HAVING sum(s.amount) > b.credited - b.debited - b.held ORDER BY account_id
  LOOP
    PERFORM ledger_free_overdue(v_account);
    v_tight := v_tight || v_account;
  END LOOP;
  IF v_tight IS NOT NULL THEN
    WITH lined_up AS (
      SELECT s.entry_id, sum(s.amount) OVER (PARTITION BY s.account_id ORDER BY s.entry_id) - s.amount AS before,
             b.credited - b.debited - b.held AS available
        FROM ledger_stage s JOIN ledger_balance b USING (account_id) WHERE NOT settles AND s.account_id = ANY (v_tight))
    UPDATE ledger_stage s SET covered = greatest(0, least(s.amount, l.available - l.before))
      FROM lined_up l WHERE l.entry_id = s.entry_id;
  END IF;
  UPDATE ledger_balance b SET debited = b.debited + s.covered
    FROM (SELECT account_id, sum(coalesce(covered, amount)) AS covered FROM ledger_stage WHERE NOT settles GROUP BY account_id) s
   WHERE b.account_id = s.account_id AND s.covered > 0;

  -- The entries. Sinks and overruns are accounts of the site, one for each commodity.
  INSERT INTO ledger_entry (id, source, ext_key, kind, rev, debit_id, credit_id, amount, hold_id, event_at, booked_at, period,
                            adjusts_period, actor_id, reason)
  SELECT s.entry_id, p_source, s.key, CASE WHEN s.settles THEN 'settle' ELSE 'charge' END, s.rev, s.account_id, b.sink,
         coalesce(s.covered, s.amount), CASE WHEN s.settles THEN s.hold_id END, s.ended_at, v_now,
         CASE WHEN s.month <= v_closed THEN v_open ELSE s.month END,
         CASE WHEN s.month <= v_closed THEN s.month END, p_actor, p_reason
    FROM (SELECT *, date_trunc('month', ended_at::timestamp)::date AS month FROM ledger_stage OFFSET 0) s
    JOIN ledger_balance b USING (account_id)
   WHERE s.settles OR coalesce(s.covered, s.amount) > 0 OR s.amount = 0;
  SELECT coalesce(sum(amount - covered) FILTER (WHERE covered < amount), 0), bool_or(hold_id IS NOT NULL AND NOT settles AND amount > 0)
    INTO o_overrun, v_freed FROM ledger_stage;
  IF o_overrun > 0 THEN
    WITH over AS MATERIALIZED (
      SELECT commodity_id, ledger_open_account(commodity_id, 'site', 0, 'overrun', false) AS id
        FROM (SELECT DISTINCT commodity_id FROM ledger_stage s JOIN ledger_account a ON a.id = s.account_id WHERE s.covered < s.amount) c),
    lost AS (
      INSERT INTO ledger_entry (id, source, ext_key, kind, rev, debit_id, credit_id, amount, concerns_id, event_at, booked_at, period,
                                adjusts_period, actor_id, reason)
      SELECT CASE WHEN s.settles OR s.covered > 0 THEN nextval('ledger_entry_id_seq') ELSE s.entry_id END, p_source, s.key, 'overrun',
             s.rev, o.id, b.sink, s.amount - s.covered, s.account_id, s.ended_at, v_now,
             CASE WHEN s.month <= v_closed THEN v_open ELSE s.month END,
             CASE WHEN s.month <= v_closed THEN s.month END, p_actor, p_reason
        FROM (SELECT *, date_trunc('month', ended_at::timestamp)::date AS month FROM ledger_stage) s
        JOIN ledger_balance b USING (account_id) JOIN ledger_account a ON a.id = s.account_id JOIN over o USING (commodity_id)
       WHERE s.covered < s.amount
      RETURNING id, ext_key)
    INSERT INTO ledger_excess (hold_id, entry_id)
    SELECT s.hold_id, lost.id FROM lost JOIN ledger_stage s ON s.key = lost.ext_key WHERE s.settles;
  END IF;

  -- The records.
  FOR v_month IN
    SELECT generate_series(ledger_month(min(submitted_at)), ledger_month(max(submitted_at)), interval '1 month') FROM ledger_stage
  LOOP
    IF to_regclass('{schema}.ledger_usage_' || to_char(v_month, 'YYYYMM')) IS NULL AND EXISTS (
         SELECT FROM ledger_stage WHERE submitted_at >= v_month::timestamp AT TIME ZONE 'Asia/Seoul'
                                    AND submitted_at < (v_month + interval '1 month') AT TIME ZONE 'Asia/Seoul') THEN
      PERFORM ledger_add_month(v_month);
    END IF;
  END LOOP;
  INSERT INTO ledger_usage (entry_id, source, key, rev, submitted_at, account_id, user_ref, resource_ref, started_at, ended_at,
                            amount, wall_s, wait_s, raw)
  SELECT entry_id, p_source, key, rev, submitted_at, account_id, user_ref, resource_ref, started_at, ended_at,
         amount, wall_s, wait_s, raw FROM ledger_stage;
  GET DIAGNOSTICS o_fresh = ROW_COUNT;
  o_fresh := o_fresh - o_changed;

  IF v_freed THEN  -- or settled before
    SELECT v_told || array_agg(ARRAY[s.hold_id, s.entry_id] ORDER BY s.entry_id) INTO v_told FROM ledger_stage s
     WHERE NOT s.settles AND s.amount > 0 AND (SELECT min(e.kind::text) FROM ledger_entry e WHERE e.hold_id = s.hold_id) <> 'settle';
  END IF;
  FOR v_n IN 1 .. coalesce(array_length(v_told, 1), 0) LOOP
    PERFORM ledger_told_late(v_told[v_n][1], v_told[v_n][2], p_actor, p_reason);
  END LOOP;

  -- What they add up to, in the order of the keys: two importers never wait for each other in a circle.
  WITH delta AS MATERIALIZED (
    SELECT account_id, user_ref, resource_ref, started_at, ended_at, amount, wall_s, wait_s,
           date_trunc('month', ended_at::timestamp)::date AS month, started_at::date AS first_day,
           greatest(started_at, ended_at - interval '1 microsecond')::date AS last_day, sign
      FROM (SELECT account_id, user_ref, resource_ref, started_at, ended_at, amount, wall_s, wait_s, 1 AS sign FROM ledger_stage
            UNION ALL
            SELECT account_id, user_ref, resource_ref, started_at, ended_at, amount, wall_s, wait_s, -1 FROM unnest(v_old)) signed),
  cells AS MATERIALIZED (
    SELECT day, account_id, user_ref, resource_ref, sum(records) AS records, sum(used)::bigint AS used,
           sum(wall_s)::bigint AS wall_s, sum(wait_s)::bigint AS wait_s
      FROM (SELECT last_day AS day, account_id, user_ref, resource_ref, sign AS records, sign * amount AS used, sign * wall_s AS wall_s,
                   sign * wait_s AS wait_s FROM delta WHERE first_day = last_day
            UNION ALL
            SELECT c.day, account_id, user_ref, resource_ref, CASE WHEN c.is_last THEN sign ELSE 0 END, sign * c.used, sign * c.wall_s,
                   CASE WHEN c.is_last THEN sign * wait_s ELSE 0 END
              FROM delta CROSS JOIN LATERAL ledger_cut(started_at, ended_at, amount, delta.wall_s) c WHERE first_day < last_day) parts
     GROUP BY day, account_id, user_ref, resource_ref),
  -- Nobody else writes the cells of an account whose balance is locked, so what isn't there won't be.
  found AS MATERIALIZED (
    SELECT c.*, (SELECT d.ctid FROM ledger_usage_day d WHERE d.day = c.day AND d.account_id = c.account_id
                    AND d.user_ref = c.user_ref AND d.resource_ref = c.resource_ref) AS place FROM cells c),
  more AS (
    UPDATE ledger_usage_day d SET records = d.records + f.records, used = d.used + f.used, wall_s = d.wall_s + f.wall_s,
                                  wait_s = d.wait_s + f.wait_s
      FROM found f WHERE d.ctid = ANY (ARRAY(SELECT place FROM found)) AND d.ctid = f.place),  -- the list, or it reads all days
  days AS (
    INSERT INTO ledger_usage_day (day, account_id, user_ref, resource_ref, records, used, wall_s, wait_s)
    SELECT day, account_id, user_ref, resource_ref, records, used, wall_s, wait_s FROM found WHERE place IS NULL
     ORDER BY day, account_id, user_ref, resource_ref)
  INSERT INTO ledger_usage_month AS m (month, adjusts, account_id, user_ref, resource_ref, records, used, booked, wall_s, wait_s)
  SELECT month, adjusts, account_id, user_ref, resource_ref, sum(records), sum(used), sum(booked), sum(wall_s), sum(wait_s)
    FROM (SELECT month, month AS adjusts, account_id, user_ref, resource_ref, 0 AS records, used, 0 AS booked, wall_s, 0 AS wait_s
            FROM (SELECT *, date_trunc('month', day::timestamp)::date AS month FROM cells OFFSET 0) dated
          UNION ALL
          SELECT CASE WHEN month <= v_closed THEN v_open ELSE month END, month, account_id, user_ref, resource_ref,
                 sign, 0, sign * amount, 0, sign * wait_s FROM delta) parts
   GROUP BY month, adjusts, account_id, user_ref, resource_ref
   ORDER BY month, adjusts, account_id, user_ref, resource_ref
  ON CONFLICT (month, adjusts, account_id, user_ref, resource_ref) DO UPDATE
     SET records = m.records + excluded.records, used = m.used + excluded.used, booked = m.booked + excluded.booked,
         wall_s = m.wall_s + excluded.wall_s, wait_s = m.wait_s + excluded.wait_s;

  IF p_digest IS NOT NULL AND o_refused = '[]' THEN
    INSERT INTO ledger_import (source, digest, records, booked_at)
    SELECT p_source, p_digest, o_fresh + o_changed, v_now ON CONFLICT DO NOTHING;
  END IF;
  -- More records may come in this transaction, as another call.
  TRUNCATE ledger_stage;
END $$;
