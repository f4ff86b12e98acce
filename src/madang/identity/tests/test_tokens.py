from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from madang.identity import actions, queries
from madang.identity.models import ApiToken, Person
from madang.identity.tests import make
from madang.identity.tokens import person_of
from madang.workflow.errors import Missing, Refused, Stale

pytestmark = pytest.mark.django_db


def test_a_token_opens_the_door_until_it_is_revoked() -> None:
    person = make.person()
    row, token = actions.make_token(person, name="laptop", days=30)
    assert token.startswith("mdg_")
    assert person_of(token) == person
    actions.revoke_token(person, token=row)
    assert person_of(token) is None
    with pytest.raises(Stale):
        actions.revoke_token(person, token=row)


def test_no_column_anywhere_holds_a_token() -> None:
    _row, token = actions.make_token(make.person(), name="laptop", days=30)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{token[8:]}%"])
            assert (table, cursor.fetchone()[0]) == (table, 0)


def test_a_token_expires_by_the_clock() -> None:
    row, token = actions.make_token(make.person(), name="laptop", days=1)
    ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert person_of(token) is None


def test_a_token_of_a_closed_account_is_worth_nothing() -> None:
    person = make.person()
    _row, token = actions.make_token(person, name="laptop", days=1)
    Person.objects.filter(pk=person.pk).update(is_active=False)
    assert person_of(token) is None


@pytest.mark.parametrize("days", [0, -1, 366, 10**12])
def test_a_token_lives_for_a_day_to_a_year(days: int) -> None:
    with pytest.raises(Refused) as refused:
        actions.make_token(make.person(), name="laptop", days=days)
    assert refused.value.field == "days"


@pytest.mark.parametrize("token", ["", "mdg_", "mdg_guess", "x" * 10_000, "mdg_\x00", "Bearer"])
def test_what_is_no_token_opens_nothing(token: str) -> None:
    actions.make_token(make.person(), name="laptop", days=1)
    assert person_of(token) is None


def test_nobody_sees_or_revokes_the_token_of_another() -> None:
    row, token = actions.make_token(make.person(), name="laptop", days=1)
    for other in (make.person(), make.operator(), make.auditor()):
        with pytest.raises(Missing):
            queries.token(other, row.pk)
        with pytest.raises(Missing):
            actions.revoke_token(other, token=row)
    assert person_of(token) is not None
