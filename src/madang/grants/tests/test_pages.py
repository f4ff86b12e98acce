from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.calls import actions as calls
from madang.grants import actions, queries, rules
from madang.grants.models import Grant
from madang.grants.tests import make
from madang.identity import actions as organizations
from madang.identity.access import forget
from madang.identity.models import Person
from madang.identity.tests import make as identity
from madang.web.tests import letters

pytestmark = pytest.mark.django_db
BUDGET = 12


def browser(person: Person, language: str = "ko") -> Client:
    client = Client(headers={"accept-language": language})
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def pages_of(story: make.Story) -> list[str]:
    number = story.grant.number
    return [
        reverse("grants:grant", args=[number]),
        reverse("grants:agreement", args=[number]),
        reverse("grants:history", args=[number]),
        reverse("grants:statement", args=[number, story.compute.pk]),
    ]


def verbs_of(story: make.Story) -> list[str]:
    number = story.grant.number
    return [
        reverse("grants:agreement", args=[number]),
        reverse("grants:decline", args=[number]),
        reverse("grants:close", args=[number]),
        reverse("grants:pause", args=[number, story.compute.pk]),
        reverse("grants:resume", args=[number, story.compute.pk]),
    ]


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("made", [make.offered, make.granted])
def test_every_page_of_a_grant_is_shown_to_its_holder_and_its_officer(language: str, made: Any) -> None:
    story = made()
    for person in (story.lead, story.officer, identity.auditor()):
        client = browser(person, language)
        for page in [*pages_of(story), reverse("grants:list")]:
            answer = client.get(page)
            assert (page, answer.status_code) == (page, 200)
            assert answer.content.decode().count("<h1") == 1
    member = browser(identity.member(story.organization), language)
    assert member.get(pages_of(story)[0]).status_code == 200


def test_the_log_and_the_statement_link_to_what_their_lines_are_about_where_the_reader_may_open_it() -> None:
    story = make.granted()
    actions.pause_allocation(story.officer, allocation=story.compute, reason="점검")
    grant, _agreement, _history, statement = pages_of(story)
    auditor = browser(identity.auditor())
    log = auditor.get(reverse("identity:log")).text
    assert f'href="{grant}"' in log
    assert f'href="{statement}"' in log
    assert statement not in browser(identity.operator()).get(reverse("identity:log")).text
    assert f'href="{grant}">{story.grant.number}' in auditor.get(statement).text.split("<tbody>")[1]
    for page in re.findall(r'<td><a href="([^"]+)"', log):
        assert (page, auditor.get(page).status_code) == (page, 200)


def test_the_pages_speak_korean_first_and_english_completely() -> None:
    story = make.granted()
    korean = browser(story.lead).get(pages_of(story)[0]).content.decode()
    english = browser(story.lead, "en").get(pages_of(story)[0]).content.decode()
    assert "자부담" in korean
    assert "Own share" in english
    assert "Own share" not in korean
    assert "자부담" not in english
    assert story.organization.name_en in english


def test_nobody_sees_another_tenants_grant_on_any_page_by_any_method() -> None:
    story, other = make.granted(), make.granted()
    elsewhere = identity.officer("program", other.call.program_id)
    for person in (other.lead, identity.member(other.organization), elsewhere, identity.reviewer()):
        client = browser(person)
        for page in {*pages_of(story), *verbs_of(story)}:
            for answer in (client.get(page), client.post(page, {"reason": "r", "signed_as": "x"})):
                assert (page, answer.status_code in (404, 405)) == (page, True)
                assert story.grant.title not in answer.content.decode()
        listed = client.get(reverse("grants:list")).content.decode()
        assert story.grant.number not in listed
    assert story.again().state == "active"


def test_whoever_is_not_logged_in_is_asked_to() -> None:
    story = make.granted()
    for page in [*pages_of(story), reverse("grants:list"), reverse("grants:ledger")]:
        answer = Client().get(page)
        assert (answer.status_code, answer["location"].startswith(reverse("account_login"))) == (302, True)


def test_anothers_allocation_under_ones_own_grant_number_is_not_there() -> None:
    story, other = make.granted(), make.granted()
    page = reverse("grants:statement", args=[story.grant.number, other.compute.pk])
    assert browser(story.lead).get(page).status_code == 404
    assert browser(story.lead).get(page.replace(str(other.compute.pk), "9" * 30)).status_code == 404


