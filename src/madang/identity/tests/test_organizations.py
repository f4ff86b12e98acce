from datetime import date, timedelta

import pytest
from django.core import mail

from madang.identity import actions, queries
from madang.identity.access import access_of, forget
from madang.identity.models import Invitation, Membership, Organization
from madang.identity.tests import make
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def test_whoever_registers_an_organization_leads_it() -> None:
    founder = make.person()
    organization = make.organization(founder)
    assert access_of(founder).is_lead(organization.pk)
    line = LogLine.objects.get(verb="register")
    assert (line.actor_id, line.kind, line.ref) == (founder.pk, "identity.organization", organization.pk)


def test_a_wrong_number_is_refused_at_its_field() -> None:
    with pytest.raises(Refused) as refused:
        make.organization(business_number="123-45-67890")
    assert refused.value.field == "business_number"
    assert Organization.objects.count() == 0


def test_a_number_is_registered_once_however_it_is_written() -> None:
    number = make.business_number()
    make.organization(business_number=number)
    with pytest.raises(Refused) as refused:
        make.organization(business_number=f"{number[:3]}-{number[3:5]}-{number[5:]}")
    assert refused.value.field == "business_number"
    assert (Organization.objects.count(), Membership.objects.count()) == (1, 1)


def test_only_the_operator_registers_an_agency() -> None:
    with pytest.raises(NotAllowed):
        make.organization(kind="agency")
    assert make.agency().kind == "agency"


@pytest.mark.parametrize("name", ["가" * 121, "a\x00b", "\u202egnahc", "", "  "])
def test_a_name_that_cant_be_kept_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        make.organization(name_ko=name)
    assert "name_ko" in refused.value.errors


def test_names_in_other_scripts_and_pictures_are_kept() -> None:
    assert make.organization(name_ko="شركة 🤖 로봇").name_ko == "شركة 🤖 로봇"


def test_nobody_is_founded_in_the_future() -> None:
    with pytest.raises(Refused) as refused:
        make.organization(founded_on=date(2999, 1, 1))
    assert refused.value.field == "founded_on"


def test_a_lead_changes_the_facts_and_the_history_shows_them() -> None:
    organization = make.organization()
    actions.edit_organization(make.lead_of(organization), organization=organization, representative="한대표")
    latest, first = queries.history_of(organization)
    assert list(latest.facts.values()) == ["한대표"]
    assert latest.who == "김하늘"
    assert "빛고을 로보틱스" in first.facts.values()


def test_a_lead_cant_change_what_decides_eligibility() -> None:
    organization = make.organization()
    for facts in ({"kind": "university"}, {"business_number": make.business_number()}):
        with pytest.raises(NotAllowed):
            actions.edit_organization(make.lead_of(organization), organization=organization, **facts)
    actions.edit_organization(make.operator(), organization=organization, kind="university", reason="증명서 확인")
    assert Organization.objects.get().kind == "university"


def test_who_may_change_an_organization() -> None:
    mine, other = make.organization(), make.organization()
    answers = {}
    people = {
        "lead": make.lead_of(mine),
        "member": make.member(mine),
        "lead of another": make.lead_of(other),
        "officer": make.officer(),
        "auditor": make.auditor(),
        "reviewer": make.reviewer(),
        "operator": make.operator(),
    }
    for who, person in people.items():
        try:
            actions.edit_organization(person, organization=mine, name_en=who)
            answers[who] = "yes"
        except Refused as refused:
            answers[who] = type(refused).__name__
    assert answers == {
        "lead": "yes",
        "member": "NotAllowed",
        "lead of another": "Missing",
        "officer": "Missing",
        "auditor": "Missing",
        "reviewer": "Missing",
        "operator": "yes",
    }


def test_who_may_see_an_organization() -> None:
    mine, other = make.organization(), make.organization()
    seen = {}
    people = {
        "lead": make.lead_of(mine),
        "member": make.member(mine),
        "lead of another": make.lead_of(other),
        "officer": make.officer(),
        "auditor": make.auditor(),
        "reviewer": make.reviewer(),
        "executive": make.executive(),
        "steward": make.steward(),
        "operator": make.operator(),
    }
    for who, person in people.items():
        try:
            seen[who] = queries.organization(person, mine.pk) == mine
        except Missing:
            seen[who] = False
    assert [who for who, sees in seen.items() if sees] == ["lead", "member", "officer", "auditor", "operator"]


def test_an_invitation_brings_somebody_in(django_capture_on_commit_callbacks) -> None:
    organization, guest = make.organization(), make.person(email="guest@example.kr")
    with django_capture_on_commit_callbacks(execute=True):
        _invitation, secret = actions.invite(
            make.lead_of(organization), organization=organization, email="Guest@Example.kr "
        )
    (letter,) = mail.outbox
    assert letter.to == ["guest@example.kr"]
    assert f"/invitations/{secret}/" in letter.body
    membership = actions.accept_invitation(guest, secret=secret)
    assert (membership.organization, membership.role) == (organization, "member")
    assert access_of(guest).is_member(organization.pk)


