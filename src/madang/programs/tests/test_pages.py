from __future__ import annotations

import re
from datetime import date

import pytest
from django.test import Client
from django.urls import reverse

from madang.identity import actions as identity
from madang.identity.models import Person
from madang.identity.tests import make as people
from madang.programs import actions
from madang.programs.models import Indicator, Program, Purse, ReferenceFigure, Source, Target
from madang.programs.tests import make
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db


def as_(person: Person | None, language: str = "ko") -> Client:
    client = Client(headers={"accept-language": language})
    if person:
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def program() -> Program:
    """A program with a part, money that two sources dispute, indicators with targets, and figures that disagree."""
    operator = people.operator()
    program = make.program(code="phase-1", name_ko="1단계", name_en="phase 1", about_ko="소개", about_en="about")
    make.program(parent=program)
    for number in range(12):
        source = make.source()
        actions.add_purse(operator, program=program, funding="national", amount_krw=1000 + number, source=source)
        for of in (program, None):
            figure = {"label_ko": "수치", "label_en": "figure", "program": of, "value": str(number)}
            actions.record_figure(operator, key="same" if of else "site", source=source, **figure)
            indicator = make.indicator(of)
            for year in (2025, 2026):
                actions.set_target(
                    operator,
                    indicator=indicator,
                    starts_on=date(year, 1, 1),
                    ends_on=date(year, 12, 31),
                    value=3600 * 500,
                    basis_ko="계획",
                    source=source,
                )
    return program


@pytest.mark.parametrize("language", ["ko", "en"])
def test_everybody_reads_programs_in_few_questions(
    language: str, program: Program, django_assert_max_num_queries
) -> None:
    pages = [reverse(f"programs:{name}") for name in ("list", "site", "sources")]
    pages.append(reverse("programs:detail", args=["phase-1"]))
    for person in (
        None,
        people.operator(),
        people.officer("program", program.pk),
        people.lead_of(people.organization()),
    ):
        client = as_(person, language)
        for there in pages:
            with django_assert_max_num_queries(12):
                answer = client.get(there)
            said = answer.content.decode()
            assert (answer.status_code, len(re.findall(r"<h1[ >]", said))) == (200, 1)
            assert re.findall(r"\bstyle=|\bon(?:click|submit)=", said) == []
    assert {"ko": "500 GPU-시간", "en": "500 GPU-hours"}[language] in said


def test_disagreeing_sources_are_marked_and_not_summed(program: Program) -> None:
    said = as_(None, "en").get(reverse("programs:detail", args=["phase-1"])).content.decode()
    assert "sources disagree" in said
    assert "there is no sum" in said
    assert len(re.findall(r'rowspan="12"', said)) == 1


def test_an_empty_site_says_what_to_do_first() -> None:
    there = reverse("programs:list")
    assert reverse("programs:add") not in as_(None).get(there).content.decode()
    assert reverse("programs:add") in as_(people.operator()).get(there).content.decode()
    assert as_(None).get(reverse("programs:site")).status_code == 200
    assert as_(None).get(reverse("programs:detail", args=["nothing"])).status_code == 404


