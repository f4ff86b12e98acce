import pytest
from allauth.account.models import EmailAddress

from madang.identity import actions, queries, scopes
from madang.identity.access import access_of, forget
from madang.identity.models import Person, Role, RoleGrant
from madang.identity.tests import make
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.models import LogLine

pytestmark = pytest.mark.django_db


def test_the_first_operator_is_made_once() -> None:
    assert queries.site_is_empty()
    first = actions.first_operator(email="Boss@Example.kr", name="박운영", password=make.PASSWORD)
    assert access_of(first).holds(Role.OPERATOR)
    assert EmailAddress.objects.get().verified
    with pytest.raises(Stale):
        actions.first_operator(email="second@example.kr", name="이둘째", password=make.PASSWORD)
    assert not queries.site_is_empty()


def test_an_easy_password_is_refused_and_nobody_is_made() -> None:
    with pytest.raises(Refused) as refused:
        actions.first_operator(email="boss@example.kr", name="박운영", password="12345678")
    assert refused.value.field == "password"
    assert queries.site_is_empty()


def test_a_role_is_given_for_a_reason_and_from_a_day() -> None:
    operator, person = make.operator(), make.person()
    grant = actions.give_role(operator, person=person, role=Role.REVIEWER, reason="2025년 평가위원 위촉")
    assert (grant.given_by, grant.until) == (operator, None)
    assert access_of(person).holds(Role.REVIEWER)
    actions.end_role(operator, grant=grant, reason="임기 만료")
    forget(person)
    assert not access_of(person).holds(Role.REVIEWER)
    assert [line.reason for line in LogLine.objects.filter(verb__endswith="_role").order_by("id")] == [
        "2025년 평가위원 위촉",
        "임기 만료",
    ]


@pytest.mark.parametrize("role", [r for r in Role.values if r != "operator"])
def test_no_other_role_gives_roles(role: str) -> None:
    person = make.staff(role)
    with pytest.raises(NotAllowed):
        actions.give_role(person, person=person, role=Role.OPERATOR, reason="I would like to")
    with pytest.raises(NotAllowed):
        actions.end_role(person, grant=RoleGrant.objects.filter(role="operator")[0], reason="I would like to")
    with pytest.raises(NotAllowed):
        actions.add_person(person, email="friend@example.kr", name="a friend")


def test_a_role_needs_a_reason_and_a_thing_that_exists() -> None:
    operator, person = make.operator(), make.person()
    for wrong, field in [
        ({"reason": "  "}, "reason"),
        ({"role": "king"}, "role"),
        ({"scope": "program", "scope_id": 999}, "scope"),
        ({"scope": "galaxy"}, "scope"),
        ({"scope_id": 1}, "scope"),
        ({"role": "operator", "scope": "program", "scope_id": 1}, "scope"),
    ]:
        facts = {"role": "officer", "reason": "because", **wrong}
        with pytest.raises(Refused) as refused:
            actions.give_role(operator, person=person, **facts)
        assert refused.value.field == field
    assert RoleGrant.objects.filter(person=person).count() == 0


def test_a_second_click_gives_no_second_role() -> None:
    operator, person = make.operator(), make.person()
    actions.give_role(operator, person=person, role="officer", reason="order 7")
    with pytest.raises(Stale):
        actions.give_role(operator, person=person, role="officer", reason="order 7")
    assert RoleGrant.objects.filter(person=person).count() == 1


def test_the_last_operator_stays() -> None:
    operator = make.operator()
    grant = RoleGrant.objects.get(person=operator)
    with pytest.raises(Refused):
        actions.end_role(operator, grant=grant, reason="leaving")
    make.staff(Role.OPERATOR)
    actions.end_role(operator, grant=grant, reason="leaving")
    assert not access_of(operator).holds(Role.OPERATOR)
    with pytest.raises(Stale):
        actions.end_role(make.operator(), grant=grant, reason="again")


def test_a_role_over_one_thing_is_none_over_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scopes._known, "program", lambda: {7: "Program 7", 8: "Program 8"})
    officer = make.officer("program", 7)
    access = access_of(officer)
    assert [access.holds("officer", program=7), access.holds("officer", program=8), access.holds("officer")] == [
        True,
        False,
        False,
    ]


def test_an_e_mail_has_one_account_however_it_is_written() -> None:
    actions.add_person(make.operator(), email="A@example.kr", name="하나")
    with pytest.raises(Refused) as refused:
        actions.add_person(make.operator(), email=" a@EXAMPLE.kr", name="둘")
    assert refused.value.field == "email"
    assert Person.objects.filter(email__iexact="a@example.kr").count() == 1
