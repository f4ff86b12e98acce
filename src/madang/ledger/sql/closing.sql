-- Close a month: from now on late use books into the open month and names this one. There is no way back.
-- The lock waits shortly and the caller tries again: while it waits, every new posting queues behind it.
CREATE FUNCTION ledger_close_month(p_month date, p_actor bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp SET lock_timeout = '250ms'
AS $$
DECLARE v_month date := date_trunc('month', p_month)::date;
BEGIN
  PERFORM ledger_need_a_new_view();
  PERFORM pg_advisory_xact_lock(119182731994482);
  IF v_month >= ledger_month(clock_timestamp()) THEN
    RAISE EXCEPTION 'the month is not over' USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_month_over';
  END IF;
  INSERT INTO ledger_period (month, closed_at, closed_by)
  SELECT v_month, clock_timestamp(), p_actor
   WHERE v_month >= '2000-01-01'  -- nothing happened before
     AND NOT EXISTS (SELECT FROM ledger_period WHERE month >= v_month);
END $$;
