"""Single bad inputs that people really send: each gets a message at its place, and nothing is half done."""

from __future__ import annotations

import json
import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings

from madang.calls.models import Application, Call, Document, Submission
from madang.grants.models import Grant
from madang.identity.models import Invitation, Organization
from madang.identity.tests import make as people
from madang.jobs.models import Job
from madang.outcomes.models import Evidence, Outcome
from madang.workflow.moment import now
from tests.addresses import plausible
from tests.asking import Visitor, rows_now
from tests.forms_seen import forms_of
from tests.world import World, zip_of_zips

pytestmark = [pytest.mark.xdist_group("stories")]
ESCAPES = ("../../x.pdf", "/etc/passwd", "..\\..\\x.pdf", "a/../../b.pdf", "....//x", "C:\\x.pdf")


def stored_files() -> list[str]:
    root = Path(settings.MEDIA_ROOT)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def outside_files() -> set[str]:
    """What lies beside the folder of files, where an escaped one would be."""
    return set(os.listdir(Path(settings.MEDIA_ROOT).parent))


def report_of(world: World, **changed: Any) -> dict[str, Any]:
    known = plausible(world.a)
    names = ("kind", "amount", "occurred_on", "title", "text", "share_percent")
    return {**{name: known[name] for name in names}, **changed}


def edit_page(world: World) -> str:
    return f"/applications/{world.a.draft.pk}/edit/"


def filled(world: World, visitor: Visitor, **changed: Any) -> dict[str, Any]:
    """What the draft's page would send."""
    page = edit_page(world)
    form = next(form for form in forms_of(page, visitor.ask("GET", page).body) if "saves" in form.fields)
    data = form.filled(plausible(world.a))
    return {**{name: value for name, value in data.items() if name != "do"}, **changed}


# --- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["שלום עולם", "이름 🎉🚀", "مرحبا", "Zoë O’Neil-Łukasz", "𠮷野家"])
def test_names_of_every_script_and_emoji_are_welcome(fresh: World, name: str) -> None:
    lead = Visitor(fresh.a.lead)
    assert lead.ask("POST", "/people/me/", {"name": name}).status == 302
    fresh.a.lead.refresh_from_db()
    assert fresh.a.lead.name == name
    answer = lead.ask("POST", edit_page(fresh), filled(fresh, lead, title=name))
    assert answer.status == 302
    assert Application.objects.get(pk=fresh.a.draft.pk).draft_title == name
    token = fresh.tokens["tenant"]
    body = {"uuid": str(uuid.uuid4()), "allocation": fresh.a.allocation.pk, "name": name, "gpus": 1, "limit_s": 60}
    answer = api(token, "/api/v1/compute/jobs", {**body, "script": "#!/bin/sh\necho\n"})
    assert (answer.status, json.loads(answer.body)["name"]) == (201, name)
    assert name in lead.ask("GET", f"/compute/jobs/{body['uuid']}/").body


@pytest.mark.parametrize(
    "name", ["one\ntwo", "one\r\ntwo", "tab\there", "nul\x00", "turned\u202e", "mark\u200f", "x" * 81]
)
def test_a_job_with_an_impossible_name_is_refused_at_its_name(fresh: World, name: str) -> None:
    visitor = Visitor(fresh.a.lead)
    before = rows_now()
    body = {"uuid": str(uuid.uuid4()), "allocation": fresh.a.allocation.pk, "gpus": 1, "limit_s": 60, "name": name}
    answer = api(fresh.tokens["tenant"], "/api/v1/compute/jobs", {**body, "script": "#!/bin/sh\necho\n"})
    assert (answer.status, json.loads(answer.body)["where"]) == (422, ["name"])
    answer = visitor.ask("POST", "/compute/jobs/new/", {**body, "limit_s": 1, "script": "#!/bin/sh\necho\n"})
    if "\t" in name or "\n" in name or "\r" in name:  # a browser sends no line breaks from a one-line input
        assert answer.status in (302, 422)
        assert not Job.objects.filter(name__contains="\n").exists()
    else:
        assert answer.status == 422
        assert 'aria-invalid="true"' in answer.body
        assert rows_now() == before


