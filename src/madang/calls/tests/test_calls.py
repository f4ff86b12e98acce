from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from madang.calls import actions
from madang.calls.models import CallState
from madang.calls.tests import make
from madang.catalog.tests import make as catalog
from madang.identity.access import forget
from madang.identity.tests import make as identity
from madang.programs.tests import make as programs
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def test_only_an_officer_of_the_program_makes_its_calls():
    program, other = programs.program(), programs.program()
    officer = identity.officer("program", program.pk)
    assert make.draft(officer, program=program).call.program == program
    for actor in (officer, identity.operator(), identity.reviewer(), identity.lead_of(identity.organization())):
        forget(actor)
        with pytest.raises(NotAllowed):
            make.draft(actor, program=other)


def test_what_contradicts_itself_is_named():
    moment = now()
    with pytest.raises(Refused) as refused:
        make.draft(
            opens_at=moment,
            closes_at=moment,
            use_from=date(2030, 2, 1),
            use_until=date(2030, 1, 31),
            budget_krw=-1,
            days_to_accept=0,
            text_ko="x" * 20_001,
        )
    assert sorted(refused.value.errors) == ["budget_krw", "closes_at", "days_to_accept", "text_ko", "use_until"]


def test_a_code_is_used_once():
    made = make.draft()
    with pytest.raises(Refused) as refused:
        make.draft(code=made.call.code)
    assert list(refused.value.errors) == ["code"]


def test_a_draft_is_published_when_it_is_whole_and_says_what_it_lacks():
    officer = identity.officer()
    moment = now()
    call = actions.make_call(
        officer,
        program=programs.program(),
        code="bare",
        title_ko="빈 공고",
        opens_at=moment - timedelta(days=3),
        closes_at=moment - timedelta(days=1),
        announces_at=moment - timedelta(days=2),
        use_from=date(2030, 1, 1),
        use_until=date(2030, 1, 31),
        budget_krw=0,
        most_awards=0,
    )
    with pytest.raises(Refused) as refused:
        actions.publish(officer, call=call)
    assert sorted(refused.value.errors) == [
        "announces_at",
        "closes_at",
        "criteria",
        "form",
        "lines",
        "most_awards",
        "text_ko",
    ]
    call.refresh_from_db()
    assert (call.state, call.published_at) == (CallState.DRAFT, None)


def test_criteria_make_one_hundred_points():
    made = make.draft()
    actions.set_criteria(made.officer, call=made.call, criteria=make.CRITERIA[:1])
    with pytest.raises(Refused) as refused:
        actions.publish(made.officer, call=made.call)
    assert list(refused.value.errors) == ["criteria"]


def test_a_published_call_and_its_form_are_frozen():
    made = make.published()
    for change in (
        lambda: actions.edit_call(made.officer, call=made.call, title_ko="다른 제목"),
        lambda: actions.set_lines(made.officer, call=made.call, lines=[]),
        lambda: actions.set_criteria(made.officer, call=made.call, criteria=make.CRITERIA),
        lambda: actions.set_rules(made.officer, call=made.call, rules=[]),
        lambda: actions.set_discounts(made.officer, call=made.call, discounts=[]),
        lambda: actions.set_form(made.officer, call=made.call, fields=make.FORM),
        lambda: actions.publish(made.officer, call=made.call),
    ):
        with pytest.raises(Stale):
            change()
    assert (made.call.lines.count(), made.call.title_ko[:3]) == (2, "컴퓨팅")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE calls_formversion SET fields = '[]'")


def test_a_line_fits_into_what_the_resource_offers_on_the_days_of_use():
    """16 GPUs over 31 days of 24 hours: 11,904 GPU-hours."""
    made = make.draft(use_from=date(2030, 1, 1), use_until=date(2030, 1, 31))
    lines = [{"resource": made.gpus, "most": make.HOUR, "total": 11_904 * make.HOUR + 1}]
    (line,) = actions.set_lines(made.officer, call=made.call, lines=lines)
    with pytest.raises(Refused) as refused:
        actions.publish(made.officer, call=made.call)
    assert list(refused.value.errors) == [f"line-{line.pk}"]
    assert "11,904" in str(refused.value.errors[f"line-{line.pk}"])
    actions.set_lines(made.officer, call=made.call, lines=[{**lines[0], "total": 11_904 * make.HOUR}])
    assert actions.publish(made.officer, call=made.call).state == CallState.PUBLISHED


def test_what_other_calls_offer_on_the_same_days_is_taken():
    days = {"use_from": date(2030, 1, 1), "use_until": date(2030, 1, 31)}
    gpus = catalog.resource()
    first = make.published(gpus=gpus, **days)
    for _ in range(10):
        make.published(gpus=gpus, **days)
    last = make.draft(gpus=gpus, use_from=date(2030, 1, 31), use_until=date(2030, 1, 31))
    with pytest.raises(Refused) as refused:
        actions.publish(last.officer, call=last.call)
    assert list(refused.value.errors) == [f"line-{last.call.lines.order_by('id')[0].pk}"]
    actions.cancel(first.officer, call=first.call, reason="취소")
    later = make.draft(gpus=gpus, use_from=date(2030, 2, 1), use_until=date(2030, 2, 28))
    assert actions.publish(later.officer, call=later.call).state == CallState.PUBLISHED


