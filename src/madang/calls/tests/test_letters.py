"""Who is written to, about what, and what a letter must not say."""

from __future__ import annotations

import pytest
from django.core import mail
from django.db import transaction
from django.urls import reverse

from madang.calls import actions
from madang.calls.tests import make
from madang.identity.tests import make as identity
from madang.web.tasks import send_letter
from madang.web.tests import letters

pytestmark = pytest.mark.django_db


def test_every_lead_gets_the_receipt_and_a_member_does_not():
    made = make.published()
    organization = identity.organization()
    second, member = identity.member(organization, "lead"), identity.member(organization)
    application = make.applied(made.call, organization)
    (first,) = letters.to(make.lead(application))
    assert first["text"] == letters.to(second)[0]["text"]
    assert letters.to(member) == []
    number = make.latest(application).number
    assert number in first["subject"]
    assert first["text"].count(reverse("calls:receipt", args=[make.latest(application).pk])) == 2
    assert "접수번호" in first["text"].partition("Receipt number")[0]


def test_a_verb_that_is_rolled_back_tells_nobody():
    made = make.published()
    application = make.drafted(made.call)
    lead = make.lead(application)
    with transaction.atomic():
        actions.submit(lead, application=application)
        assert len(letters.to(lead)) == 1
        transaction.set_rollback(True)
    assert letters.to(lead) == []


def test_the_letter_about_a_supplement_says_what_and_until_when():
    made = make.published()
    application = make.applied(made.call)
    make.deadline_passes(made.call)
    application.call = made.call
    actions.request_supplement(made.officer, application=application, codes=["goal"], reason="목표를 더 적어 주십시오.")
    (letter,) = letters.to(make.lead(application), "보완요청")
    assert letter["text"].count("목표를 더 적어 주십시오.") == 2
    assert letter["text"].count(application.supplement["until"][:4]) >= 2


def test_the_letter_to_a_reviewer_names_no_applicant_and_no_project():
    made = make.published()
    organization = identity.organization(name_ko="남궁 연구소", name_en="Namgung Lab", representative="남궁민수")
    application = make.applied(made.call, organization, title="남궁 엔진")
    make.eligible(made, application)
    reviewer = identity.reviewer()
    actions.assign(made.officer, application=application, reviewer=reviewer)
    (letter,) = letters.to(reviewer)
    whole = letter["subject"] + letter["text"]
    for word in ("남궁", "Namgung", organization.business_number, application.receipt_number):
        assert word not in whole
    assert whole.count(reverse("calls:reviews")) == 2


def test_all_assignments_of_a_reviewer_are_one_letter():
    made = make.published(reviews_wanted=1)
    rows = [make.applied(made.call) for _number in range(3)]
    make.eligible(made, *rows)
    reviewer = identity.reviewer()
    actions.assign_all(made.officer, call=made.call)
    (letter,) = letters.to(reviewer)
    assert "3건" in letter["text"]
    assert "3 applications" in letter["text"]


def test_who_is_not_selected_gets_the_own_result_and_nobody_elses():
    made = make.published()
    first, second, third = (make.applied(made.call) for _number in range(3))
    make.eligible(made, first, second, third)
    make.reviewed(made, first, second, third)
    for application, outcome in ((first, "selected"), (second, "reserve"), (third, "rejected")):
        actions.decide(made.officer, application=application, outcome=outcome, reason=f"사유 {outcome}")
    actions.announce(made.officer, call=made.call)
    assert letters.to(make.lead(first), "결과 발표") == []  # the offer says it
    (reserve,), (rejected,) = (letters.to(make.lead(row), "결과 발표") for row in (second, third))
    assert "사유 reserve" in reserve["text"]
    assert "사유 rejected" in rejected["text"]
    assert "사유 reserve" not in rejected["text"]


def test_a_letter_goes_to_the_address_of_now_and_to_nobody_who_left():
    somebody, gone = identity.person(email="old@example.kr"), identity.person()
    type(somebody).objects.filter(pk=somebody.pk).update(email="new@example.kr")
    type(gone).objects.filter(pk=gone.pk).update(is_active=False)
    for person in (somebody, gone):
        send_letter(person.pk, "제목", "본문")
    (sent,) = mail.outbox
    assert (sent.to, sent.subject, sent.body) == (["new@example.kr"], "[마당] 제목", "본문")
