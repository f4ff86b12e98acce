"""What the awards of a call do to use and waits: beside what is granted already, as the officer writes them."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.calls import actions, effect, queries
from madang.calls.forms import EffectForm
from madang.calls.models import Decision
from madang.calls.tests import make
from madang.catalog.tests import make as catalog
from madang.identity.tests import make as identity
from madang.programs.tests import make as programs
from madang.twin.effect import Queue

pytestmark = pytest.mark.django_db
pytest.importorskip("numba")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the rooms above say: put there by a test, and nothing of it if it doesn't."""
    said: dict[str, Any] = {"promises": [], "queues": {}}
    monkeypatch.setattr(effect, "_promises", [lambda call, resources: said["promises"]])
    monkeypatch.setattr(effect, "_queues", [lambda resources: said["queues"]])
    return said


def judged(gpus: int = 16, hours: tuple[int, ...] = (400, 400), **facts: Any):
    """A call for half a year of 16 GPUs with reviewed applications for so many GPU-hours each."""
    resource = catalog.resource(capacity_per_hour=gpus * 3600)
    made = make.published(gpus=resource, budget_krw=1_000_000_000, **facts)
    rows = [make.applied(made.call, hours=each) for each in hours]
    make.eligible(made, *rows)
    make.reviewed(made, *rows)
    return made, rows


def found_of(made: make.Round, awarded_hours: float):
    proposals = queries.proposals(made.officer, made.call.code)
    line = next(line for line in proposals.lines if line.resource_id == made.gpus.pk)
    (found,) = effect.effects(proposals.call, proposals.lines, {line.pk: round(awarded_hours * 3600)}) or ()
    return found


def test_what_is_granted_counts_on_its_own_days_and_awards_on_those_of_the_call(told: dict[str, Any]) -> None:
    """The 181 days of the call; a grant for all of the machine on the 10 days before March."""
    made, _rows = judged()
    whole_day = 16 * 24 * 3600
    told["promises"] = [effect.Promise(made.gpus.pk, 10 * whole_day, date(2030, 2, 19), date(2030, 3, 1))]
    found = found_of(made, 0.25 * 181 * 16 * 24)
    assert found.effect.then.load - found.effect.now.load == pytest.approx(0.25)
    assert found.effect.now.load == pytest.approx(10 / 28)
    assert found.week_of_filling == (8, 26, date(2030, 2, 19))
    assert found_of(made, 0).week_of_filling is None


def test_of_a_grant_that_began_before_only_what_falls_on_the_days_of_use_counts(told: dict[str, Any]) -> None:
    made, _rows = judged()
    day = 16 * 24 * 3600
    told["promises"] = [
        effect.Promise(made.gpus.pk, 1000 * day, date(2020, 1, 1), date(2021, 1, 1)),  # over
        effect.Promise(made.gpus.pk, 10 * day, date(2029, 12, 22), date(2030, 1, 11)),  # half before the call
    ]
    found = found_of(made, 0)
    assert found.effect.now.load == pytest.approx(5 / 28)
    assert found.effect.first == 0


def test_more_awards_show_no_less_use_and_longer_waits(told: dict[str, Any]) -> None:
    made, _rows = judged()
    states = [found_of(made, share * 181 * 16 * 24).effect.then for share in (0.2, 0.4, 0.6, 0.8, 0.95)]
    used = [state.utilization.mean for state in states]
    waits = [state.p90.mean for state in states]
    assert (used, waits) == (sorted(used), sorted(waits))
    assert (used[-1] - used[0] > 0.4, waits[-1] - waits[0] > 3600) == (True, True)


def test_a_partition_says_how_its_jobs_run_and_the_catalog_how_many_gpus_there_are(told: dict[str, Any]) -> None:
    made, _rows = judged()
    told["queues"] = {made.gpus.pk: Queue(999, "fcfs", most_gpus=1, longest_s=3600)}
    single = found_of(made, 0.9 * 181 * 16 * 24)
    assert single.gpus == 16
    told["queues"] = {}
    assert single.effect.then.p90.mean < found_of(made, 0.9 * 181 * 16 * 24).effect.then.p90.mean / 3


def test_where_nobody_knows_the_gpus_nothing_is_invented(client: Client, told: dict[str, Any]) -> None:
    resource = catalog.resource(capacity_per_hour=None)
    made = make.published(gpus=resource)
    rows = [make.applied(made.call)]
    make.eligible(made, *rows)
    assert found_of(made, 100).effect is None
    client.force_login(made.officer)
    assert "GPU 수가 등록되어 있지 않습니다" in client.get(reverse("calls:effect", args=[made.call.code])).text
    told["queues"] = {resource.pk: Queue(8)}
    assert found_of(made, 100).gpus == 8


def typed(row: Any, hours: object, outcome: str = "selected", reason: str = "") -> dict[str, Any]:
    return {"application": row.pk, f"line-{make.line(row).pk}": hours, "outcome": outcome, "reason": reason}


def loads(page: Any) -> list[str]:
    """ "Asked of what there is", now and with the awards."""
    return re.findall(r'<td class="number">([\d.]+%)</td>', page.text)


