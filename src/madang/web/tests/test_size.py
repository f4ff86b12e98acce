"""What is too large is refused by its announced length, before a byte of it is read."""

from __future__ import annotations

import pytest
from django.test import Client

ELEVEN_GB = str(11 * 1024**3)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/accounts/login/", "/compute/jobs/new/", "/organization/new/", "/outcomes/report/none/"]
)
def test_eleven_gigabytes_get_a_clear_page(client: Client, path: str) -> None:
    answer = client.post(path, data=b"", content_type="multipart/form-data; boundary=x", CONTENT_LENGTH=ELEVEN_GB)
    assert answer.status_code == 413
    assert "50MB" in answer.content.decode()


@pytest.mark.django_db
def test_eleven_gigabytes_get_a_problem_from_the_api(client: Client) -> None:
    answer = client.post("/api/v1/compute/jobs", b"", content_type="application/json", CONTENT_LENGTH=ELEVEN_GB)
    assert (answer.status_code, list(answer.json())) == (413, ["title", "where", "errors"])
