"""The board: what it counts, for whom, and that every number is the sum of the rows behind it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.utils.timezone import localdate

from madang.grants.tests import make as grants
from madang.identity.tests import make as identity
from madang.insight import queries
from madang.insight.measures import COUNTS, Days, rows, values
from madang.outcomes import actions as outcomes
from madang.outcomes.tests import make as reports
from madang.programs import actions as programs
from madang.programs.models import Measure
from madang.programs.tests import make as program_make

pytestmark = pytest.mark.django_db


def verified(story: Any, **facts: Any) -> Any:
    outcome = reports.reported(story, **facts)
    return outcomes.verify(story.officer, outcome=outcome, level="2_evidence", reason="증빙을 확인했습니다.")


def counted(measure: str, days: Days | None = None, *, public: bool = False) -> Any:
    return values([(1, measure, days or Days())], public=public)[1]


def test_every_measure_can_be_counted_and_listed_on_an_empty_site() -> None:
    assert set(COUNTS) == set(Measure.values)
    for measure in Measure.values:
        assert counted(measure).amount in (0, None)
        assert list(rows(measure, Days())) == []


def test_only_verified_outcomes_count_and_a_correction_counts_once() -> None:
    story = grants.granted()
    reports.reported(story, amount=5)
    assert counted(Measure.HIRES).amount == 0
    first = verified(story, amount=3)
    assert counted(Measure.HIRES).amount == 3
    outcomes.report(story.lead, grant=story.again(), replaces=first, **reports.facts(amount=2))
    assert counted(Measure.HIRES).amount == 0


def test_a_number_is_the_sum_of_the_rows_behind_it() -> None:
    story = grants.granted()
    verified(story, amount=3)
    verified(story, amount=4)
    assert counted(Measure.HIRES).amount == sum(row.amount for row in rows(Measure.HIRES, Days())) == 7
    granted = [row.amount for row in rows(Measure.GPU_HOURS_GRANTED, Days())]
    assert counted(Measure.GPU_HOURS_GRANTED).amount == sum(granted) == story.compute.amount


def test_money_counts_as_far_as_the_support_brought_it_about() -> None:
    story = grants.granted()
    verified(story, kind="revenue", amount=1_000_001, share_percent=50)
    verified(story, kind="revenue", amount=300, share_percent=100)
    assert counted(Measure.REVENUE).amount == sum(row.attributed for row in rows(Measure.REVENUE, Days())) == 500_300


def test_the_board_of_a_day_knows_nothing_of_the_days_after_it() -> None:
    _story, _indicator = board_with_hires()
    (line,) = queries.board(identity.executive(), localdate() - timedelta(days=1)).lines
    assert (line.value.amount, line.percent) == (0, 0)


def test_a_company_with_two_grants_counts_once_as_a_company_and_twice_as_projects() -> None:
    story = grants.granted()
    grants.granted(story.organization)
    grants.granted()
    assert counted(Measure.COMPANIES_SUPPORTED).amount == 2
    assert counted(Measure.PROJECTS_SUPPORTED).amount == 3


def test_a_period_takes_its_first_and_its_last_day_along() -> None:
    story = grants.granted()
    today = localdate()
    verified(story, amount=1, occurred_on=today)
    assert counted(Measure.HIRES, Days(today, today)).amount == 1
    assert counted(Measure.HIRES, Days(today - timedelta(9), today - timedelta(1))).amount == 0
    assert counted(Measure.PROJECTS_SUPPORTED, Days(today, today)).amount == 1
    assert counted(Measure.PROJECTS_SUPPORTED, Days(today - timedelta(9), today - timedelta(1))).amount == 0


def test_the_public_does_not_see_what_fewer_than_five_companies_stand_behind() -> None:
    stories = [grants.granted() for _ in range(4)]
    for story in stories:
        verified(story, amount=1_000, kind="revenue")
    hidden = counted(Measure.REVENUE, public=True)
    assert (hidden.amount, hidden.withheld, hidden.organizations) == (None, True, 0)
    verified(grants.granted(), amount=1_000, kind="revenue")
    assert counted(Measure.REVENUE, public=True).amount == 5_000
    assert counted(Measure.REVENUE, public=False).amount == 5_000


def board_with_hires() -> tuple[Any, Any]:
    story = grants.granted()
    verified(story, amount=2, title="비밀연구소 출신 채용")
    indicator = program_make.indicator(measure="hires")
    programs.set_target(
        identity.officer(),
        indicator=indicator,
        starts_on=date(localdate().year, 1, 1),
        ends_on=date(localdate().year, 12, 31),
        value=10,
        basis_ko="시험",
    )
    return story, indicator


def test_the_board_shows_the_target_of_the_day_and_how_much_of_it_was_reached() -> None:
    _story, indicator = board_with_hires()
    (line,) = queries.board(identity.executive(), localdate()).lines
    assert (line.indicator, line.value.amount, line.percent) == (indicator, 2, 20)
    (line,) = queries.board(identity.executive(), localdate() - timedelta(days=800)).lines
    assert (line.target, line.percent) == (None, None)


@pytest.mark.parametrize("who", ["anonymous", "another tenant"])
def test_strangers_see_neither_the_number_of_one_company_nor_its_rows(who: str) -> None:
    story, indicator = board_with_hires()
    person = AnonymousUser() if who == "anonymous" else grants.granted().lead
    found = queries.trace(person, indicator.code, localdate())
    assert (found.line.value.amount, list(found.rows)) == (None, [])
    client = Client()
    if who != "anonymous":
        client.force_login(person)
    for page in ("/board/", f"/board/{indicator.code}/", "/board/download.csv", "/api/v1/board/"):
        text = client.get(page).content.decode()
        assert "비밀연구소" not in text
        assert story.organization.name_ko not in text


def test_an_executive_sees_the_rows_with_the_organization() -> None:
    story, indicator = board_with_hires()
    (row,) = queries.trace(identity.executive(), indicator.code, localdate()).rows
    assert "비밀연구소" in row.what
    assert row.whose == story.organization.name


def test_published_figures_stand_beside_and_are_never_added() -> None:
    _story, _indicator = board_with_hires()
    officer = identity.officer()
    source = program_make.source()
    for value in ("1,946", "2,200"):
        programs.record_figure(
            officer, key="hires-published", label_ko="채용", label_en="Hires", value=value, hide="H",
            condition="talent", source=source,
        )  # fmt: skip
    found = queries.board(identity.executive(), localdate())
    assert [line.value.amount for line in found.lines] == [2]
    assert sorted(figure.value for figure in found.references) == ["1,946", "2,200"]


def test_the_download_never_starts_a_cell_with_a_formula() -> None:
    source = program_make.source()
    programs.record_figure(
        identity.officer(), key="trap", label_ko="=1+1", label_en="=1+1", value="@x", hide="H", condition="talent",
        source=source,
    )  # fmt: skip
    text = Client().get("/board/download.csv").content.decode()
    assert ",'=1+1," in text
    assert ",=1+1" not in text


@pytest.mark.parametrize("query", ["?on=never", "?on=9999-99-99", "?before=x", "?before=99999999999999999999", "?on="])
def test_an_address_that_makes_no_sense_shows_the_board_of_today(client: Client, query: str) -> None:
    _story, indicator = board_with_hires()
    assert client.get("/board/" + query).status_code == 200
    assert client.get(f"/board/{indicator.code}/" + query).status_code == 200


def test_an_indicator_that_there_is_not_is_not_there(client: Client) -> None:
    assert client.get("/board/nothing/").status_code == 404
    assert client.get("/api/v1/board/nothing").status_code == 404


@pytest.mark.parametrize("day", ["0001-01-01", "0026-03-31", "9999-12-31"])
def test_a_day_that_no_board_can_have_is_read_as_none(client: Client, day: str) -> None:
    for page in ("/board/", "/board/hires/", "/board/download.csv"):
        assert client.get(page, {"on": day}).status_code == client.get(page, {"on": "x"}).status_code
    for address in ("/api/v1/board/", "/api/v1/board/hires"):
        assert client.get(address, {"on": day}).json()["where"] == ["on"]