def test_the_proposal_counts_as_it_stands_in_the_form_beside_those_that_are_saved(
    client: Client, told: dict[str, Any]
) -> None:
    """181 days of 1 GPU are 4,344 GPU-hours: 434.4 of them are 10%."""
    made, (one, two) = judged(gpus=1, hours=(450, 450))
    client.force_login(made.officer)
    address = reverse("calls:effect", args=[made.call.code])
    assert loads(client.get(address)) == ["0.0%", "0.0%"]
    assert loads(client.post(address, typed(one, "434.4"))) == ["0.0%", "10.0%"]
    assert loads(client.post(address, typed(one, "434.4", outcome=""))) == ["0.0%", "10.0%"]
    assert loads(client.post(address, typed(one, "434.4", outcome="rejected"))) == ["0.0%", "0.0%"]
    assert not Decision.objects.exists()
    actions.decide(made.officer, application=one, outcome="selected", reason="우수합니다.", amounts=None)
    actions.decide(made.officer, application=two, outcome="reserve", reason="예비입니다.", amounts=None)
    assert loads(client.get(address)) == ["0.0%", "10.4%"]
    assert loads(client.post(address, typed(one, "217.2"))) == ["0.0%", "5.0%"]
    both = client.post(address, typed(two, "434.4"), headers={"hx-request": "true"})
    assert loads(both) == ["0.0%", "20.4%"]
    assert both.text.lstrip().startswith('<section id="effect"')
    assert "배정 2건" in both.text


@pytest.mark.parametrize("hours", ["-1", "NaN", "a lot", "1e400", "9" * 40, "450.5"])
def test_amounts_that_can_not_be_awarded_get_a_clear_message_and_no_figures(
    client: Client, told: dict[str, Any], hours: str
) -> None:
    made, (one, _two) = judged(hours=(450, 450))
    client.force_login(made.officer)
    page = client.post(
        reverse("calls:effect", args=[made.call.code]), typed(one, hours), headers={"hx-request": "true"}
    )
    assert page.status_code == 422
    assert "계산하지 않았습니다" in page.text
    assert f"<li>{made.gpus.name} 배정량(GPU-시간): " in page.text
    assert loads(page) == []


def test_the_form_of_the_page_without_scripts_keeps_what_was_typed(client: Client, told: dict[str, Any]) -> None:
    made, (one, _two) = judged()
    client.force_login(made.officer)
    page = client.post(reverse("calls:effect", args=[made.call.code]), typed(one, "123.5", reason="아직 쓰는 중"))
    assert page.status_code == 200
    assert ('value="123.5"' in page.text, "아직 쓰는 중" in page.text) == (True, True)
    assert page.text.count("required-mark") == client.get(reverse("calls:decide", args=[made.call.code])).text.count(
        "required-mark"
    )
    assert f'action="{reverse("calls:decide", args=[made.call.code])}#proposal"' in page.text


def test_the_page_of_the_decision_asks_for_it_and_asks_again_when_an_amount_changes(client: Client) -> None:
    made, (one, _two) = judged()
    client.force_login(made.officer)
    page = client.get(f"{reverse('calls:decide', args=[made.call.code])}?application={one.pk}").text
    address = reverse("calls:effect", args=[made.call.code])
    assert f'hx-get="{address}" hx-trigger="load"' in page
    assert f'hx-post="{address}" hx-trigger="input from:#proposal-amounts' in page
    for name in ("proposal-amounts", "proposal-outcome", "proposal-form", "effect"):
        assert page.count(f'id="{name}"') == 1


def test_a_call_whose_days_of_use_are_over_or_that_lends_no_gpus_says_so(client: Client, told: dict[str, Any]) -> None:
    made, _rows = judged(use_from=date(2025, 1, 1), use_until=date(2025, 3, 1))
    client.force_login(made.officer)
    assert "이용 기간이 끝나" in client.get(reverse("calls:effect", args=[made.call.code])).text


def test_only_an_officer_of_the_program_may_ask_and_only_about_the_call_s_own_applications(
    client: Client, told: dict[str, Any]
) -> None:
    made, (one, _two) = judged()
    other_call, (foreign,) = judged(hours=(100,))
    address = reverse("calls:effect", args=[made.call.code])
    stranger = identity.officer("program", programs.program().pk)
    for person in (stranger, identity.lead_of(one.organization), identity.reviewer()):
        client.force_login(person)
        for page in (client.get(address), client.post(address, typed(one, "10"))):
            assert page.status_code == 404
            assert one.receipt_number not in page.text
    client.force_login(made.officer)
    assert client.post(address, typed(foreign, "10")).status_code == 404
    assert client.post(address, {"application": "x"}).status_code == 404
    assert client.get(reverse("calls:effect", args=[other_call.call.code])).status_code == 200


def test_reason_and_result_need_not_be_there_yet(told: dict[str, Any]) -> None:
    made, (one, _two) = judged()
    proposals = queries.proposals(made.officer, made.call.code)
    row = next(row for row in proposals.rows if row.application.pk == one.pk)
    form = EffectForm({f"line-{make.line(one).pk}": "5"}, row=row, call=proposals.call)
    assert form.is_valid()
    assert form.counted()[make.line(one).pk] == 5 * 3600
