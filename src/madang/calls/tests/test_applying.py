from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, IntegrityError, connection, transaction

from madang.calls import actions, content, documents
from madang.calls.models import Application, Call, CallLine, Document, Submission
from madang.calls.tests import make
from madang.calls.when import SEOUL, seoul
from madang.identity.tests import make as identity
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


@pytest.fixture
def made():
    return make.published()


def test_a_submission_gets_the_next_receipt_number_of_its_call(made):
    one, two = make.applied(made.call), make.applied(made.call)
    other = make.applied(make.published().call)
    made.call.refresh_from_db()
    assert (one.receipt, two.receipt, other.receipt, made.call.last_receipt) == (1, 2, 1, 2)
    assert two.receipt_number == f"{made.call.code.upper()}-0002"


def test_a_refused_submission_takes_no_number(made):
    incomplete = make.drafted(made.call, answers={"goal": ""})
    with pytest.raises(Refused) as refused:
        actions.submit(make.lead(incomplete), application=incomplete)
    assert list(refused.value.errors) == ["goal"]
    assert make.applied(made.call).receipt == 1


@pytest.mark.django_db(transaction=True)
def test_eight_who_submit_at_once_get_the_numbers_one_to_eight():
    made = make.published()
    drafts = [make.drafted(made.call, identity.organization(name_ko=f"기업 {n}")) for n in range(8)]
    people = {draft.pk: make.lead(draft) for draft in drafts}

    def hand_in(id: int) -> int:
        try:
            application = Application.objects.select_related("call", "form").get(pk=id)
            return actions.submit(people[id], application=application).receipt
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(hand_in, people))
    assert sorted(receipts) == list(range(1, 9))
    in_order = Submission.objects.filter(call=made.call).order_by("receipt").values_list("submitted_at", flat=True)
    assert list(in_order) == sorted(in_order)
    assert Call.objects.get(pk=made.call.pk).last_receipt == 8


def test_one_second_late_is_refused_and_the_deadline_named_in_korean_time(made):
    draft = make.drafted(made.call)
    make.deadline_passes(made.call, timedelta(seconds=1))
    draft.refresh_from_db()
    with pytest.raises(Refused) as refused:
        actions.submit(make.lead(draft), application=draft)
    assert seoul(made.call.closes_at) in str(refused.value)
    assert (refused.value.status, Submission.objects.count()) == (422, 0)


def test_a_second_before_the_deadline_is_in_time(made):
    draft = make.drafted(made.call)
    Call.objects.filter(pk=made.call.pk).update(closes_at=now() + timedelta(seconds=5))
    assert actions.submit(make.lead(draft), application=draft).receipt == 1


def test_the_deadline_is_written_as_a_clock_in_seoul_shows_it():
    from datetime import UTC, datetime

    assert seoul(datetime(2025, 8, 14, 5, 0, 0, tzinfo=UTC)) == "2025-08-14 14:00:00"
    assert str(SEOUL) == "Asia/Seoul"


def test_the_clock_is_the_databases_and_not_that_of_the_transaction(made):
    """A transaction that began in time doesn't make a submission in time."""
    draft = make.drafted(made.call)
    with transaction.atomic():
        Call.objects.filter(pk=made.call.pk).update(closes_at=now() + timedelta(milliseconds=20))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.05)")
        with pytest.raises(Refused):
            actions.submit(make.lead(draft), application=draft)


def test_an_extension_lets_one_applicant_in_and_nobody_else(made):
    late, other = make.drafted(made.call), make.drafted(made.call)
    make.deadline_passes(made.call)
    until = now() + timedelta(hours=1)
    actions.give_extension(
        made.officer, call=made.call, organization=late.organization, until=until, reason="시스템 장애"
    )
    for application in (late, other):
        application.call = made.call
    assert actions.submit(make.lead(late), application=late).receipt == 1
    with pytest.raises(Refused):
        actions.submit(make.lead(other), application=other)
    line = LogLine.objects.get(verb="extend")
    assert (line.reason, line.actor_id, line.detail["organization"]) == (
        "시스템 장애",
        made.officer.pk,
        late.organization_id,
    )


def test_an_extension_ends_too(made):
    late = make.drafted(made.call)
    actions.give_extension(
        made.officer,
        call=made.call,
        organization=late.organization,
        until=made.call.closes_at + timedelta(hours=1),
        reason="사유",
    )
    make.deadline_passes(made.call)
    with pytest.raises(Refused):
        actions.submit(make.lead(late), application=late)