def test_after_the_results_only_what_was_awarded_is_taken():
    days = {"use_from": date(2030, 1, 1), "use_until": date(2030, 1, 2)}  # 768 GPU-hours
    gpus = catalog.resource()
    made = make.draft(gpus=gpus, **days)
    actions.set_lines(
        made.officer, call=made.call, lines=[{"resource": gpus, "most": 500 * make.HOUR, "total": 768 * make.HOUR}]
    )
    actions.publish(made.officer, call=made.call)
    application = make.applied(made.call, hours=100)
    make.selected(made, application)
    second = make.draft(gpus=gpus, **days)
    lines = [{"resource": gpus, "most": make.HOUR, "total": 668 * make.HOUR}]
    actions.set_lines(second.officer, call=second.call, lines=lines)
    with pytest.raises(Refused):
        actions.publish(second.officer, call=second.call)
    actions.announce(made.officer, call=made.call)
    assert actions.publish(second.officer, call=second.call).state == CallState.PUBLISHED


def test_every_wrong_row_of_a_list_is_named_and_the_old_list_stays():
    made = make.draft()
    with pytest.raises(Refused) as refused:
        actions.set_lines(
            made.officer,
            call=made.call,
            lines=[{"resource": made.gpus, "most": 0, "total": 1}, {"resource": 0, "most": 1, "total": 1}],
        )
    assert sorted(refused.value.errors) == ["0.most", "1.resource"]
    assert made.call.lines.count() == 2
    with pytest.raises(Refused) as refused:
        actions.set_criteria(
            made.officer,
            call=made.call,
            criteria=[
                {"code": "a", "name_ko": "가", "points": 100, "least": 101},
                {"code": "b b", "name_ko": "나", "points": 50},
            ],
        )
    assert sorted(refused.value.errors) == ["0.least", "1.code"]
    with pytest.raises(Refused) as refused:
        actions.set_rules(
            made.officer,
            call=made.call,
            rules=[
                {"kind": "region", "value": ["99"], "citation_ko": "광주 소재 기업"},
                {"kind": "founded_within", "value": ["7"], "citation_ko": "창업 7년 이내"},
                {"kind": "no_double_funding", "value": [], "citation_ko": "중복지원 제한"},
                {"kind": "astrology", "value": [], "citation_ko": "사주"},
            ],
        )
    assert sorted(refused.value.errors) == ["0.value", "1.value", "3.kind"]
    with pytest.raises(Refused) as refused:
        actions.set_discounts(
            made.officer,
            call=made.call,
            discounts=[{"name_ko": "광주", "percent": 101, "rule": "region", "value": "29"}],
        )
    assert list(refused.value.errors) == ["0.percent"]


def test_the_same_resource_twice_is_refused():
    made = make.draft()
    line = {"resource": made.gpus, "most": 1, "total": 1}
    with pytest.raises(Refused):
        actions.set_lines(made.officer, call=made.call, lines=[line, line])


def test_evaluation_starts_after_the_deadline_and_after_the_last_extension():
    made = make.published()
    with pytest.raises(Refused):
        actions.start_evaluation(made.officer, call=made.call)
    late = identity.organization()
    until = made.call.closes_at + timedelta(hours=1)
    actions.give_extension(made.officer, call=made.call, organization=late, until=until, reason="시스템 장애")
    type(made.call).objects.filter(pk=made.call.pk).update(closes_at=now() - timedelta(seconds=1))
    with pytest.raises(Refused):
        actions.start_evaluation(made.officer, call=made.call)
    make.deadline_passes(made.call)
    assert actions.start_evaluation(made.officer, call=made.call).state == CallState.EVALUATING
    with pytest.raises(Stale):
        actions.start_evaluation(made.officer, call=made.call)


def test_an_extension_into_the_past_is_none():
    made = make.published()
    organization = identity.organization()
    with pytest.raises(Refused) as refused:
        actions.give_extension(
            made.officer, call=made.call, organization=organization, until=made.call.closes_at, reason="사유"
        )
    assert list(refused.value.errors) == ["until"]


def test_every_verb_of_a_call_is_logged_with_who_and_why():
    made = make.published()
    actions.cancel(made.officer, call=made.call, reason="예산이 없습니다.")
    lines = LogLine.objects.filter(kind="calls.call", ref=made.call.pk).order_by("id")
    assert [(line.verb, line.before, line.after) for line in lines] == [
        ("make", "", "draft"),
        ("set_lines", "draft", "draft"),
        ("set_criteria", "draft", "draft"),
        ("set_form", "draft", "draft"),
        ("publish", "draft", "published"),
        ("cancel", "published", "canceled"),
    ]
    assert (lines.last().reason, {line.actor_id for line in lines}) == ("예산이 없습니다.", {made.officer.pk})