def test_the_agreement_is_accepted_on_its_page() -> None:
    story = make.offered()
    agreement, page = queries.agreement_of(story.grant), reverse("grants:agreement", args=[story.grant.number])
    client = browser(story.lead)
    fields = {"version": agreement.version, "digest": agreement.digest, "signed_as": "대표이사 이대표", "read": "on"}
    assert agreement.digest in client.get(page).content.decode().replace("<wbr>", "")
    unread = client.post(page, {**fields, "read": ""})
    assert unread.status_code == 422
    assert story.again().state == "offered"
    forged = client.post(page, {**fields, "signed_as": "이대표\u202e"})
    assert forged.status_code == 422
    stale = client.post(page, {**fields, "digest": "0" * 64})
    assert stale.status_code == 422
    assert story.again().state == "offered"
    for _click in range(2):
        answer = client.post(page, fields)
        assert (answer.status_code, answer["location"]) == (302, reverse("grants:grant", args=[story.grant.number]))
    assert story.again().state == "active"


def test_a_member_reads_the_agreement_and_has_no_form_to_sign_it() -> None:
    story = make.offered()
    member = browser(identity.member(story.organization))
    page = reverse("grants:agreement", args=[story.grant.number])
    assert 'name="signed_as"' not in member.get(page).content.decode()
    agreement = queries.agreement_of(story.grant)
    fields = {"version": 1, "digest": agreement.digest, "signed_as": "나", "read": "on"}
    assert member.post(page, fields).status_code == 403
    assert story.again().state == "offered"


def test_declining_on_the_page_asks_for_a_reason() -> None:
    story = make.offered()
    client, page = browser(story.lead), reverse("grants:decline", args=[story.grant.number])
    assert client.post(page, {"reason": ""}).status_code == 422
    assert client.post(page, {"reason": "다른 지원을 받습니다."}).status_code == 302
    assert story.again().state == "declined"
    history = client.get(reverse("grants:history", args=[story.grant.number])).content.decode()
    assert "다른 지원을 받습니다." in history


def test_the_officer_sees_what_would_be_sent_before_it_is_sent() -> None:
    officer = identity.officer()
    notice = make.call(officer=officer)
    application = make.applied(notice)
    notice = make.decided(officer, notice, {application: "selected"})
    client, page = browser(officer, "en"), reverse("grants:announce", args=[notice.code])
    preview = client.get(page).content.decode()
    assert "100 GPU-hours" in preview
    assert "₩200,000" in preview
    assert Grant.objects.count() == 0
    assert client.post(page).status_code == 302
    assert client.post(page).status_code == 409
    assert Grant.objects.count() == 1
    for stranger in (identity.lead_of(application.organization), identity.auditor()):
        for answer in (browser(stranger).get(page), browser(stranger).post(page)):
            assert answer.status_code == 404


def test_an_announcement_that_is_refused_says_why_and_sends_nothing() -> None:
    officer = identity.officer()
    notice = make.call(officer=officer)
    make.applied(notice)
    notice = make.closed(notice)
    answer = browser(officer).post(reverse("grants:announce", args=[notice.code]))
    assert answer.status_code in (409, 422)
    assert Grant.objects.count() == 0


def test_the_next_in_reserve_gets_an_agreement_by_a_button() -> None:
    officer = identity.officer()
    notice = make.call(officer=officer)
    first, second = make.applied(notice), make.applied(notice)
    notice = make.decided(officer, notice, {first: "selected", second: "reserve"})
    actions.announce(officer, call=notice)
    page = reverse("grants:reserve", args=[notice.code])
    promote = reverse("grants:promote", args=[notice.code, second.pk])
    assert promote in browser(officer).get(page).content.decode()
    tenant = browser(identity.lead_of(second.organization))
    assert (tenant.get(page).status_code, tenant.post(promote).status_code) == (404, 404)
    assert browser(officer).post(promote).status_code == 302
    assert browser(officer).post(promote).status_code == 409
    assert Grant.objects.filter(application=second).count() == 1


def test_pausing_closing_and_their_errors_have_a_page() -> None:
    story = make.granted()
    client, number = browser(story.officer), story.grant.number
    pause = reverse("grants:pause", args=[number, story.compute.pk])
    asked = browser(story.officer, "en").get(reverse("grants:grant", args=[number])).content.decode()
    assert "Jobs that wait or run on it are ended." in asked
    assert client.post(pause, {"reason": ""}).status_code == 422
    assert client.post(pause, {"reason": "점검"}).status_code == 302
    assert client.post(pause, {"reason": "점검"}).status_code == 422
    assert client.get(pause).status_code == 405
    assert client.post(reverse("grants:close", args=[number]), {"reason": "끝났습니다."}).status_code == 302
    assert story.again().state == "closed"
    assert client.get(reverse("grants:grant", args=[number])).status_code == 200


