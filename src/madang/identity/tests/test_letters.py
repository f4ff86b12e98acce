"""What the letters about accounts say: short, in Korean and English, from Madang and not from the name of a host."""

from __future__ import annotations

import pytest
from django.core import mail
from django.test import Client

from madang.identity import actions
from madang.identity.tests import make
from madang.web.tests.worker import work

pytestmark = pytest.mark.django_db


def sent() -> str:
    """The one letter: its subject and its text."""
    (letter,) = mail.outbox
    text = f"{letter.subject}\n{letter.body}"
    assert letter.subject.startswith("[마당] ")
    assert "마당" in letter.body
    assert "Madang" in letter.body
    assert "example.com" not in text
    mail.outbox.clear()
    return text


def test_the_code_of_who_signs_up_stands_alone_on_its_line(client: Client) -> None:
    filled = {"email": "new@company.example", "name": "새사람", "password1": "마당에서-만나요-2026", "password2": ""}
    client.post("/accounts/signup/", filled)
    text = sent()
    assert "이메일 주소 인증" in text
    assert "testserver" not in text


def test_who_signs_up_twice_is_told_by_letter_alone(client: Client) -> None:
    make.person(email="known@company.example")
    filled = {"email": "known@company.example", "name": "사람", "password1": "마당에서-만나요-2026", "password2": ""}
    client.post("/accounts/signup/", filled)
    assert "이미 계정이 있습니다" in sent()


def test_a_new_password_is_chosen_through_a_letter_and_a_stranger_is_told_to_sign_up(client: Client) -> None:
    actions.joined(email="known@company.example", name="아는 사람", password="마당에서-만나요-2026")
    client.post("/accounts/password/reset/", {"email": "known@company.example"})
    assert "/accounts/password/reset/key/" in sent()
    client.post("/accounts/password/reset/", {"email": "stranger@company.example"})
    assert "/accounts/signup/" in sent()


@pytest.mark.django_db(transaction=True)
def test_who_is_added_by_the_operator_is_told_where_to_choose_a_password_and_log_in() -> None:
    actions.add_person(make.operator(), email="new@agency.example", name="새 담당자")
    work()
    text = sent()
    assert "/accounts/password/reset/" in text
    assert "/accounts/login/" in text
