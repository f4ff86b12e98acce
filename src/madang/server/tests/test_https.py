"""Behind a proxy that speaks HTTPS: what the site says in cookies and headers, and whom it believes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from madang.server.home import Home
from madang.server.up import Database, environment

ASKED = """
import json, django
django.setup()
from django.conf import settings as said
from django.test import RequestFactory
believed = [RequestFactory().get("/", headers={"X-Forwarded-Proto": word}).is_secure() for word in ("https", "http")]
from allauth.account.adapter import get_adapter
asked = RequestFactory().get("/", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"})
address = get_adapter().get_client_ip(asked)
cookies = [said.SESSION_COOKIE_SECURE, said.CSRF_COOKIE_SECURE]
print(json.dumps([*cookies, said.SESSION_COOKIE_HTTPONLY, said.SECURE_HSTS_SECONDS > 0, believed, address]))
"""


def site(home: Path, url: str) -> list[Any]:
    """Of a site of this address: are the cookies of login and forms for HTTPS alone, is the first out of reach of
    scripts, is HSTS sent, is the word of a proxy believed that says https, or http, and who is limited in its attempts
    to log in."""
    env = environment(Home(home), Database("postgresql://x", "postgresql://y"), MADANG_URL=url)
    done = subprocess.run([sys.executable, "-c", ASKED], env=env, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://madang.example", [True, True, True, True, [True, False], "203.0.113.7"]),
        ("http://localhost:8000", [False, False, True, False, [False, False], "127.0.0.1"]),
    ],
)
def test_cookies_are_for_https_alone_and_the_proxy_is_believed_where_the_address_says_so(tmp_path, url, said):
    assert site(tmp_path, url) == said