def test_only_an_open_call_takes_applications():
    organization = identity.organization()
    lead = identity.lead_of(organization)
    soon = make.published(opens_at=now() + timedelta(days=1))
    with pytest.raises(Refused):
        actions.start_application(lead, call=soon.call, organization=organization)
    with pytest.raises(Missing):
        actions.start_application(lead, call=make.draft().call, organization=organization)
    canceled = make.published()
    actions.cancel(canceled.officer, call=canceled.call, reason="예산 변경")
    with pytest.raises(Refused):
        actions.start_application(lead, call=canceled.call, organization=organization)
    assert Application.objects.count() == 0


def test_an_application_that_is_there_is_not_begun_twice(made):
    organization = identity.organization()
    lead = identity.lead_of(organization)
    one = actions.start_application(lead, call=made.call, organization=organization)
    assert actions.start_application(lead, call=made.call, organization=organization) == one


def test_a_second_submission_is_a_new_version_and_the_first_one_stays(made):
    application = make.applied(made.call)
    first = make.latest(application)
    lead = make.lead(application)
    actions.save_draft(lead, application=application, answers={"goal": "다시 쓴 목표"})
    actions.submit(lead, application=application)
    versions = list(application.submissions.order_by("id"))
    assert [(v.receipt, v.content["answers"]["goal"]) for v in versions] == [
        (1, "용접 불량을 찾는 모델을 학습합니다."),
        (2, "다시 쓴 목표"),
    ]
    assert versions[0].digest == first.digest
    assert application.receipt == 2


def test_a_double_click_gives_the_same_receipt(made):
    application = make.applied(made.call)
    again = actions.submit(make.lead(application), application=application)
    assert (again, application.submissions.count()) == (make.latest(application), 1)


def test_what_is_saved_after_the_submission_does_not_change_what_was_submitted(made):
    application = make.applied(made.call, hours=100)
    line = made.call.lines.order_by("id")[0]
    actions.save_draft(
        make.lead(application), application=application, title="새 제목", lines={line.pk: {"amount": 5 * make.HOUR}}
    )
    application.refresh_from_db()
    assert (application.title, make.line(application).amount) == ("불량 검출 모델 학습", 100 * make.HOUR)


