"""Letters come from Madang, not from the name of a host."""

from __future__ import annotations

import pytest
from django.core import mail
from django.test import Client

pytestmark = pytest.mark.django_db


def test_the_letter_with_the_code_names_the_site_and_not_its_host(client: Client) -> None:
    filled = {"email": "new@company.example", "name": "새사람", "password1": "마당에서-만나요-2026", "password2": ""}
    client.post("/accounts/signup/", filled)
    (letter,) = mail.outbox
    assert "마당" in letter.body
    assert "testserver" not in letter.body + letter.subject