def test_only_so_many_invitations_wait_at_once_and_are_sent_in_a_day() -> None:
    organization = make.organization()
    lead = make.lead_of(organization)
    sent = []
    for lot in range(3):
        waiting = [
            actions.invite(lead, organization=organization, email=f"{lot}-{at}@example.kr")[0] for at in range(20)
        ]
        with pytest.raises(Refused):
            actions.invite(lead, organization=organization, email="one-more@example.kr")
        for invitation in waiting:
            actions.withdraw_invitation(lead, invitation=invitation)
        sent += waiting
    with pytest.raises(Refused, match="60"):
        actions.invite(lead, organization=organization, email="one-more@example.kr")
    Invitation.objects.filter(pk=sent[0].pk).update(invited_at=now() - timedelta(days=1))
    actions.invite(lead, organization=organization, email="one-more@example.kr")


def test_a_letter_says_the_same_to_strangers_and_to_people_with_an_account(django_capture_on_commit_callbacks) -> None:
    organization = make.organization()
    make.person(email="known@example.kr")
    with django_capture_on_commit_callbacks(execute=True):
        answers = [
            actions.invite(make.lead_of(organization), organization=organization, email=f"{who}@example.kr")
            for who in ("known", "unknown")
        ]
    said = [letter.body.replace(secret, "") for letter, (_row, secret) in zip(mail.outbox, answers, strict=True)]
    assert said[0] == said[1]


def test_only_whom_it_was_sent_to_can_accept_an_invitation() -> None:
    organization, thief = make.organization(), make.person()
    _row, secret = actions.invite(make.lead_of(organization), organization=organization, email="a@example.kr")
    with pytest.raises(NotAllowed):
        actions.accept_invitation(thief, secret=secret)
    with pytest.raises(Missing):
        actions.accept_invitation(thief, secret="guessed")
    assert not access_of(thief).is_member(organization.pk)


def test_a_second_click_on_accept_changes_nothing() -> None:
    organization, guest = make.organization(), make.person(email="a@example.kr")
    _row, secret = actions.invite(make.lead_of(organization), organization=organization, email="a@example.kr")
    first = actions.accept_invitation(guest, secret=secret)
    assert actions.accept_invitation(guest, secret=secret) == first
    assert Membership.objects.filter(person=guest).count() == 1


def test_who_was_shown_out_cant_come_back_with_the_old_letter() -> None:
    organization, guest = make.organization(), make.person(email="a@example.kr")
    lead = make.lead_of(organization)
    _row, secret = actions.invite(lead, organization=organization, email="a@example.kr")
    actions.end_membership(lead, membership=actions.accept_invitation(guest, secret=secret))
    with pytest.raises(Stale):
        actions.accept_invitation(guest, secret=secret)


def test_an_invitation_that_is_withdrawn_or_old_is_no_longer_valid() -> None:
    organization, guest = make.organization(), make.person(email="a@example.kr")
    lead = make.lead_of(organization)
    invitation, secret = actions.invite(lead, organization=organization, email="a@example.kr")
    actions.withdraw_invitation(lead, invitation=invitation)
    with pytest.raises(Stale):
        actions.accept_invitation(guest, secret=secret)
    invitation, secret = actions.invite(lead, organization=organization, email="a@example.kr")
    Invitation.objects.filter(pk=invitation.pk).update(expires_at="2020-01-01T00:00Z")
    with pytest.raises(Stale):
        actions.accept_invitation(guest, secret=secret)
    assert queries.invitation_by_secret(secret) is None


def test_the_same_address_is_invited_once_at_a_time() -> None:
    organization = make.organization()
    lead = make.lead_of(organization)
    actions.invite(lead, organization=organization, email="a@example.kr")
    with pytest.raises(Refused) as refused:
        actions.invite(lead, organization=organization, email="A@example.kr")
    assert refused.value.field == "email"
    with pytest.raises(Refused):
        actions.invite(lead, organization=organization, email="no address")
    assert Invitation.objects.count() == 1


def test_only_a_lead_of_the_organization_invites() -> None:
    organization, other = make.organization(), make.organization()
    for person, answer in [
        (make.member(organization), NotAllowed),
        (make.lead_of(other), Missing),
        (make.operator(), Missing),
    ]:
        with pytest.raises(answer):
            actions.invite(person, organization=organization, email="x@example.kr")


def test_the_last_lead_can_neither_leave_nor_become_a_member() -> None:
    organization = make.organization()
    lead = make.lead_of(organization)
    membership = Membership.objects.get(person=lead)
    with pytest.raises(Refused):
        actions.end_membership(lead, membership=membership)
    with pytest.raises(Refused):
        actions.change_membership(lead, membership=membership, role="member")
    second = make.member(organization)
    actions.change_membership(lead, membership=Membership.objects.get(person=second), role="lead")
    actions.end_membership(lead, membership=membership)
    assert not access_of(lead).is_member(organization.pk)
    with pytest.raises(Refused):
        actions.end_membership(second, membership=Membership.objects.get(person=second))


def test_a_member_may_leave_but_ends_nobody_else() -> None:
    organization = make.organization()
    one, two = make.member(organization), make.member(organization)
    with pytest.raises(NotAllowed):
        actions.end_membership(one, membership=Membership.objects.get(person=two))
    actions.end_membership(one, membership=Membership.objects.get(person=one))
    with pytest.raises(Stale):
        actions.end_membership(one, membership=Membership.objects.get(person=one))
    forget(one)
    with pytest.raises(Missing):
        queries.organization(one, organization.pk)
