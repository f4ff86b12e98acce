-- Commodities and accounts: made once, found ever after. The same name with other properties is a conflict.

CREATE FUNCTION ledger_make_commodity(p_code text, p_unit text, p_resource_class text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_old ledger_commodity;
BEGIN
  SELECT * INTO v_old FROM ledger_commodity WHERE code = p_code;
  IF NOT FOUND THEN
    INSERT INTO ledger_commodity (code, unit, resource_class) VALUES (p_code, p_unit, p_resource_class) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT v_old FROM ledger_commodity WHERE code = p_code;
  END IF;
  IF (v_old.unit, v_old.resource_class) IS DISTINCT FROM (p_unit, p_resource_class) THEN
    RAISE EXCEPTION 'commodity with other properties' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_key';
  END IF;
  RETURN v_old.id;
END $$;

CREATE FUNCTION ledger_open_account(p_commodity bigint, p_owner_type text, p_owner_id bigint, p_role text, p_limited boolean)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
AS $$
DECLARE v_old ledger_account;
BEGIN
  IF p_limited AND p_role IN ('consumed', 'overrun') THEN  -- use is never refused
    RAISE EXCEPTION 'a limit of %', p_role USING ERRCODE = 'MD422', CONSTRAINT = 'ledger_account_role';
  END IF;
  SELECT * INTO v_old FROM ledger_account
   WHERE owner_type = p_owner_type AND owner_id = p_owner_id AND commodity_id = p_commodity AND role = p_role;
  IF NOT FOUND THEN
    INSERT INTO ledger_account (commodity_id, owner_type, owner_id, role, limited)
    VALUES (p_commodity, p_owner_type, p_owner_id, p_role, p_limited) ON CONFLICT DO NOTHING RETURNING * INTO v_old;
    IF FOUND AND p_limited THEN
      INSERT INTO ledger_balance (account_id, sink)
      SELECT v_old.id, ledger_open_account(p_commodity, 'site', 0, 'consumed', false) WHERE p_role = 'allocation'
      UNION ALL SELECT v_old.id, NULL WHERE p_role <> 'allocation';
    END IF;
    SELECT * INTO STRICT v_old FROM ledger_account
     WHERE owner_type = p_owner_type AND owner_id = p_owner_id AND commodity_id = p_commodity AND role = p_role;
  END IF;
  IF v_old.limited <> p_limited THEN
    RAISE EXCEPTION 'account with other properties' USING ERRCODE = 'MD409', CONSTRAINT = 'ledger_key';
  END IF;
  RETURN v_old.id;
END $$;
