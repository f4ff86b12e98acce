"""A call lies in our time, whoever makes it: outside of it no page of its officer could be shown."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from madang.calls.models import Call
from madang.calls.tests import make
from madang.calls.tests.test_pages_officer import BASICS
from madang.identity.tests import make as identity
from madang.programs.tests import make as programs

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("year", ["0001", "0026", "1999", "2101", "9999"])
def test_a_call_of_another_age_is_refused_at_its_dates(client: Client, year: str) -> None:
    client.force_login(identity.officer())
    names = ("opens_at", "closes_at", "use_from", "use_until")
    dates = {name: BASICS[name].replace("2027", year) for name in names}
    page = client.post(reverse("calls:new"), {**BASICS, **dates, "program": programs.program().pk})
    assert page.status_code == 422
    assert list(page.context["form"].errors) == list(names)
    assert not Call.objects.exists()


@pytest.mark.parametrize("moment", ["9999-12-31T00:00:00-11:00", "0001-01-01T00:00:00+14:00", "2100-01-02T00:00:00"])
def test_a_change_to_another_age_is_refused_and_nothing_is_kept(client: Client, moment: str) -> None:
    drafted = make.draft()
    client.force_login(drafted.officer)
    change = {"opens_at": moment, "closes_at": moment}
    answer = client.patch(f"/api/v1/calls/{drafted.call.code}", change, content_type="application/json")
    assert (answer.status_code, answer.json()["where"]) == (422, ["opens_at", "closes_at"])
    drafted.call.refresh_from_db()
    assert client.get(reverse("calls:edit-step", args=[drafted.call.code, "basics"])).status_code == 200


@pytest.mark.parametrize("name", ["opens_at", "closes_at", "announces_at"])
@pytest.mark.parametrize("year", [1, 1999, 2101, 9999])
def test_the_database_keeps_no_call_of_another_age(name: str, year: int) -> None:
    call = make.draft().call
    with pytest.raises(IntegrityError, match="call_"), transaction.atomic():
        Call.objects.filter(pk=call.pk).update(**{name: call.opens_at.replace(year=year, day=2)})
