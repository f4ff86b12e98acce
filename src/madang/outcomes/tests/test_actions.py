from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, IntegrityError, transaction

from madang.grants.tests import make as grants
from madang.identity.tests import make as identity
from madang.outcomes import actions, queries
from madang.outcomes.models import Evidence, Outcome, Verification
from madang.outcomes.tests import make
from madang.programs.tests import make as programs
from madang.web.tests import letters
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def files_of_this_test(settings: LazySettings, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


def test_an_outcome_is_reported_with_the_digest_of_its_evidence() -> None:
    outcome = make.reported(grants.granted(), evidence=[make.file(b"hired")])
    (evidence,) = outcome.evidence.all()
    assert (outcome.state, outcome.level) == ("reported", "1_self")
    assert (evidence.digest, evidence.size) == (hashlib.sha256(b"hired").hexdigest(), 5)
    assert evidence.file.read() == b"hired"


def test_the_same_file_twice_is_kept_once() -> None:
    outcome = make.reported(grants.granted(), evidence=[make.file(b"same"), make.file(b"same", "again.pdf")])
    assert outcome.evidence.count() == 1


def test_a_second_click_is_the_same_report_and_one_line_in_the_log() -> None:
    story = grants.granted()
    first = make.reported(story, evidence=[make.file(b"once")])
    assert make.reported(story, evidence=[make.file(b"once")]) == first
    assert LogLine.objects.filter(kind="outcomes.outcome", verb="report").count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "fame"),
        ("amount", 0),
        ("amount", -1),
        ("amount", 100_001),
        ("title", "   "),
        ("share_percent", 101),
        ("share_percent", -1),
        ("share_percent", 0),
        ("evidence", []),
        ("evidence", [make.file(b"x", "a\u202eb.pdf")]),
        ("evidence", [make.file(b"x", "n" * 300)]),
        ("evidence", [make.file(b"x")] * 11),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_kept(field: str, value: Any, tmp_path: Any) -> None:
    story = grants.granted()
    with pytest.raises(Refused) as refused:
        make.reported(story, **{field: value})
    assert list(refused.value.errors) == [field]
    assert Outcome.objects.count() == 0
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("share", [0, 101])
def test_the_database_itself_refuses_a_share_of_nothing_or_of_more_than_all(share: int) -> None:
    outcome = make.reported(grants.granted(), share_percent=1)
    with pytest.raises(IntegrityError, match="outcome_share"), transaction.atomic():
        Outcome.objects.filter(pk=outcome.pk).update(share_percent=share)
    outcome.refresh_from_db()
    assert outcome.share_percent == 1


def test_a_day_to_come_and_a_day_before_the_grant_are_refused() -> None:
    story = grants.granted()
    today = make.facts()["occurred_on"]
    first = actions.first_day(story.again())
    for day in (today + timedelta(days=1), first - timedelta(days=1)):
        with pytest.raises(Refused) as refused:
            make.reported(story, occurred_on=day)
        assert list(refused.value.errors) == ["occurred_on"]
    assert make.reported(story, occurred_on=first).state == "reported"


def test_an_evidence_file_larger_than_the_site_allows_is_refused(settings: LazySettings) -> None:
    settings.UPLOAD_LIMIT_BYTES = 4
    with pytest.raises(Refused) as refused:
        make.reported(grants.granted(), evidence=[make.file(b"12345")])
    assert list(refused.value.errors) == ["evidence"]


def test_nothing_can_be_reported_before_the_agreement_is_accepted() -> None:
    with pytest.raises(Stale):
        make.reported(grants.offered())


def test_only_members_report_and_strangers_do_not_learn_that_the_grant_exists() -> None:
    story, other = grants.granted(), grants.granted()
    member = identity.member(story.organization)
    assert actions.report(member, grant=story.again(), **make.facts()).reported_by == member
    for person in (other.lead, story.officer):
        with pytest.raises(Missing):
            actions.report(person, grant=story.again(), **make.facts())


def test_a_correction_replaces_what_stays() -> None:
    story = grants.granted()
    first = make.reported(story, amount=2)
    second = make.reported(story, amount=1, replaces=first)
    first.refresh_from_db()
    assert (first.state, first.amount, second.state) == ("replaced", 2, "reported")
    assert second.replaces == first
    with pytest.raises(Stale):
        make.reported(story, amount=3, replaces=first)
    assert Outcome.objects.count() == 2


def test_a_correction_belongs_to_the_same_grant() -> None:
    story, other = grants.granted(), grants.granted()
    with pytest.raises(Refused):
        make.reported(story, replaces=make.reported(other))


