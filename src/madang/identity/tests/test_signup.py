"""Sign-up tells nobody who has an account."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.test import Client

from madang.identity.tests import make

pytestmark = pytest.mark.django_db


class Counting(MD5PasswordHasher):
    """A hasher that says how often it worked: that is what takes the time."""

    worked: ClassVar[list[str]] = []

    def encode(self, password: str, salt: Any) -> str:
        self.worked.append(password)
        return super().encode(password, salt)


@pytest.mark.parametrize("password", ["마당에서-만나요-2026", "1234"])
def test_a_known_address_takes_as_long_as_a_new_one(settings, password: str) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.Counting"]
    make.person(email=f"known@{len(password)}.example")
    answers = {}
    for who in ("known", "new"):
        Counting.worked.clear()
        filled = {"email": f"{who}@{len(password)}.example", "name": "새사람", "password1": password}
        answer = Client().post("/accounts/signup/", filled)
        answers[who] = (answer.status_code, answer.headers.get("Location"), Counting.worked.count(password))
    assert answers["known"] == answers["new"]
    assert answers["new"][2] == (password != "1234")