def api(token: str, path: str, data: Any, method: str = "POST", kind: str = "application/json") -> Any:
    body = json.dumps(data) if kind == "application/json" else data
    return Visitor().ask(method, path, body, kind, headers={"Authorization": f"Bearer {token}"})


# --- the clock, the double click, the page that is out of date -------------------------------------------


def test_a_closed_call_takes_no_application_and_says_when_it_closed(fresh: World) -> None:
    visitor, rival = Visitor(fresh.a.lead), Visitor(fresh.b.lead)
    data = filled(fresh, visitor, title="zu spät")
    Call.objects.filter(pk=fresh.a.open_call.pk).update(closes_at=now() - timedelta(seconds=1))
    before = rows_now()
    page = visitor.ask("POST", edit_page(fresh), data)
    assert page.status in (302, 409, 422)
    sent = [visitor.ask("POST", f"/applications/{fresh.a.draft.pk}/", {"do": verb}) for verb in ("submit", "")]
    answer = api(fresh.tokens["tenant"], f"/api/v1/calls/applications/{fresh.a.draft.pk}/submit", {})
    assert answer.status == 422
    assert "20" in json.loads(answer.body)["title"]
    assert [answer.status < 500 for answer in sent] == [True, True]
    other = rival.ask("POST", f"/calls/{fresh.a.open_call.code}/apply/", plausible(fresh.b))
    assert other.status < 500
    assert rows_now() == before


def test_a_stale_page_overwrites_nothing(fresh: World) -> None:
    visitor = Visitor(fresh.a.lead)
    data = filled(fresh, visitor, title="first")
    assert visitor.ask("POST", edit_page(fresh), data).status == 302
    answer = visitor.ask("POST", edit_page(fresh), {**data, "title": "second"})
    assert answer.status == 409
    assert Application.objects.get(pk=fresh.a.draft.pk).draft_title == "first"
    answer = api(
        fresh.tokens["tenant"],
        f"/api/v1/calls/applications/{fresh.a.draft.pk}",
        {"title": "third", "saves": data["saves"] if isinstance(data["saves"], int) else int(data["saves"])},
        "PATCH",
    )
    assert answer.status == 409
    assert Application.objects.get(pk=fresh.a.draft.pk).draft_title == "first"


def test_a_job_is_submitted_once_however_often_the_button_is_pressed(fresh: World) -> None:
    visitor = Visitor(fresh.a.lead)
    page = "/compute/jobs/new/"
    (form,) = [form for form in forms_of(page, visitor.ask("GET", page).body) if "script" in form.fields]
    data = form.filled(plausible(fresh.a))
    before = Job.objects.count()
    first, second = (visitor.ask("POST", page, data) for _ in range(2))
    assert (first.status, second.status) == (302, 302)
    assert first.response["Location"] == second.response["Location"]
    assert Job.objects.count() == before + 1
    other = visitor.ask("POST", page, {**data, "name": "another"})
    assert other.status in (409, 422)
    assert Job.objects.count() == before + 1


def test_an_application_is_submitted_once_however_often_the_button_is_pressed(fresh: World) -> None:
    visitor, before = Visitor(fresh.a.lead), Submission.objects.count()
    token = fresh.tokens["tenant"]
    path = f"/api/v1/calls/applications/{fresh.a.draft.pk}/submit"
    first, second = (api(token, path, {}) for _ in range(2))
    assert (first.status < 300, second.status < 300) == (True, True)
    page = f"/applications/{fresh.a.draft.pk}/"
    for form in forms_of(page, visitor.ask("GET", page).body):
        for name, value in form.buttons:
            if value == "submit":
                assert visitor.ask("POST", form.action, {**form.filled({}), name: value}).status < 400
    assert Submission.objects.count() == before + 1