def test_an_officer_verifies_and_the_level_only_goes_up() -> None:
    story = grants.granted()
    outcome = make.reported(story)
    actions.verify(story.officer, outcome=outcome, level="3_on_site", reason="현장에서 만났습니다.")
    assert (outcome.state, outcome.level) == ("verified", "3_on_site")
    for level in ("3_on_site", "2_evidence"):
        with pytest.raises(Stale):
            actions.verify(story.officer, outcome=outcome, level=level, reason="다시")
    actions.verify(identity.auditor(), outcome=outcome, level="5_audit", reason="감사에서 확인")
    assert Outcome.objects.get().level == "5_audit"
    assert Verification.objects.count() == 2


def test_verifying_needs_a_level_and_a_reason() -> None:
    story = grants.granted()
    outcome = make.reported(story)
    for level, reason, field in (("1_self", "r", "level"), ("9", "r", "level"), ("2_evidence", " ", "reason")):
        with pytest.raises(Refused) as refused:
            actions.verify(story.officer, outcome=outcome, level=level, reason=reason)
        assert refused.value.field == field
    assert Outcome.objects.get().state == "reported"


def test_who_may_verify() -> None:
    story = grants.granted()
    outcome = make.reported(story)
    elsewhere = identity.officer("program", programs.program().pk)
    for person in (story.lead, elsewhere, identity.auditor(), identity.executive(), identity.operator()):
        with pytest.raises(NotAllowed):
            actions.verify(person, outcome=outcome, level="2_evidence", reason="r")
        with pytest.raises(NotAllowed):
            actions.return_(person, outcome=outcome, reason="r")
    with pytest.raises(NotAllowed):
        actions.verify(story.officer, outcome=outcome, level="5_audit", reason="r")
    assert Outcome.objects.get().state == "reported"


def test_nobody_verifies_for_the_organization_they_belong_to() -> None:
    officer = identity.officer()
    organization = identity.organization(officer)
    outcome = make.reported(grants.granted(organization))
    with pytest.raises(NotAllowed):
        actions.verify(officer, outcome=outcome, level="2_evidence", reason="r")


def test_a_returned_report_can_be_corrected_and_not_verified() -> None:
    story = grants.granted()
    outcome = make.reported(story)
    actions.return_(story.officer, outcome=outcome, reason="재직증명이 아닙니다.")
    assert outcome.state == "returned"
    with pytest.raises(Stale):
        actions.verify(story.officer, outcome=outcome, level="2_evidence", reason="r")
    with pytest.raises(Stale):
        actions.return_(story.officer, outcome=outcome, reason="다시")
    assert make.reported(story, replaces=outcome).state == "reported"


def test_evidence_and_verifications_never_change() -> None:
    story = grants.granted()
    outcome = make.reported(story)
    actions.verify(story.officer, outcome=outcome, level="2_evidence", reason="확인")
    for rows in (Evidence.objects.all(), Verification.objects.all()):
        with pytest.raises(DatabaseError), transaction.atomic():
            rows.delete()
        with pytest.raises(DatabaseError), transaction.atomic():
            rows.update(id=99)


def test_reading_evidence_from_outside_the_organization_is_recorded() -> None:
    story = grants.granted()
    outcome = make.reported(story)
    (evidence,) = outcome.evidence.all()
    queries.evidence_for(story.lead, outcome.pk, evidence.pk)
    assert LogLine.objects.filter(verb="read").count() == 0
    queries.evidence_for(story.officer, outcome.pk, evidence.pk)
    line = LogLine.objects.get(verb="read")
    assert (line.actor_id, line.kind, line.ref) == (story.officer.pk, "outcomes.outcome", outcome.pk)
    with pytest.raises(Missing):
        queries.evidence_for(grants.granted().lead, outcome.pk, evidence.pk)


def test_the_queue_is_oldest_first_and_of_ones_own_programs() -> None:
    story, other = grants.granted(), grants.granted()
    first, second, third = make.reported(story), make.reported(other), make.reported(story)
    everything = queries.queue(identity.officer(), limit=2)
    assert ([row.pk for row in everything.rows], everything.after) == ([first.pk, second.pk], second.pk)
    scoped = identity.officer("program", story.call.program_id)
    assert [row.pk for row in queries.queue(scoped).rows] == [first.pk, third.pk]
    with pytest.raises(NotAllowed):
        queries.queue(story.lead)


def test_the_leads_are_told_what_became_of_a_report() -> None:
    story = grants.granted()
    member = identity.member(story.organization)
    returned, verified = make.reported(story), make.reported(story, title="다른 성과")
    actions.return_(story.officer, outcome=returned, reason="날짜가 보이지 않습니다.")
    actions.verify(story.officer, outcome=verified, level="2_evidence", reason="서류를 확인했습니다.")
    (back,), (well,) = letters.to(story.lead, "성과 반려"), letters.to(story.lead, "성과 확인")
    assert back["text"].count("날짜가 보이지 않습니다.") == 2
    assert well["text"].count("서류를 확인했습니다.") == 2
    assert letters.to(member) == []
