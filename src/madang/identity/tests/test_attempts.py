"""How often one may try to log in: counted once for the site, whichever of its processes answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from madang.identity.tests import make

pytestmark = pytest.mark.django_db(transaction=True)
TRIED = """
import json, sys, django
django.setup()
from madang.identity.tests.test_attempts import tried
print(json.dumps([tried(sys.argv[1]) for _each in range(4)]))
"""


@pytest.fixture(autouse=True)
def _of_nobody_else() -> Iterator[None]:
    """All tests come from one address, which has its limit too."""
    cache.clear()
    yield
    cache.clear()


def tried(email: str, password: str = "guessed") -> bool:
    """Whether the site looked at this password, and didn't say that it was tried too often."""
    client = Client(SERVER_NAME="localhost", HTTP_ACCEPT_LANGUAGE="en")
    answer = client.post("/accounts/login/", {"login": email, "password": password})
    return answer.status_code == 302 or "Too many failed login attempts" not in answer.content.decode()


def in_another_process(email: str) -> list[bool]:
    known = connection.settings_dict
    place = known["HOST"] or known["OPTIONS"].get("host", "")
    address = f"postgresql://{known['USER']}@/{known['NAME']}?host={place}"
    env = {**os.environ, "DATABASE_URL": address, "DATABASE_OWNER_URL": address}
    done = subprocess.run([sys.executable, "-c", TRIED, email], env=env, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return list(json.loads(done.stdout))


def test_who_guesses_a_password_at_two_processes_has_no_more_attempts_than_at_one():
    person, other = make.person(), make.person()
    assert in_another_process(person.email) + in_another_process(person.email) == [True] * 5 + [False] * 3
    assert (tried(person.email), tried(other.email)) == (False, True)
