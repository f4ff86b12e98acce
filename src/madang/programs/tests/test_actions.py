from __future__ import annotations

from datetime import date

import pytest

from madang.identity.tests import make as people
from madang.programs import actions, queries
from madang.programs.models import Indicator, Program, Purse, ReferenceFigure, Target
from madang.programs.tests import make
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale

pytestmark = pytest.mark.django_db
YEAR = {"starts_on": date(2025, 1, 1), "ends_on": date(2025, 12, 31), "basis_ko": "운영계획"}


def test_the_factories_make_what_they_say() -> None:
    program = make.program()
    assert make.program(parent=program).parent == program
    assert make.indicator(program).program == program
    assert make.source().publisher


def test_who_keeps_a_program() -> None:
    mine, other = make.program(), make.program()
    indicator, source = make.indicator(mine), make.source()
    verbs = {
        "edit": lambda p: actions.edit_program(p, program=mine, name_en="changed"),
        "part": lambda p: make.program(actor=p, parent=mine),
        "purse": lambda p: actions.add_purse(p, program=mine, funding="city", amount_krw=p.pk),
        "indicator": lambda p: make.indicator(mine, actor=p),
        "target": lambda p: actions.set_target(p, indicator=indicator, value=1, **YEAR),
        "figure": lambda p: actions.record_figure(
            p, key="k", label_ko="가", label_en="a", value=str(p.pk), source=source, program=mine
        ),
        "program": lambda p: make.program(actor=p),
        "site": lambda p: make.indicator(None, actor=p),
        "source": lambda p: make.source(actor=p),
    }
    may: dict[str, list[str]] = {}
    for who, person in {
        "operator": people.operator(),
        "officer": people.officer(),
        "officer of it": people.officer("program", mine.pk),
        "officer of another": people.officer("program", other.pk),
        "auditor": people.auditor(),
        "executive": people.executive(),
        "reviewer": people.reviewer(),
        "steward": people.steward(),
        "tenant": people.lead_of(people.organization()),
    }.items():
        may[who] = []
        for verb, do in verbs.items():
            try:
                do(person)
                may[who].append(verb)
            except NotAllowed:
                pass
    nobody = ["auditor", "executive", "reviewer", "steward", "tenant"]
    assert may == {
        "operator": list(verbs),
        "officer": list(verbs),
        "officer of it": ["edit", "part", "purse", "indicator", "target", "figure", "source"],
        "officer of another": ["source"],
        **{who: [] for who in nobody},
    }


def test_a_program_is_never_a_part_of_itself() -> None:
    whole = make.program()
    part = make.program(parent=whole)
    for wrong in (whole, part):
        with pytest.raises(Refused) as refused:
            actions.edit_program(people.operator(), program=whole, parent=wrong)
        assert refused.value.field == "parent"
    assert Program.objects.get(pk=whole.pk).parent is None


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"code": "new"}, "code"),
        ({"code": "두 낱말"}, "code"),
        ({"name_ko": "가" * 161}, "name_ko"),
        ({"name_ko": "a\x00"}, "name_ko"),
        ({"about_en": "\u202e"}, "about_en"),
    ],
)
def test_what_cant_be_kept_is_refused_at_its_field(facts: dict, field: str) -> None:
    with pytest.raises(Refused) as refused:
        make.program(**facts)
    assert list(refused.value.errors) == [field]
    assert Program.objects.count() == 0


def test_a_second_click_adds_no_money() -> None:
    program, officer = make.program(), people.officer()
    money = {"program": program, "funding": "national", "amount_krw": 5_000_000_000, "fiscal_year": 2025}
    actions.add_purse(officer, **money)
    with pytest.raises(Stale):
        actions.add_purse(officer, **money)
    actions.add_purse(officer, **money, note_ko="추가경정예산")
    assert queries.total_of(queries.purses_of(program)) == 10_000_000_000
    with pytest.raises(Refused):
        actions.add_purse(officer, program=program, funding="city", amount_krw=-1)


def test_money_that_sources_state_differently_has_no_sum() -> None:
    program = make.program()
    for amount in (411_600_000_000, 411_900_000_000):
        actions.add_purse(
            people.operator(), program=program, funding="unstated", amount_krw=amount, source=make.source()
        )
    assert queries.total_of(queries.purses_of(program)) is None
    assert Purse.objects.count() == 2


def test_two_sources_that_disagree_stand_side_by_side() -> None:
    program, operator = make.program(), people.operator()
    figure = {"label_ko": "지원 과제 수", "label_en": "projects", "program": program}
    for value in ("1,946", "2,200"):
        actions.record_figure(operator, key="projects", value=value, source=make.source(), **figure)
    actions.record_figure(operator, key="area", value="47,256", source=make.source(), **figure)
    area, projects = queries.published(program)
    assert [(group.disagree, [figure.value for figure in group.figures]) for group in (area, projects)] == [
        (False, ["47,256"]),
        (True, ["1,946", "2,200"]),
    ]
    assert queries.published(None) == []


def test_the_same_figure_of_a_source_is_recorded_once() -> None:
    facts = {"key": "k", "label_ko": "가", "label_en": "a", "value": "7", "source": make.source()}
    actions.record_figure(people.operator(), **facts)
    with pytest.raises(Refused):
        actions.record_figure(people.operator(), **facts)
    assert ReferenceFigure.objects.count() == 1


def test_a_target_of_the_same_period_replaces_the_one_before_and_history_keeps_it() -> None:
    from django.apps import apps

    indicator, officer = make.indicator(), people.officer()
    actions.set_target(officer, indicator=indicator, value=3600, **YEAR)
    target = actions.set_target(officer, indicator=indicator, value=7200, **YEAR)
    assert Target.objects.get() == target
    event = apps.get_model("programs", "TargetEvent")
    assert list(event.objects.order_by("pgh_id").values_list("value", flat=True)) == [3600, 7200]
    with pytest.raises(Refused) as refused:
        actions.set_target(
            officer, indicator=indicator, value=1, starts_on=date(2025, 2, 1), ends_on=date(2025, 1, 1), basis_ko="x"
        )
    assert refused.value.field == "ends_on"


def test_an_indicator_that_counts_something_else_is_another_version() -> None:
    indicator, officer = make.indicator(), people.officer()
    actions.edit_indicator(officer, indicator=indicator, name_en="the same by another name")
    assert Indicator.objects.get().version == 1
    actions.edit_indicator(officer, indicator=indicator, definition_ko="다른 정의")
    assert Indicator.objects.get().version == 2


def test_what_isnt_there_is_missing() -> None:
    for ask in (queries.program, queries.indicator, queries.source):
        with pytest.raises(Missing):
            ask("nothing")
    for find in (queries.purse, queries.figure):
        with pytest.raises(Missing):
            find(999)
