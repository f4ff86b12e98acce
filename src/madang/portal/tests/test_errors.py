from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.utils import translation

pytestmark = pytest.mark.django_db


def test_who_tries_too_often_gets_a_page_with_a_way_back():
    request = RequestFactory().get("/accounts/login/")
    request.user = AnonymousUser()
    with translation.override("ko"):
        page = render_to_string("429.html", request=request)
    assert "시도 횟수가 너무 많습니다" in page
    assert 'href="/accounts/login/"' in page


def test_a_failed_login_says_that_nobody_is_logged_in():
    page = Client(headers={"accept-language": "ko"}).post(
        "/accounts/login/", {"login": "nobody@example.kr", "password": "wrong"}
    )
    assert "로그인하지 못했습니다" in page.text
    assert "저장되지 않았습니다" not in page.text
