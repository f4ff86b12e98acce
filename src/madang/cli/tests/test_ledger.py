from __future__ import annotations

import csv
from pathlib import Path

import pytest
from django.utils.timezone import localdate

from madang.cli.show import NOT_ALLOWED, REFUSED, USAGE
from madang.cli.tests.conftest import World

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_month_of_the_ledger_is_written_to_a_file(world: World, tmp_path: Path) -> None:
    month = f"{localdate():%Y-%m}"
    out = tmp_path / "costs.csv"
    answer = world.type("ledger", "export", "--month", month, "--out", str(out))
    assert (answer.exit_code, answer.stdout.strip().replace("\n", "")) == (0, str(out))
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {row["SubAccountId"] for row in rows} == {world.allocation.grant.number}
    columns = tmp_path / "costs.parquet"
    asked = ("ledger", "export", "--month", month, "--out", str(columns), "--format", "parquet")
    assert world.type(*asked).exit_code == 0
    assert columns.read_bytes()[:4] == b"PAR1"


def test_what_can_not_be_exported_leaves_no_file(world: World, tmp_path: Path) -> None:
    out = tmp_path / "costs.csv"
    wrong = world.type("ledger", "export", "--month", "November", "--out", str(out))
    assert (wrong.exit_code, "month" in wrong.stderr) == (REFUSED, True)
    assert world.type("ledger", "export", "--month", "2026-11").exit_code == USAGE
    nobody = world.type("ledger", "export", "--month", "2026-11", "--out", str(out), MADANG_TOKEN="mdg_wrong")
    assert nobody.exit_code == NOT_ALLOWED
    assert list(tmp_path.glob("costs*")) == []