def test_an_officer_fills_every_form() -> None:
    client = as_(people.officer())

    def send(name: str, body: dict, *args: object) -> int:
        there = reverse(f"programs:{name}", args=args)
        assert client.get(there).status_code == 200
        answer = client.post(there, body)
        assert answer.status_code in (302, 422)
        return answer.status_code

    names = {"name_ko": "이름 🌏", "name_en": "name"}
    assert [send("add", {"code": "p", **names}) for _click in range(2)] == [302, 422]
    assert send("edit", names | {"about_ko": "소개"}, "p") == 302
    source = {"code": "s", "publisher": "신문", "published": "2025"}
    assert [send("source-add", source) for _click in range(2)] == [302, 422]
    assert send("source-edit", {"publisher": "신문사", "published": "2025-08"}, "s") == 302
    id = Source.objects.get().pk
    purse = {"funding": "city", "fiscal_year": "2025", "amount_krw": "1000000000", "source": id}
    assert [send("purse-add", purse, "p") for _click in range(2)] == [302, 422]
    assert send("purse-edit", purse | {"amount_krw": "2"}, Purse.objects.get().pk) == 302
    what = {
        "measure": "gpu_hours_used",
        "definition_ko": "정의",
        "definition_en": "is",
        "hide": "I",
        "condition": "compute",
    }
    indicator = {"code": "i", **names, **what, "order": "1"}
    assert [send("indicator-add", indicator, "p") for _click in range(2)] == [302, 422]
    assert send("indicator-add-site", indicator | {"code": "site"}) == 302
    assert send("indicator-edit", indicator | {"definition_ko": "새 정의"}, "i") == 302
    target = {"starts_on": "2025-01-01", "ends_on": "2025-12-31", "value": "100", "basis_ko": "계획"}
    assert [send("target", target, "i") for _click in range(2)] == [302, 302]
    figure = {"key": "k", "label_ko": "수치", "label_en": "figure", "value": "약 7배", "source": id}
    assert [send("figure-add", figure) for _click in range(2)] == [302, 422]
    assert send("figure-edit", figure | {"number": "7.5"}, ReferenceFigure.objects.get().pk) == 302
    assert Program.objects.get().name_ko == "이름 🌏"
    assert Source.objects.get().publisher == "신문사"
    assert Purse.objects.get().amount_krw == 2
    assert Indicator.objects.get(code="i").version == 2
    assert Target.objects.get().value == 360_000
    assert str(ReferenceFigure.objects.get().number) == "7.5000"


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("add", "code", "한글"),
        ("add", "name_ko", "가" * 161),
        ("add", "name_en", "a\x00b"),
        ("add", "parent", "999999"),
        ("purse-add", "amount_krw", "-1"),
        ("purse-add", "amount_krw", "1.5"),
        ("purse-add", "amount_krw", "9" * 30),
        ("purse-add", "funding", "lottery"),
        ("purse-add", "fiscal_year", "1"),
        ("purse-add", "source", "999999"),
        ("indicator-add", "measure", "love"),
        ("indicator-add", "order", "99999"),
        ("indicator-add", "definition_ko", "가" * 601),
        ("figure-add", "key", "a b"),
        ("figure-add", "number", "seven"),
        ("figure-add", "number", "1e30"),
        ("figure-add", "value", "\u202e7"),
        ("figure-add", "source", ""),
        ("target", "value", "9" * 16),
        ("target", "ends_on", "2020-01-01"),
        ("target", "starts_on", "soon"),
    ],
)
def test_bad_input_is_shown_at_its_field_and_nothing_is_added(name: str, field: str, value: str) -> None:
    program, source = make.program(), make.source()
    indicator = make.indicator(program)
    names = {"code": "new-one", "name_ko": "이름", "name_en": "name"}
    what = {"measure": "hires", "definition_ko": "정의", "definition_en": "is", "hide": "H", "condition": "talent"}
    bodies = {
        "add": names,
        "purse-add": {"funding": "city", "amount_krw": "1"},
        "indicator-add": {**names, **what, "order": "0"},
        "figure-add": {"key": "k", "label_ko": "수치", "label_en": "figure", "value": "7", "source": source.pk},
        "target": {"starts_on": "2025-01-01", "ends_on": "2025-12-31", "value": "1", "basis_ko": "계획"},
    }
    args = {"purse-add": [program.code], "indicator-add": [program.code], "target": [indicator.code]}.get(name, [])
    client = as_(people.operator())
    lines = LogLine.objects.count()
    answer = client.post(reverse(f"programs:{name}", args=args), bodies[name] | {field: value})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])
    assert LogLine.objects.count() == lines