def test_the_digest_is_that_of_the_canonical_content(made):
    import hashlib

    application = make.drafted(made.call, answers={"goal": "목표", "staff": 12})
    lead = make.lead(application)
    document = actions.add_document(lead, application=application, code="plan", file=make.file())
    submission = actions.submit(lead, application=application)
    submission.refresh_from_db()
    text = json.dumps(submission.content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == submission.digest
    assert content.intact(submission)
    assert submission.content["documents"]["plan"]["digest"] == document.digest
    assert submission.content["form"] == 1
    assert submission.content["lines"][0]["amount"] == 100 * make.HOUR
    assert submission.content["organization"]["business_number"] == application.organization.business_number
    submission.content["answers"]["goal"] = "다른 목표"
    assert not content.intact(submission)


@pytest.mark.parametrize("statement", ["UPDATE calls_submission SET receipt = 9", "DELETE FROM calls_submission"])
def test_the_database_refuses_to_change_a_submission(made, statement):
    make.applied(made.call)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Submission.objects.get().receipt == 1


@pytest.mark.parametrize("table", ["calls_submission", "calls_eligibilityanswer", "calls_scoresheet"])
def test_the_applications_own_role_may_only_add_to_what_is_never_rewritten(table):
    role = settings.APPLICATION_ROLE
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = %s AND rolname <> current_user", [role])
        if cursor.fetchone() is None:
            pytest.skip("one role owns and runs this database")
        rights = {}
        for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"):
            cursor.execute("SELECT has_table_privilege(%s, %s, %s)", [role, table, right])
            rights[right] = cursor.fetchone()[0]
    assert rights == {"INSERT": True, "UPDATE": False, "DELETE": False, "TRUNCATE": False}


def test_a_receipt_number_is_given_once_even_if_somebody_tries(made):
    application = make.applied(made.call)
    with pytest.raises(IntegrityError), transaction.atomic():
        Submission.objects.create(
            call=made.call,
            application=application,
            receipt=1,
            content={},
            digest="x",
            submitted_at=now(),
            submitted_by=make.lead(application),
        )


def test_a_page_that_is_out_of_date_overwrites_nothing(made):
    application = make.drafted(made.call)
    lead, colleague = make.lead(application), identity.member(application.organization)
    page = application.saves
    actions.save_draft(colleague, application=application, answers={"goal": "동료가 쓴 목표"}, saves=page)
    with pytest.raises(Stale):
        actions.save_draft(lead, application=application, answers={"goal": "내 목표"}, saves=page)
    with pytest.raises(Stale):
        actions.submit(lead, application=application, saves=page)
    application.refresh_from_db()
    assert application.answers["goal"] == "동료가 쓴 목표"


def test_a_draft_may_lack_anything_but_what_it_has_must_fit(made):
    application = make.drafted(made.call)
    lead = make.lead(application)
    foreign = make.published().call.lines.order_by("id")[0]
    line: CallLine = made.call.lines.order_by("id")[0]
    with pytest.raises(Refused) as refused:
        actions.save_draft(
            lead,
            application=application,
            title="제목\u202e",
            answers={"goal": "x" * 501, "staff": "many", "nonsense": "1"},
            lines={line.pk: {"amount": line.most + 1}, foreign.pk: {"amount": 1}},
        )
    assert sorted(refused.value.errors) == sorted(
        ["title", "goal", "staff", "nonsense", f"line-{line.pk}", f"line-{foreign.pk}"]
    )
    application.refresh_from_db()
    assert application.saves == 1


def test_saving_keeps_what_is_not_named_and_takes_out_what_is_emptied(made):
    application = make.drafted(made.call, answers={"goal": "목표", "staff": 3})
    line = made.call.lines.order_by("id")[0]
    actions.save_draft(make.lead(application), application=application, answers={"staff": None})
    assert (application.answers, list(application.asked)) == ({"goal": "목표"}, [str(line.pk)])
    actions.save_draft(make.lead(application), application=application, lines={line.pk: {"amount": 0}})
    assert application.asked == {}


def test_nothing_asked_for_is_not_an_application(made):
    line = made.call.lines.order_by("id")[0]
    draft = make.drafted(made.call, lines={line.pk: {"amount": None}}, title="")
    with pytest.raises(Refused) as refused:
        actions.submit(make.lead(draft), application=draft)
    assert sorted(refused.value.errors) == ["lines", "title"]


def test_strangers_do_not_learn_that_an_application_exists(made):
    application = make.drafted(made.call)
    strangers = [identity.person(), identity.lead_of(identity.organization()), made.officer]
    for stranger in strangers:
        with pytest.raises(Missing):
            actions.save_draft(stranger, application=application, title="남의 것")
        with pytest.raises(Missing):
            actions.submit(stranger, application=application)
        with pytest.raises(Missing):
            actions.withdraw(stranger, application=application, reason="x")
        with pytest.raises(Missing):
            actions.add_document(stranger, application=application, code="plan", file=make.file())
    application.refresh_from_db()
    assert (application.title, application.state, Document.objects.count()) == ("불량 검출 모델 학습", "draft", 0)


def test_withdrawn_and_submitted_again_leaves_both_receipts(made):
    application = make.applied(made.call)
    lead = make.lead(application)
    actions.withdraw(lead, application=application, reason="다시 쓰려고")
    again = make.applied(made.call, application.organization)
    assert again.pk != application.pk
    assert list(Submission.objects.order_by("receipt").values_list("receipt", "application")) == [
        (1, application.pk),
        (2, again.pk),
    ]


def test_a_file_is_kept_with_its_digest_under_a_clean_name(made):
    import hashlib

    pdf = b"%PDF-1.7 abc"
    application = make.drafted(made.call)
    document = actions.add_document(
        make.lead(application), application=application, code="plan", file=make.file("../..\\계획\u202efdp.pdf", pdf)
    )
    assert (document.name, document.size) == ("계획fdp.pdf", len(pdf))
    assert document.digest == hashlib.sha256(pdf).hexdigest()
    assert document.file.read() == pdf
    assert re.fullmatch(rf"documents/{application.pk}/[0-9a-f]{{24}}.*", str(document.file.name))


def test_a_newer_file_replaces_the_older_one_unless_that_was_submitted(made, django_capture_on_commit_callbacks):
    application = make.drafted(made.call)
    lead = make.lead(application)
    with django_capture_on_commit_callbacks(execute=True):
        one = actions.add_document(lead, application=application, code="plan", file=make.file(content=b"%PDF-1"))
        two = actions.add_document(lead, application=application, code="plan", file=make.file(content=b"%PDF-2"))
    assert list(application.documents.all()) == [two]
    assert not default_storage.exists(str(one.file.name))
    actions.submit(lead, application=application)
    three = actions.add_document(lead, application=application, code="plan", file=make.file(content=b"%PDF-3"))
    assert list(application.documents.order_by("id")) == [two, three]
    actions.remove_document(lead, application=application, code="plan")
    assert content.current(application.documents.order_by("id")) == {}
    assert default_storage.exists(str(two.file.name))


def test_what_is_too_large_leaves_nothing_behind(made, monkeypatch):
    application = make.drafted(made.call)
    lead = make.lead(application)
    monkeypatch.setattr(settings, "UPLOAD_LIMIT_BYTES", 10)
    with pytest.raises(Refused) as refused:
        actions.add_document(lead, application=application, code="plan", file=make.file(content=b"%PDF-" + b"x" * 6))
    assert list(refused.value.errors) == ["file"]
    monkeypatch.setattr(documents, "MOST_TOGETHER", 15)
    actions.add_document(lead, application=application, code="plan", file=make.file(content=b"%PDF-" + b"x" * 5))
    actions.submit(lead, application=application)
    folder = f"documents/{application.pk}"
    before = default_storage.listdir(folder)
    with pytest.raises(Refused) as refused:
        actions.add_document(lead, application=application, code="plan", file=make.file(content=b"%PDF-" + b"y" * 5))
    assert list(refused.value.errors) == ["file"]
    assert default_storage.listdir(folder) == before
    assert content.current(application.documents.order_by("id"))["plan"].size == 10


@pytest.mark.parametrize(
    ("name", "content", "kinds", "said"),
    [
        ("plan.exe", b"MZ", None, "PDF, HWP, HWPX, DOCX, XLSX, PPTX, JPG, PNG, ZIP"),
        ("plan", b"%PDF-1.7", None, "PDF"),
        ("plan.pdf", b"MZ", None, "PDF"),
        ("plan.hwp", b"PK\x03\x04", None, "HWP"),
        ("plan.zip", b"PK\x03\x04", ["pdf", "hwp"], "PDF, HWP."),
        ("plan.PDF", b"%PDF-1.7", ["pdf"], ""),
        ("사진.jpeg", b"\xff\xd8\xff\xe0", None, ""),
        ("plan.hwpx", b"PK\x03\x04", None, ""),
    ],
)
def test_a_document_is_of_a_kind_that_its_question_takes_by_name_and_content(made, name, content, kinds, said):
    application = make.drafted(made.call)
    for spec in application.form.fields:
        if spec["code"] == "plan" and kinds:
            spec["kinds"] = kinds
    given = {"application": application, "code": "plan", "file": make.file(name, content)}
    if not said:
        assert actions.add_document(make.lead(application), **given).name == name
        return
    with pytest.raises(Refused) as refused:
        actions.add_document(make.lead(application), **given)
    assert said in refused.value.errors["file"]
    assert not application.documents.filter(name=name).exists()


def test_a_file_for_no_question_is_refused(made):
    application = make.drafted(made.call)
    for code in ("goal", "nonsense"):
        with pytest.raises(Refused):
            actions.add_document(make.lead(application), application=application, code=code, file=make.file())


def test_a_supplement_reopens_only_what_was_asked_about(made):
    application = make.applied(made.call, answers={"goal": "목표", "staff": 3})
    lead = make.lead(application)
    make.deadline_passes(made.call)
    application.call = made.call
    actions.request_supplement(made.officer, application=application, codes=["staff", "plan"], reason="인력 확인")
    for saved in ({"answers": {"goal": "몰래 고친 목표"}}, {"title": "새 제목"}, {"lines": {0: {"amount": 1}}}):
        with pytest.raises(Refused):
            actions.save_draft(lead, application=application, **saved)
    actions.save_draft(lead, application=application, title=application.title, answers={"goal": "목표", "staff": 5})
    actions.add_document(lead, application=application, code="plan", file=make.file())
    submission = actions.submit(lead, application=application)
    assert (submission.receipt, submission.content["answers"]["staff"], application.state) == (2, 5, "submitted")
    assert application.submissions.order_by("id")[0].content["answers"]["staff"] == 3
    with pytest.raises(Refused):
        actions.save_draft(lead, application=application, answers={"staff": 6})
