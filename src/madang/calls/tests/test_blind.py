"""A reviewer of a blind call asks every question there is; nothing tells who the applicant is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.db.models import Model

from madang.calls import actions, queries
from madang.calls.tests import make
from madang.identity.tests import make as identity
from madang.workflow.errors import Missing

pytestmark = pytest.mark.django_db
TELLING = ["빛고을", "bitgoeul", "남궁민수", "서지원", "협력사", "서명된"]


def told(value: Any) -> str:
    """All that a page could show of a value, in one text. A row of the database counts with every column."""
    if isinstance(value, Model):
        return " ".join(str(getattr(value, field.attname)) for field in value._meta.concrete_fields)
    if dataclasses.is_dataclass(value):
        return " ".join(told(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        return " ".join(f"{key} {told(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple, set)):
        return " ".join(told(one) for one in value)
    return str(value)


def a_telling_application(made):
    lead = identity.person("서지원")
    organization = identity.organization(
        lead, name_ko="(주)빛고을 로보틱스", name_en="Bitgoeul Robotics Co., Ltd.", representative="남궁민수"
    )
    line = made.call.lines.order_by("id")[0]
    application = actions.start_application(lead, call=made.call, organization=organization)
    actions.save_draft(
        lead,
        application=application,
        title="빛고을로보틱스의 용접 로봇",
        answers={
            "goal": f"BITGOEUL ROBOTICS({organization.business_number_written})가 남궁민수 대표와 함께 만듭니다.",
            "staff": 3,
            "partner": True,
            "partner-name": "협력사",
        },
        lines={line.pk: {"amount": make.HOUR, "purpose": "빛고을 로보틱스 모델 학습"}},
    )
    actions.add_document(lead, application=application, code="plan", file=make.file("빛고을 사업계획서.pdf"))
    if any(spec["code"] == "figure" for spec in application.form.fields):
        actions.add_document(
            lead, application=application, code="figure", file=make.file("서명된 그림.png", b"\x89PNG\r\n\x1a\n figure")
        )
    actions.submit(lead, application=application)
    return application


@pytest.fixture
def made():
    draft = make.draft()
    figure = {"code": "figure", "type": "file", "label_ko": "그림", "identity": False}
    actions.set_form(draft.officer, call=draft.call, fields=[*make.FORM, figure])
    actions.publish(draft.officer, call=draft.call)
    return draft


def assigned(made, application):
    make.eligible(made, application)
    reviewer = identity.reviewer()
    return reviewer, actions.assign(made.officer, application=application, reviewer=reviewer)


def test_a_reviewer_of_a_blind_call_learns_nothing_about_the_applicant(made):
    application = a_telling_application(made)
    reviewer, assignment = assigned(made, application)
    seen = queries.review(reviewer, assignment.pk)
    text = told(queries.review_queue(reviewer).items) + told(seen)
    number = application.organization.business_number
    for name in [*TELLING, number, application.organization.business_number_written]:
        assert name not in text.lower()
    assert [field.code for field in seen.fields] == ["goal", "staff", "partner", "figure"]
    assert "●●●(●●●)가 ●●● 대표와 함께 만듭니다." in text
    assert [field.document.name for field in seen.fields if field.document] == ["figure.png"]


def test_a_reviewer_reads_only_files_that_the_form_lets_through_and_under_no_telling_name(made):
    application = a_telling_application(made)
    reviewer, _assignment = assigned(made, application)
    plan, figure = (application.documents.get(code=code).pk for code in ("plan", "figure"))
    document, name = actions.read_document(reviewer, document=figure)
    assert (name, document.file.read()[:4]) == ("figure.png", b"\x89PNG")
    with pytest.raises(Missing):
        actions.read_document(reviewer, document=plan)


def test_a_reviewer_sees_nothing_that_is_not_assigned(made):
    application = a_telling_application(made)
    reviewer, assignment = assigned(made, application)
    other = identity.reviewer()
    for person in (other, made.officer, make.lead(application)):
        with pytest.raises(Missing):
            queries.review(person, assignment.pk)
    assert queries.review_queue(other).items == []
    figure = application.documents.get(code="figure").pk
    with pytest.raises(Missing):
        actions.read_document(other, document=figure)
    actions.recuse(reviewer, assignment=assignment, reason="지인")
    with pytest.raises(Missing):
        queries.review(reviewer, assignment.pk)
    assert queries.review_queue(reviewer).items == []


def test_a_reviewer_sees_nobody_elses_scores(made):
    application = a_telling_application(made)
    reviewer, assignment = assigned(made, application)
    other = identity.reviewer()
    second = actions.assign(made.officer, application=application, reviewer=other)
    actions.score(other, assignment=second, scores={"impact": 37, "ability": 13}, comment="남의 의견")
    text = told(queries.review(reviewer, assignment.pk)) + told(queries.review_queue(reviewer).items)
    assert "남의 의견" not in text
    assert queries.review(reviewer, assignment.pk).total is None


def test_in_an_open_review_the_organization_is_named_and_its_people_still_are_not():
    made = make.published(blind=False)
    application = a_telling_application(made)
    reviewer, assignment = assigned(made, application)
    seen = queries.review(reviewer, assignment.pk)
    assert (seen.organization, "협력사" in told(seen), "서지원" in told(seen)) == ("(주)빛고을 로보틱스", True, False)
    plan = application.documents.get(code="plan").pk
    assert actions.read_document(reviewer, document=plan)[1] == "빛고을 사업계획서.pdf"


def test_officers_read_submitted_files_and_the_reading_is_recorded(made):
    from madang.workflow.models import LogLine

    application = a_telling_application(made)
    plan = application.documents.get(code="plan").pk
    actions.read_document(made.officer, document=plan)
    line = LogLine.objects.get(verb="read")
    assert (line.actor_id, line.kind, line.ref) == (made.officer.pk, "calls.document", plan)
    actions.read_document(make.lead(application), document=plan)
    assert LogLine.objects.filter(verb="read").count() == 1
    draft = make.drafted(made.call)
    secret = actions.add_document(make.lead(draft), application=draft, code="plan", file=make.file())
    for person in (made.officer, identity.lead_of(identity.organization()), identity.reviewer()):
        with pytest.raises(Missing):
            actions.read_document(person, document=secret.pk)