def test_an_agreement_is_accepted_once_however_often_the_button_is_pressed(fresh: World) -> None:
    visitor, grant = Visitor(fresh.a.lead), fresh.a.offered
    page = f"/grants/{grant.number}/agreement/"
    form = next(f for f in forms_of(page, visitor.ask("GET", page).body) if "version" in f.fields)
    data = {**form.filled(plausible(fresh.a)), "agree": "on", "agreed": "on", "accept": "on"}
    first = visitor.ask("POST", form.action, data)
    assert first.status == 302, first.body[:2000]
    after = rows_now()
    assert visitor.ask("POST", form.action, data).status in (302, 409)
    assert rows_now() == after
    assert Grant.objects.get(pk=grant.pk).state == "active"


def test_an_organization_and_an_invitation_are_made_once(fresh: World) -> None:
    visitor = Visitor(fresh.stranger)
    data = {**plausible(fresh.a), "kind": "sme", "business_number": people.business_number()}
    first, second = (visitor.ask("POST", "/organization/new/", data) for _ in range(2))
    assert (first.status, second.status) == (302, 422)
    organization = Organization.objects.get(business_number=data["business_number"])
    path = f"/organization/{organization.pk}/invite/"
    first, second = (visitor.ask("POST", path, {"email": "new@example.kr", "role": "member"}) for _ in range(2))
    assert (first.status, second.status) == (302, 422)
    assert Invitation.objects.filter(organization=organization).count() == 1


def test_an_outcome_is_reported_once_however_often_the_button_is_pressed(fresh: World) -> None:
    visitor, before = Visitor(fresh.a.lead), Outcome.objects.count()
    page = f"/outcomes/report/{fresh.a.grant.number}/"
    form = next(f for f in forms_of(page, visitor.ask("GET", page).body) if "title" in f.fields)
    for _ in range(2):
        files = {"evidence": SimpleUploadedFile("hire.pdf", b"proof")}
        answer = visitor.ask("POST", page, {**form.filled(plausible(fresh.a)), **report_of(fresh), **files})
        assert answer.status in (302, 409, 422)
    assert Outcome.objects.count() == before + 1


# --- files -----------------------------------------------------------------------------------------------


def test_a_file_that_is_too_large_is_refused_at_its_field_and_leaves_nothing(fresh: World) -> None:
    visitor, big = Visitor(fresh.a.lead), b"x" * 5000
    data = filled(fresh, visitor, title="with a large file")
    before, files = rows_now(), stored_files()
    with override_settings(UPLOAD_LIMIT_BYTES=1000):
        attempts = {
            "application": visitor.ask("POST", edit_page(fresh), {**data, "q-plan": SimpleUploadedFile("b.pdf", big)}),
            "outcome": visitor.ask(
                "POST",
                f"/outcomes/report/{fresh.a.grant.number}/",
                {**report_of(fresh), "evidence": SimpleUploadedFile("b.pdf", big)},
            ),
            "job": visitor.ask(
                "POST",
                "/compute/jobs/new/",
                {
                    "uuid": str(uuid.uuid4()),
                    "allocation": fresh.a.allocation.pk,
                    "gpus": 1,
                    "limit_s": 1,
                    "name": "large",
                    "file": SimpleUploadedFile("b.sh", b"#!/bin/sh\n" + big),
                },
            ),
            "api document": api_upload(
                fresh, f"/api/v1/calls/applications/{fresh.a.draft.pk}/documents/plan", {"file": big}
            ),
            "api outcome": api_upload(
                fresh, f"/api/v1/outcomes/report/{fresh.a.grant.number}", {**report_of(fresh), "evidence": big}
            ),
        }
    assert {name: answer.status for name, answer in attempts.items()} == dict.fromkeys(attempts, 422)
    assert all('aria-invalid="true"' in attempts[name].body for name in ("application", "outcome", "job"))
    assert (rows_now(), stored_files()) == (before, files)


