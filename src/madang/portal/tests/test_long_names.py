"""A long name, as people give to jobs and files, takes no room from what stands beside it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from madang.facilities.compute import actions
from madang.facilities.compute.tests import make
from madang.jobs.tests import make as jobs

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LONG = "experiment_" * 7


def test_beside_a_long_name_every_column_of_a_table_is_in_sight(page: Any, live_server: Any) -> None:
    row = make.allocation()
    holder = jobs.holder(row)
    make.job(row, name=LONG)
    actions.add_file(holder, grant=row.grant, path="한" * 84, content=io.BytesIO(b"x"), size=1)
    client = Client()
    client.force_login(holder)
    session = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    page.set_viewport_size({"width": 1280, "height": 900})
    for name in ("compute:jobs", "compute:files"):
        page.goto(live_server.url + reverse(name))
        hidden = page.locator(".table-scroll").first.evaluate("table => table.scrollWidth - table.clientWidth")
        assert (name, hidden) == (name, 0)


def test_on_a_phone_the_state_of_a_job_stands_below_its_name(page: Any, live_server: Any) -> None:
    row = make.allocation()
    make.job(row, name=LONG)
    client = Client()
    client.force_login(jobs.holder(row))
    session = client.cookies["sessionid"].value
    kept = {"sessionid": session, "django_language": "en"}
    page.context.add_cookies([{"name": name, "value": kept[name], "url": live_server.url} for name in kept])
    for width, place in ((390, "th"), (1280, "td")):
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(live_server.url + reverse("compute:jobs"))
        shown = page.locator("tbody .badge:visible")
        box = shown.bounding_box()
        assert (shown.text_content(), shown.locator(f"xpath=ancestor::{place}").count()) == ("accepted", 1)
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
