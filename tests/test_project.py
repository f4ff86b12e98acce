"""What must be true of the files of the project themselves."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "tests" / "published.toml"  # the facts as they were handed over
OURS = ROOT / "src" / "madang" / "demo" / "gwangju.toml"
MACHINES = re.compile(r"(?<![\w.@-])/(?:work/main|work/shared|root|Users)/|(?<![\w.@-])/home/\w+/")
UNDONE = re.compile("\\b(?:TO" + "DO|FIX" + "ME|XX" + "X)\\b")
TEXTS = {".py", ".html", ".toml", ".md", ".css", ".js", ".sql", ".po", ".txt", ".json", ".yml", ".yaml", ".cfg", ""}


def files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [
        ROOT / name
        for name in names
        if "/vendor/" not in name and Path(name).suffix in TEXTS and (ROOT / name).is_file()
    ]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in files()
        if path.resolve() != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    assert lines_with(MACHINES) == []


def test_nothing_is_left_to_do_in_a_comment() -> None:
    assert lines_with(UNDONE) == []


def test_the_figures_of_the_reference_site_are_those_that_were_published() -> None:
    """Each number beside its source, both where two sources disagree."""
    facts, ours = (tomllib.loads(path.read_text()) for path in (PUBLISHED, OURS))
    mine = {
        figure["key"]: {(value["number"], value["source"]) for value in figure["values"] if "number" in value}
        for figure in ours["figures"]
    }
    wanted = figures_of(facts)
    assert {key: mine.get(key) for key in wanted} == wanted
    assert set(mine) - set(wanted) <= {"phase-1-years", "phase-2-years"}


def test_the_money_of_the_programs_is_what_was_published() -> None:
    facts, ours = (tomllib.loads(path.read_text()) for path in (PUBLISHED, OURS))
    purses = {
        program["code"]: {(purse["amount_krw"], purse["source"]) for purse in program.get("purses", [])}
        for program in ours["programs"]
    }
    wanted = {
        program["code"]: {(budget["value"], budget["source"]) for budget in program.get("budget_krw", [])}
        for program in facts["programs"]
    }
    assert {code: purses.get(code) for code in wanted} == wanted
    call = facts["call_2025_compute"]
    assert (ours["call"]["budget_krw"], ours["call"]["most_awards"], ours["call"]["storage_tb"]) == (
        call["budget_krw"],
        call["awards"],
        call["offer"]["storage_tb"],
    )
    assert ours["call"]["discount_percent"] == call["discount"]["share"] * 100
    assert len(ours["call"]["eligible"]) == len(call["eligible"])
    groups = {group["sector"]: group["count"] for group in ours["instruments"]["groups"]}
    assert sum(groups.values()) + 1 == facts["instruments"]["kinds"]["value"]  # and the flagship
    assert {sector: groups[sector] for sector in ("automotive", "energy", "healthcare")} == {
        sector: facts["instruments"]["added_2022"][sector] for sector in ("automotive", "energy", "healthcare")
    }


def test_every_source_that_is_named_is_described() -> None:
    ours = tomllib.loads(OURS.read_text())
    named = set(re.findall(r'source = "([^"]+)"', OURS.read_text()))
    assert named - set(ours["sources"]) == set()


def figures_of(facts: dict[str, Any]) -> dict[str, set[tuple[Any, str]]]:
    center, academy, support = facts["data_center"], facts["academy"], facts["support"]
    programs = {program["code"]: program for program in facts["programs"]}
    one, two, center_to_come = (programs[code] for code in ("phase-1", "phase-2", "national-ai-computing-center"))
    added = facts["instruments"]["added_2022"]
    known: dict[str, Any] = {
        "compute-pflops": center["compute_pflops"],
        "hpc-pflops": center["hpc_pflops"],
        "storage-pb": center["storage_pb"],
        "projects-supported": center["projects_supported"],
        "gpus-wanted": (center_to_come["gpus_wanted"]["at_least"], center_to_come["gpus_wanted"]["source"]),
        "h100-share": (percent(center["korean_gpus_held"]["share"]), center["korean_gpus_held"]["source"]),
        "computing-center-times": (
            center_to_come["scale"]["times_the_data_center"],
            center_to_come["scale"]["source"],
        ),
        "instrument-kinds": facts["instruments"]["kinds"],
        "instruments-2021": facts["instruments"]["by_2021"],
        "instruments-2022": (added["automotive"] + added["energy"] + added["healthcare"], added["source"]),
        "site-area": (facts["operator"]["site"]["area_m2"], facts["operator"]["site"]["source"]),
        "camp-tenants": (facts["spaces"]["startup_camp"]["tenants"], facts["spaces"]["startup_camp"]["source"]),
        "academy-graduates": academy["graduates"],
        "academy-employed": [{**value, "value": percent(value["value"])} for value in academy["employed_share"]],
        "companies-supported-2022": support["companies_2022"],
        "companies-supported-2025": support["companies_2025"],
        "ces-awards-2025": support["ces_innovation_awards_2025"],
        "companies-attracted": support["companies_attracted"],
        "jobs-created": support["jobs_created"],
        "phase-1-infrastructure-share": (percent(one["share"]["infrastructure"]), one["share"]["source"]),
        "phase-2-infrastructure-share": (percent(two["share"]["infrastructure"]), two["share"]["source"]),
        "phase-2-planning": two["planning_budget_krw"],
    }
    return {key: pairs(value) for key, value in known.items()}


def percent(share: float) -> float:
    return round(share * 100, 6)


def pairs(value: Any) -> set[tuple[Any, str]]:
    if isinstance(value, tuple):
        return {(value[0], source(value[1]))}
    values = value if isinstance(value, list) else [value]
    return {(one["value"], source(one["source"])) for one in values}


def source(name: str) -> str:
    """A source that was named in words has a code here."""
    return {"press, 2022": "press-2022", "press, August 2025": "press-2025-08"}.get(name, name)
