"""The page of a resource says which calls lend it now."""

from __future__ import annotations

import pytest
from django.test import Client

from madang.calls.tests import make

pytestmark = pytest.mark.django_db


def test_a_resource_names_the_open_calls_that_lend_it_and_no_draft(client: Client) -> None:
    lending, draft = make.published(), make.draft()
    resource = lending.call.lines.first().resource
    page = client.get(f"/catalog/{resource.code}/").content.decode()
    assert lending.call.title_ko in page
    assert draft.call.title_ko not in page


def test_a_closed_call_is_not_offered_any_more(client: Client) -> None:
    lending = make.published()
    resource = lending.call.lines.first().resource
    make.deadline_passes(lending.call)
    assert f"/calls/{lending.call.code}/" not in client.get(f"/catalog/{resource.code}/").content.decode()
