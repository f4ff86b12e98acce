"""The reference site, built through the verbs that people use: what has been published about it, with its sources."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.utils.timezone import localdate

from madang.catalog import actions as catalog
from madang.catalog.models import Kind, Place, Resource
from madang.demo.cast import PEOPLE
from madang.facilities.compute import actions as compute
from madang.facilities.compute.clusters import slurms
from madang.facilities.compute.models import Cluster
from madang.identity import actions as identity
from madang.identity.models import Organization, OrganizationKind, Person, Region
from madang.planning import actions as planning
from madang.planning.models import Plan
from madang.programs import actions as programs
from madang.programs.models import Indicator, Program, ReferenceFigure, Source

FACTS = Path(__file__).with_name("gwangju.toml")
HOUR = 3600
TB = 1_000_000  # MB
Say = Callable[[str], None]

# What the board counts. The targets are the ones a demonstration sets itself: none of them was published.
INDICATORS: list[tuple[str, str, str, str, str, str, str, str, int | None]] = [
    ("projects", "projects_supported", "I", "compute", "컴퓨팅 지원 과제", "Projects given compute",
     "협약을 체결하고 지원 패키지가 열린 과제 수", "Grants whose agreement was accepted", 50),
    ("companies", "companies_supported", "E", "support", "지원 기관", "Organizations supported",
     "지원 패키지를 받은 기관 수(사업자등록번호 기준)", "Organizations with a grant, each once by business number", 50),
    ("gpu-hours", "gpu_hours_used", "I", "compute", "GPU 사용 시간", "GPU-hours used",
     "끝난 작업이 실제로 사용한 GPU 시간", "GPU-hours that ended runs really used", 100 * HOUR),
    ("jobs", "jobs_run", "I", "compute", "실행한 작업", "Jobs run",
     "실행이 끝난 작업 수", "Jobs with an ended run", 10),
    ("resources", "resources_lent", "I", "demonstration", "대여 중인 자원", "Resources on offer",
     "현재 대여 중인 자원 수", "Resources that are lent at present", None),
    ("storage", "storage_granted", "D", "compute", "제공한 저장공간", "Storage granted",
     "지원 패키지로 제공한 저장공간", "Storage promised by grants", None),
    ("hires", "hires", "H", "talent", "신규고용", "New hires",
     "증빙을 확인한 신규고용 인원", "People hired, evidence checked", 10),
    ("revenue", "revenue", "E", "support", "매출", "Revenue",
     "증빙을 확인한 매출", "Revenue that the support brought about, evidence checked", 1_000_000_000),
    ("products", "products", "E", "support", "제품·서비스 출시", "Products and services",
     "증빙을 확인한 제품·서비스 수", "Products and services launched, evidence checked", 5),
    ("decision-days", "decision_days", "E", "administration", "선정까지 걸린 기간", "Days to the decision",
     "접수 마감부터 결과 확정까지의 평균 일수", "Days from the deadline to the final decision, on average", None),
]  # fmt: skip


PFLOPS_OF_A_GPU = 0.989  # an H100 SXM, dense BF16, as NVIDIA's data sheet says


def facts() -> dict[str, Any]:
    """The published facts, as they stand in `gwangju.toml`."""
    return tomllib.loads(FACTS.read_text(encoding="utf-8"))


def build(say: Say) -> dict[str, Person]:
    """The agency, its people, programs, figures, resources. What is there already is left as it is."""
    known = facts()
    people = _people(say, known)
    officer, steward = people["officer"], people["steward"]
    agency = Organization.objects.get(kind=OrganizationKind.AGENCY)
    say("programs, money and published figures")
    _programs(officer, known)
    say("partitions, storage, 77 instruments, the start-up camp")
    _resources(steward, people["operator"], agency, known)
    _plan(people["executive"], known)
    return people


def _people(say: Say, known: dict[str, Any]) -> dict[str, Person]:
    say("the agency and its people")
    found = {p.email: p for p in Person.objects.filter(email__in=[email for _, email, _ in PEOPLE.values()])}
    name, email, _role = PEOPLE["operator"]
    operator = found.get(email) or identity.first_operator(email=email, name=name, password=None)
    people = {"operator": operator}
    for key, (name, email, role) in PEOPLE.items():
        if key == "operator":
            continue
        person = found.get(email)
        if person is None:
            person = identity.add_person(operator, email=email, name=name)
            identity.give_role(operator, person=person, role=role, reason="시연")
        people[key] = person
    if not Organization.objects.filter(kind=OrganizationKind.AGENCY).exists():
        agency = known["agency"]
        identity.register_organization(
            operator,
            name_ko=agency["name"]["ko"],
            name_en=agency["name"]["en"],
            kind=OrganizationKind.AGENCY,
            business_number=agency["business_number"],
            representative="",
            region=Region.GWANGJU,
            founded_on=None,
            is_youth_startup=False,
        )
    return people


def _plan(executive: Person, known: dict[str, Any]) -> None:
    """From the data center of today to 12 times its size to the 100,000 GPUs that the city wants."""
    if Plan.objects.exists():
        return
    pflops = known["plan"]["pflops"]
    today = round(pflops / PFLOPS_OF_A_GPU)
    year = localdate().year
    stages = [(year + 2, today * 11), (year + 4, 100_000 - today * 12)]
    planning.save(
        executive,
        name=known["plan"]["name"]["ko"],
        about=known["plan"]["about"]["ko"].format(pflops=pflops, gpus=today),
        starts_on=date(year + 1, 1, 1),
        gpus=today,
        stages=[
            {"on": date(on, 1, 1).isoformat(), "gpus": gpus, "slip_days": [0, 90, 540], "cost_krw": None}
            for on, gpus in stages
        ],
        programs=[
            {"name": "기업 지원", "shape": "helios", "gpu_hours_a_day": 900, "growth_percent": 150},
            {"name": "연구와 초거대 모델", "shape": "philly", "gpu_hours_a_day": 600, "growth_percent": 250},
        ],
        policy="easy",
        promise_minutes=60,
        quarters=20,
        seeds=3,
        cost_krw=None,
        years_of_use=None,
        running_krw=None,
        source="",
    )


def _programs(officer: Person, known: dict[str, Any]) -> None:
    sources = {s.code: s for s in Source.objects.all()}
    for code, source in known["sources"].items():
        if code not in sources:
            sources[code] = programs.add_source(officer, code=code, **source)
    made = {p.code: p for p in Program.objects.all()}
    for program in known["programs"]:
        if program["code"] in made:
            continue
        row = made[program["code"]] = programs.add_program(
            officer,
            code=program["code"],
            name_ko=program["name"]["ko"],
            name_en=program["name"]["en"],
            about_ko=program["about"]["ko"],
            about_en=program["about"]["en"],
            parent=made.get(program.get("parent", "")),
        )
        for purse in program.get("purses", []):
            programs.add_purse(
                officer,
                program=row,
                funding=purse["funding"],
                amount_krw=purse["amount_krw"],
                fiscal_year=purse.get("fiscal_year"),
                source=sources[purse["source"]],
            )
    there = set(ReferenceFigure.objects.values_list("key", "source__code", "value"))
    for figure in known["figures"]:
        for value in figure["values"]:
            if (figure["key"], value["source"], value["value"]) in there:
                continue
            unit, note = figure.get("unit", {}), figure.get("note", {})
            programs.record_figure(
                officer,
                key=figure["key"],
                label_ko=figure["label"]["ko"],
                label_en=figure["label"]["en"],
                value=value["value"],
                number=Decimal(str(value["number"])) if "number" in value else None,
                unit_ko=unit.get("ko", ""),
                unit_en=unit.get("en", ""),
                note_ko=note.get("ko", ""),
                note_en=note.get("en", ""),
                program=made.get(figure.get("program", "")),
                hide=figure.get("hide", ""),
                condition=figure.get("condition", ""),
                source=sources[value["source"]],
            )
    _indicators(officer, made["compute-2025"])


def _indicators(officer: Person, program: Program) -> None:
    there = set(Indicator.objects.values_list("code", flat=True))
    this_year = localdate().year
    for order, (code, measure, hide, condition, ko, en, definition_ko, definition_en, target) in enumerate(INDICATORS):
        if code in there:
            continue
        indicator = programs.add_indicator(
            officer,
            program=program,
            code=code,
            measure=measure,
            hide=hide,
            condition=condition,
            name_ko=ko,
            name_en=en,
            definition_ko=definition_ko,
            definition_en=definition_en,
            order=order,
        )
        if target is not None:
            programs.set_target(
                officer,
                indicator=indicator,
                starts_on=date(this_year, 1, 1),
                ends_on=date(this_year, 12, 31),
                value=target,
                basis_ko="시연용 목표치입니다. 공표된 목표가 아닙니다.",
                basis_en="A target for the demonstration; not a published one.",
            )


def _resources(steward: Person, operator: Person, agency: Organization, known: dict[str, Any]) -> None:
    places = {p.code: p for p in Place.objects.all()}
    for place in known["places"]:
        if place["code"] not in places:
            places[place["code"]] = catalog.add_place(
                steward,
                code=place["code"],
                name_ko=place["name"]["ko"],
                name_en=place["name"]["en"],
                note_ko=place["note"]["ko"],
                note_en=place["note"]["en"],
            )
    there = set(Resource.objects.values_list("code", flat=True))

    def add(code: str, kind: str, name: dict[str, str], about: dict[str, str], **more: Any) -> Resource | None:
        if code in there:
            return None
        source = known["sources"][more.pop("source")]
        return catalog.add_resource(
            steward,
            kind=kind,
            code=code,
            name_ko=name["ko"],
            name_en=name["en"],
            about_ko=about["ko"],
            about_en=about["en"],
            owner=agency,
            source=f"{source['publisher']}, {source['published']}",
            **more,
        )

    code, engine = next(((name, "slurm") for name in slurms()), ("demo", "local"))
    cluster = Cluster.objects.filter(code=code).first() or compute.add_cluster(
        operator, code=code, name_ko="시연용 클러스터", name_en="Demonstration cluster", engine=engine
    )
    basis = {"basis_ko": known["prices"]["basis"]["ko"], "basis_en": known["prices"]["basis"]["en"]}
    for p in known["partitions"]:
        resource = add(
            p["code"], Kind.COMPUTE, p["name"], p["about"], place=places["data-center"],
            resource_class=p["code"].upper(), capacity_per_hour=p["gpus"] * HOUR, source=p["source"],
        )  # fmt: skip
        if resource:
            catalog.set_rate(
                steward, resource=resource, price_krw=p["price_krw"], per_amount=HOUR, starts_on=localdate(), **basis
            )
            compute.add_partition(
                operator, resource=resource, cluster=cluster, name=p["code"], gpu_type=p["code"], gpus=p["gpus"],
                most_gpus=p["most_gpus"], longest_s=p["longest_hours"] * HOUR, declared=True,
            )  # fmt: skip
    s = known["storage"]
    storage = add(
        s["code"], Kind.STORAGE, s["name"], s["about"], place=places["data-center"],
        capacity_per_hour=s["capacity_tb"] * TB, source=s["source"],
    )  # fmt: skip
    if storage:
        catalog.set_rate(
            steward, resource=storage, price_krw=s["price_krw_per_tb_day"], per_amount=24 * TB, starts_on=localdate(),
            **basis,
        )  # fmt: skip
    tools = known["instruments"]
    f = tools["flagship"]
    hall = places["demonstration-building"]
    add("driving-simulator", Kind.INSTRUMENT, f["name"], f["about"], place=hall, sector=f["sector"], source=f["source"])
    number = 1
    for group in tools["groups"]:
        for _ in range(group["count"]):
            number += 1
            name = {language: f"{text} {number:02d}" for language, text in group["label"].items()}
            add(f"instrument-{number:02d}", Kind.INSTRUMENT, name, tools["about"], place=hall, sector=group["sector"],
                source=group["source"])  # fmt: skip
    for space in known["spaces"]:
        add(space["code"], Kind.SPACE, space["name"], space["about"], place=places["startup-camp"],
            source=space["source"])  # fmt: skip