def test_the_ledger_page_is_for_officers_and_auditors() -> None:
    story = make.granted()
    page = reverse("grants:ledger")
    for person in (story.officer, identity.auditor()):
        answer = browser(person, "en").get(page)
        assert answer.status_code == 200
        assert "100 GPU-hours" in answer.content.decode()
    for person in (story.lead, identity.reviewer()):
        assert browser(person).get(page).status_code == 403


def test_the_list_is_filtered_and_goes_on_where_the_page_ended() -> None:
    officer = identity.officer()
    stories = [make.offered(officer=officer) for _ in range(3)]
    page = queries.grants_page(officer, limit=2)
    assert [row.pk for row in page.rows] == [stories[2].grant.pk, stories[1].grant.pk]
    rest = queries.grants_page(officer, limit=2, after=page.after)
    assert ([row.pk for row in rest.rows], rest.after) == ([stories[0].grant.pk], None)
    client = browser(officer)
    found = client.get(reverse("grants:list"), {"program": stories[1].call.program.code, "state": "offered"})
    assert [row.pk for row in found.context["grants"]] == [stories[1].grant.pk]
    odd = client.get(reverse("grants:list"), {"program": "' or 1", "state": "x", "after": "9" * 40, "search": "\u202e"})
    assert odd.status_code == 200


def copies(story: make.Story, count: int) -> None:
    """More grants of the same organization: rows, as many as a busy tenant would have."""
    from madang.calls.models import Application, ApplicationLine
    from madang.grants.models import Agreement, Allocation

    agreement = queries.agreement_of(story.grant)
    line = story.application.lines.get(call_line__resource__kind="compute")
    for number in range(count):
        application = Application.objects.create(
            call=story.call,
            organization=story.organization,
            form=story.application.form,
            title=f"{number}",
            state="withdrawn",
            started_by=story.lead,
        )
        grant = Grant.objects.create(
            application=application,
            organization=story.organization,
            program=story.grant.program,
            number=f"COPY-{number}",
            title=f"{number}",
            starts_at=story.grant.starts_at,
            ends_at=story.grant.ends_at,
            accept_by=story.grant.accept_by,
        )
        asked = ApplicationLine.objects.create(application=application, call_line=line.call_line, amount=60)
        Allocation.objects.create(grant=grant, line=asked, resource=story.compute.resource, amount=60)
        Agreement.objects.create(
            grant=grant, version=1, text_ko="", text_en="", terms=agreement.terms, digest=agreement.digest
        )


def test_pages_ask_the_same_few_questions_with_one_row_and_with_thirty(django_assert_max_num_queries: Any) -> None:
    story = make.granted()
    for _round in range(2):
        for person in (story.lead, story.officer):
            client = browser(person)
            for page in [*pages_of(story), reverse("grants:list"), reverse("grants:reserve", args=[story.call.code])]:
                if "reserve" in page and person is story.lead:
                    continue
                forget(person)
                with django_assert_max_num_queries(BUDGET):
                    assert client.get(page).status_code == 200
        copies(story, 30) if _round == 0 else None


def test_the_letter_says_in_both_languages_until_when_and_where() -> None:
    story = make.offered()
    (letter,) = letters.to(story.lead, "협약")
    assert letter["text"].count(reverse("grants:agreement", args=[story.grant.number])) == 2
    assert "selected in the call" in letter["text"]
    assert "협약" in letter["subject"]


def test_who_is_selected_gets_the_offer_and_no_second_letter_about_it() -> None:
    story = make.offered()
    assert [letter["subject"].split(":")[0] for letter in letters.to(story.lead)] == [
        "접수 완료",
        f"“{story.grant.title}” 과제의 협약이 준비되었습니다",
    ]


def test_what_was_not_confirmed_reduces_nothing_and_later_claims_neither() -> None:
    officer = identity.officer()
    notice = make.call(officer=officer)
    elsewhere = identity.organization(region="11")
    claims, moves = make.applied(notice), make.applied(notice, elsewhere)
    notice = make.closed(notice)
    claims.call = moves.call = notice
    calls.find_eligible(officer, application=claims, discounts_confirmed=False)
    calls.find_eligible(officer, application=moves)
    organizations.edit_organization(identity.lead_of(elsewhere), organization=elsewhere, region="29")
    whole = queries.decided(notice, "eligible")
    assert len(whole) == 2
    rates = rules.rates_for(whole, notice.use.lower)
    for application in whole:
        amounts = {line.pk: line.amount for line in application.lines.all()}
        rows = rules.allocations_of(application, amounts, rates)
        assert [row.reduction_krw for row in rows if row.list_krw is not None] == [0]
