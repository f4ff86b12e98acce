-- The digest of the entries that were booked on a day, continuing the one before. Rows are written as PostgreSQL writes them,
-- instants in UTC, in the order of their ids, 10,000 at a time.
CREATE FUNCTION ledger_digest(p_day date, p_previous text, OUT o_entries bigint, OUT o_digest text) LANGUAGE plpgsql STABLE
SET search_path = {schema}, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD'
AS $$
DECLARE v_from timestamptz := p_day::timestamp AT TIME ZONE 'Asia/Seoul'; v_to timestamptz := (p_day + 1)::timestamp AT TIME ZONE 'Asia/Seoul';
  v_rows text;
BEGIN
  o_digest := p_previous;
  FOR v_rows, o_entries IN
    SELECT string_agg(line, E'\n' ORDER BY id), max(n) FROM (
      SELECT id, row_number() OVER (ORDER BY id) AS n,
             ROW(id, source, ext_key, kind, rev, debit_id, credit_id, amount, hold_id, reverses_id, refunds_id, concerns_id, event_at,
                 booked_at, expires_at, period, adjusts_period, actor_id, reason)::text AS line
        FROM ledger_entry WHERE booked_at >= v_from AND booked_at < v_to) numbered
     GROUP BY (n - 1) / 10000 ORDER BY (n - 1) / 10000
  LOOP
    o_digest := encode(sha256(convert_to(o_digest || E'\n' || v_rows, 'UTF8')), 'hex');
  END LOOP;
  o_entries := coalesce(o_entries, 0);  -- a loop over nothing leaves it null
END $$;

-- The digest goes on over the records whose entries were booked on these days.
CREATE FUNCTION ledger_digest_records(p_from date, p_to date, p_previous text, OUT o_records bigint, OUT o_digest text)
LANGUAGE plpgsql STABLE STRICT
SET search_path = {schema}, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET plan_cache_mode = force_custom_plan
AS $$
DECLARE v_from timestamptz := p_from::timestamp AT TIME ZONE 'Asia/Seoul'; v_to timestamptz := (p_to + 1)::timestamp AT TIME ZONE 'Asia/Seoul';
  v_first bigint; v_last bigint; v_rows text;
BEGIN
  o_digest := p_previous;
  -- Their numbers lie close together: so no more is read of each month than this day. (From its entries, and not by looking for
  -- it from both ends of all numbers.)
  SELECT min(id), max(id) INTO v_first, v_last
    FROM (SELECT id FROM ledger_entry WHERE booked_at >= v_from AND booked_at < v_to OFFSET 0) day;
  FOR v_rows, o_records IN
    SELECT string_agg(line, E'\n' ORDER BY entry_id), max(n) FROM (
      SELECT entry_id, row_number() OVER (ORDER BY entry_id) AS n,
             ROW(entry_id, u.source, key, u.rev, submitted_at, account_id, user_ref, resource_ref, started_at, ended_at, u.amount, wall_s,
                 wait_s, raw)::text AS line
        FROM ledger_usage u JOIN ledger_entry e ON e.id = u.entry_id
       WHERE entry_id BETWEEN v_first AND v_last AND e.id BETWEEN v_first AND v_last AND booked_at >= v_from AND booked_at < v_to) numbered
     GROUP BY (n - 1) / 10000 ORDER BY (n - 1) / 10000
  LOOP
    o_digest := encode(sha256(convert_to(o_digest || E'\n' || v_rows, 'UTF8')), 'hex');
  END LOOP;
  o_records := coalesce(o_records, 0);
END $$;

-- Seal every day that is over and isn't sealed yet, and fold its entries into the totals of accounts without a limit. How many
-- days were sealed. Alone against all postings for one moment: none of a day that is over is under way after it.
CREATE FUNCTION ledger_seal() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE v_today date; v_last ledger_seal; v_day date; v_entries bigint; v_records bigint; v_digest text; v_sealed int := 0;
BEGIN
  PERFORM ledger_need_a_new_view();
  PERFORM pg_advisory_xact_lock(119182731994484);
  PERFORM pg_advisory_lock(119182731994482);
  v_today := (clock_timestamp() AT TIME ZONE 'Asia/Seoul')::date;  -- before anybody posts again: it may be midnight
  PERFORM pg_advisory_unlock(119182731994482);
  SELECT * INTO v_last FROM ledger_seal ORDER BY day DESC LIMIT 1;
  v_day := coalesce(v_last.day + 1, (SELECT (min(booked_at) AT TIME ZONE 'Asia/Seoul')::date FROM ledger_entry), v_today);
  WHILE v_day < v_today LOOP
    SELECT o_entries, o_digest INTO v_entries, v_digest FROM ledger_digest(v_day, coalesce(v_last.digest, ''));
    -- The first seal that covers records covers those of all days before.
    SELECT o_records, o_digest INTO v_records, v_digest
      FROM ledger_digest_records(CASE WHEN v_last.records IS NULL THEN '-infinity' ELSE v_day END, v_day, v_digest);
    INSERT INTO ledger_seal (day, entries, records, digest, previous, sealed_at)
    VALUES (v_day, v_entries, v_records, v_digest, coalesce(v_last.digest, ''), clock_timestamp()) RETURNING * INTO v_last;
    INSERT INTO ledger_total AS t (account_id, credited, debited)
    SELECT account_id, sum(credited), sum(debited)
      FROM (SELECT credit_id AS account_id, amount AS credited, 0 AS debited, booked_at, kind FROM ledger_entry
            UNION ALL SELECT debit_id, 0, amount, booked_at, kind FROM ledger_entry) legs
      JOIN ledger_account a ON a.id = account_id
     WHERE NOT a.limited AND kind <> 'hold' AND booked_at >= v_day::timestamp AT TIME ZONE 'Asia/Seoul'
       AND booked_at < (v_day + 1)::timestamp AT TIME ZONE 'Asia/Seoul'
     GROUP BY account_id
    ON CONFLICT (account_id) DO UPDATE SET credited = t.credited + excluded.credited, debited = t.debited + excluded.debited;
    v_day := v_day + 1;
    v_sealed := v_sealed + 1;
  END LOOP;
  RETURN v_sealed;
END $$;