def test_nobody_else_changes_a_program_by_page_or_api(program: Program) -> None:
    indicator = program.indicators.all()[0]
    other = make.program()
    names = {"name_ko": "x", "name_en": "x"}
    purse = {"funding": "city", "amount_krw": 1}
    year = {"starts_on": "2025-01-01", "ends_on": "2025-12-31", "value": 1, "basis_ko": "x"}
    pages = [
        (reverse("programs:edit", args=[program.code]), names),
        (reverse("programs:purse-add", args=[program.code]), purse),
        (reverse("programs:purse-edit", args=[program.purses.all()[0].pk]), purse),
        (reverse("programs:indicator-add", args=[program.code]), names),
        (reverse("programs:indicator-add-site"), names),
        (reverse("programs:indicator-edit", args=[indicator.code]), names),
        (reverse("programs:target", args=[indicator.code]), year),
        (reverse("programs:figure-edit", args=[program.figures.all()[0].pk]), names),
    ]
    calls = [
        ("post", "/", {"code": "x", **names}),
        ("patch", f"/{program.code}", names),
        ("post", f"/{program.code}/purses", purse),
        ("post", f"/indicators/{indicator.code}/targets", year),
    ]
    strangers = [people.officer("program", other.pk), people.reviewer(), people.lead_of(people.organization())]
    tokens = [identity.make_token(person, name="t", days=1)[1] for person in strangers]
    lines = LogLine.objects.count()
    for person, token in zip(strangers, tokens, strict=True):
        page_client, api = as_(person), Client(headers={"authorization": f"Bearer {token}"})
        for there, body in pages:
            assert [page_client.post(there, body).status_code, page_client.get(there).status_code] == [403, 403], there
            assert Client().post(there, body).status_code == 302
        for method, path, body in calls:
            answers = [
                getattr(client, method)(f"/api/v1/programs{path}", body, content_type="application/json").status_code
                for client in (api, Client())
            ]
            assert answers == [403, 401], path
    assert LogLine.objects.count() == lines


def test_the_api_does_what_the_pages_do() -> None:
    token = identity.make_token(people.operator(), name="t", days=1)[1]
    api = Client(headers={"authorization": f"Bearer {token}"})

    def post(path: str, body: dict) -> int:
        return api.post(f"/api/v1/programs{path}", body, content_type="application/json").status_code

    names = {"name_ko": "이름", "name_en": "name"}
    assert [post("/", {"code": "p", **names}) for _click in range(2)] == [201, 422]
    assert post("/", {"code": "part", **names, "parent": "p"}) == 201
    assert post("/sources", {"code": "s", "publisher": "신문", "published": "2025"}) == 201
    money = {"funding": "city", "amount_krw": 7, "source": "s"}
    assert [post("/p/purses", money) for _click in range(2)] == [201, 409]
    what = {"measure": "hires", "definition_ko": "정의", "definition_en": "is", "hide": "H", "condition": "talent"}
    assert post("/indicators", {"code": "i", "program": "p", **names, **what}) == 201
    target = {"starts_on": "2025-01-01", "ends_on": "2025-12-31", "value": 1, "basis_ko": "x"}
    assert post("/indicators/i/targets", target) == 201
    figure = {
        "key": "k",
        "label_ko": "가",
        "label_en": "a",
        "value": "7",
        "source": "s",
        "number": "7.5",
        "program": "p",
    }
    assert post("/figures", figure) == 201
    read = Client().get("/api/v1/programs/p").json()
    assert (read["parts"], read["purses"][0]["amount_krw"], read["indicators"][0]["targets"][0]["value"]) == (
        ["part"],
        7,
        1,
    )
    assert read["published"][0]["figures"][0]["source"]["publisher"] == "신문"
    assert Client().get("/api/v1/programs/none").status_code == 404
    assert len(Client().get("/api/v1/programs/").json()["items"]) == 2
    wrongs = [
        {"code": "a b"},
        {"name_ko": "a\x00"},
        {"name_ko": ["x"]},
        {"about_ko": "가" * 30_000},
        {"parent": "none"},
    ]
    assert [post("/", {"code": "q", **names} | wrong) for wrong in wrongs] == [422, 422, 422, 422, 404]
