"""One click logs in as the people of a demonstration, and as nobody else."""

from __future__ import annotations

import pytest
from django.core.mail import send_mail
from django.test import Client

from madang.identity.tests import make
from madang.web.templatetags.madang import seoul
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db


def test_who_signed_up_at_a_demonstration_is_neither_listed_nor_logged_in_by_a_click(settings, client: Client) -> None:
    played, visitor = make.person(email="lead@mudeung.example"), make.person(email="visitor@example.kr")
    settings.DEMO, settings.DEMO_PEOPLE = True, [played.email]
    page = client.get("/accounts/login/")
    assert [person["id"] for person in page.context["demo_people"]] == [played.pk]
    assert client.post("/demo-login/", {"person": visitor.pk}).status_code == 404
    assert "_auth_user_id" not in client.session
    assert client.post("/demo-login/", {"person": played.pk}).status_code == 302
    assert client.session["_auth_user_id"] == str(played.pk)


def test_the_letters_of_a_demonstration_are_shown_with_their_time_in_korea(settings, tmp_path, client: Client) -> None:
    settings.DEMO, settings.EMAIL_FILE_PATH = True, tmp_path
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    send_mail("[마당] 초대", "초대합니다.", "마당 <madang@localhost>", ["lead@mudeung.example"])
    page = client.get("/dev/mail/").text
    assert "초대합니다." in page
    assert f"lead@mudeung.example · {seoul(now(), '%Y-%m-%d')}" in page
