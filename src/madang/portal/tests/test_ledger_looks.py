"""What a machine can check of how the ledger's pages look: axe, overflow, the console."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from madang.grants import actions
from madang.grants.tests import make
from madang.grants.tests.test_ledger_page import month_before
from madang.grants.tests.test_overruns import held, used_beyond
from madang.portal.tests.test_accessible import problems
from madang.workflow.moment import now

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def story() -> make.Story:
    """An overrun of an allocation that closes, a closed month and a sealed day."""
    story = make.granted(overrun="close")
    held(story.compute)
    used_beyond(story.compute)
    actions.close_month(story.officer, month=month_before(), reason="보고를 마쳤습니다.")
    with connection.cursor() as cursor:
        day = now().date() - timedelta(days=2)
        cursor.execute("INSERT INTO ledger_seal VALUES (%s, 5, %s, %s, now())", [day, "a" * 64, "b" * 64])
    return story


def test_the_pages_of_the_ledger_have_no_fault_that_a_machine_finds(
    story: make.Story, page: Any, live_server: Any
) -> None:
    client = Client()
    client.force_login(story.officer)
    session = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    addresses = {
        "ledger": reverse("grants:ledger"),
        "grant": reverse("grants:grant", args=[story.grant.number]),
        "focus": reverse("insight:focus"),
        "month": f"{reverse('insight:focus')}?month=x",
    }
    for language, width in (("ko", 1440), ("en", 390)):
        page.context.add_cookies([{"name": "django_language", "value": language, "url": live_server.url}])
        for name, address in addresses.items():
            found = [what for what in problems(page, live_server.url + address, width) if "status of 422" not in what]
            assert (name, language, found) == (name, language, [])
        page.goto(live_server.url + addresses["ledger"])
        page.locator("details.confirm summary").click()
        page.locator("details.confirm button").click()
        page.wait_for_load_state("networkidle")
        assert page.locator("#id_reason").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