def api_upload(world: World, path: str, data: dict[str, Any], name: str = "file.pdf") -> Any:
    given = {key: SimpleUploadedFile(name, value) if isinstance(value, bytes) else value for key, value in data.items()}
    return Visitor().ask("POST", path, given, headers={"Authorization": f"Bearer {world.tokens['tenant']}"})


def test_a_zip_of_zips_is_kept_as_it_is_and_never_unpacked(fresh: World) -> None:
    visitor, bomb = Visitor(fresh.a.lead), zip_of_zips()
    before = set(stored_files())
    data = filled(fresh, visitor)
    assert visitor.ask("POST", edit_page(fresh), {**data, "q-plan": SimpleUploadedFile("z.zip", bomb)}).status == 302
    answer = visitor.ask(
        "POST",
        f"/outcomes/report/{fresh.a.grant.number}/",
        {**report_of(fresh), "evidence": SimpleUploadedFile("z.zip", bomb, "application/zip")},
    )
    assert answer.status == 302
    document = Document.objects.filter(application=fresh.a.draft).latest("pk")
    evidence = Evidence.objects.latest("pk")
    assert [document.file.read(), evidence.file.read()] == [bomb, bomb]
    new = set(stored_files()) - before
    assert len(new) == 2, new


@pytest.mark.parametrize("name", ESCAPES)
def test_the_name_of_a_file_leads_nowhere(fresh: World, name: str) -> None:
    visitor, around = Visitor(fresh.a.lead), outside_files()
    for path, field in (
        (edit_page(fresh), "q-plan"),
        (f"/outcomes/report/{fresh.a.grant.number}/", "evidence"),
        (f"/api/v1/calls/applications/{fresh.a.draft.pk}/documents/plan", "file"),
        (f"/api/v1/outcomes/report/{fresh.a.grant.number}", "evidence"),
    ):
        data = filled(fresh, visitor) if field == "q-plan" else report_of(fresh) if field == "evidence" else {}
        answer = visitor.ask("POST", path, *raw_upload(data, field, name, f"%PDF-{path}{name}".encode()))
        assert answer.status < 500, (path, answer.error)
    for row in [*Document.objects.all(), *Evidence.objects.all()]:
        assert not {"/", "\\", "\0"} & set(row.name)
        assert Path(row.file.path).resolve().is_relative_to(Path(settings.MEDIA_ROOT).resolve())
    assert outside_files() == around


def raw_upload(data: dict[str, Any], field: str, name: str, content: bytes) -> tuple[bytes, str]:
    """A multipart body as no browser would write it: the name of the file is sent as it is."""
    parts = [
        f'--yard\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in data.items()
    ]
    head = f'--yard\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return b"".join([*parts, head.encode(), content, b"\r\n--yard--\r\n"]), "multipart/form-data; boundary=yard"


def test_a_path_to_a_file_of_a_job_leads_nowhere_else(fresh: World) -> None:
    visitor, job = Visitor(fresh.a.lead), fresh.a.job
    work = Path(settings.RUNS_ROOT) / job.engine / str(job.uuid) / "0" / "1" / "work"
    (work / "link").symlink_to("/etc/passwd")
    (work / "up").symlink_to("/etc")
    asked = ["../out.log", "%2e%2e/out.log", "..%2fout.log", "/etc/passwd", "//etc/passwd", "a/../../out.log", "link",
             "up/passwd", "..\\out.log", ".", "..", "%00", "result.txt%00.png", "x" * 3000, "result.txt/x"]  # fmt: skip
    for base in (f"/compute/jobs/{job.uuid}/files/", f"/api/v1/compute/jobs/{job.uuid}/files/"):
        assert visitor.ask("GET", f"{base}result.txt").status == 200
        for path in asked:
            answer = visitor.ask("GET", base + path)
            assert answer.status in (400, 404), (base + path, answer.status, answer.error)
            assert "root:" not in answer.body
