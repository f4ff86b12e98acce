"""The story of a call through the API: the same verbs, typed, with errors that name the input."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from madang.calls import actions
from madang.calls.models import Application, Submission
from madang.calls.tests import make
from madang.calls.when import seoul
from madang.catalog.tests import make as catalog
from madang.identity import actions as identity_actions
from madang.identity.access import forget
from madang.identity.models import Person
from madang.identity.tests import make as identity
from madang.programs.tests import make as programs
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
V1 = "/api/v1/calls"


class Asker:
    """Somebody who uses the API with a token."""

    def __init__(self, person: Person) -> None:
        _row, token = identity_actions.make_token(person, name="test", days=1)
        self.client = Client(headers={"authorization": f"Bearer {token}"})

    def get(self, path: str, status: int = 200) -> Any:
        return self.asked("get", path, None, status)

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        return self.asked("post", path, body, status)

    def put(self, path: str, body: Any, status: int = 200) -> Any:
        return self.asked("put", path, body, status)

    def patch(self, path: str, body: Any, status: int = 200) -> Any:
        return self.asked("patch", path, body, status)

    def asked(self, verb: str, path: str, body: Any, status: int) -> Any:
        more = {} if verb == "get" else {"data": json.dumps(body), "content_type": "application/json"}
        answer = getattr(self.client, verb)(f"{V1}{path}", **more)
        assert answer.status_code == status, answer.content.decode()
        return answer.json() if answer.content else None


def a_call(officer: Asker) -> dict[str, Any]:
    gpus = catalog.resource()
    moment = now()
    body = {
        "program": programs.program().code,
        "code": "gpu-2030",
        "title_ko": "2030년 컴퓨팅 자원 지원",
        "text_ko": "학습용 GPU를 지원합니다.",
        "opens_at": (moment - timedelta(hours=1)).isoformat(),
        "closes_at": (moment + timedelta(days=1)).isoformat(),
        "use_from": "2030-01-01",
        "use_until": "2030-03-31",
        "budget_krw": 10_000_000,
        "most_awards": 3,
        "reviews_wanted": 1,
    }
    officer.post("/", body, 201)
    lines = [{"resource": gpus.code, "most": 360_000, "total": 3_600_000}]
    officer.put("/gpu-2030/lines", lines)
    officer.put("/gpu-2030/discounts", [{"name_ko": "광주 기업", "percent": 50, "rule": "region", "value": "29"}])
    officer.put("/gpu-2030/criteria", make.CRITERIA)
    rule = {"kind": "organization_kind", "value": ["sme"], "citation_ko": "중소기업"}
    officer.put("/gpu-2030/rules", [rule, {"kind": "document", "value": ["plan"], "citation_ko": "사업계획서"}])
    officer.put("/gpu-2030/form", make.FORM)
    return officer.post("/gpu-2030/publish")


def test_the_story_of_a_call_through_the_api():
    officer = Asker(identity.officer())
    assert a_call(officer)["stage"] == "open"
    shown = Client().get(f"{V1}/").json()["items"]
    assert [(card["call"]["code"], card["stage"]) for card in shown] == [("gpu-2030", "open")]
    assert Client().get(f"{V1}/gpu-2030").json()["form"][3]["shown_if"] == {"field": "partner", "in": [True]}

    organization = identity.organization()
    lead = Asker(identity.lead_of(organization))
    begun = lead.post("/gpu-2030/applications", {"organization": organization.pk}, 201)
    id, line = begun["application"]["id"], begun["lines"][0]["line"]
    assert sorted(begun["missing"]) == ["goal", "lines", "title"]
    draft = {
        "title": "용접 불량 검출",
        "answers": {"goal": "불량을 찾습니다.", "staff": 4},
        "lines": {str(line): {"amount": 180_000, "purpose": "학습"}},
        "saves": begun["saves"],
    }
    saved = lead.patch(f"/applications/{id}", draft)
    assert (saved["missing"], saved["saves"]) == ({}, 1)
    assert lead.patch(f"/applications/{id}", draft, 409)["title"]
    upload = SimpleUploadedFile("사업계획서.pdf", b"%PDF-1.7")
    answer = lead.client.post(f"{V1}/applications/{id}/documents/plan", {"file": upload})
    assert (answer.status_code, answer.json()["name"]) == (201, "사업계획서.pdf")
    receipt = lead.post(f"/applications/{id}/submit", {"saves": 1}, 201)
    assert receipt["number"] == "GPU-2030-0001"
    assert lead.get(f"/submissions/{receipt['id']}")["intact"] is True
    file = officer.client.get(f"{V1}/documents/{answer.json()['id']}")
    assert (b"".join(file.streaming_content), "attachment" in file["content-disposition"]) == (b"%PDF-1.7", True)

    application = Application.objects.select_related("call").get(pk=id)
    make.deadline_passes(application.call)
    late = lead.post(f"/applications/{id}/submit", {}, 422)
    assert seoul(application.call.closes_at) in late["title"]
    assert sorted(item["kind"] for item in officer.get("/queue")["items"]) == ["screen", "start_evaluation"]
    seen = officer.get(f"/applications/{id}/screening")
    assert [rule["answer"] for rule in seen["rules"]] == ["pass", "pass"]
    assert officer.post(f"/applications/{id}/find_eligible", {})["application"]["state"] == "eligible"
    officer.post("/gpu-2030/evaluate")

    reviewer = identity.reviewer()
    officer.post("/gpu-2030/assign")
    asked = Asker(reviewer)
    (row,) = asked.get("/reviews")["items"]
    asked.put(f"/reviews/{row['id']}/draft", {"scores": {"impact": 50}})
    assert asked.post(f"/reviews/{row['id']}", {"scores": {"impact": 50}, "comment": "좋음"}, 422)["where"] == [
        "ability"
    ]
    review = asked.post(f"/reviews/{row['id']}", {"scores": {"impact": 50, "ability": 35}, "comment": "좋음"})
    assert (review["sheets"][0]["total"], review["organization"]) == (85, "")

    asked_line = officer.get(f"/applications/{id}/screening")["lines"][0]["application_line"]
    too_much = {"outcome": "selected", "amounts": {str(asked_line): 180_001}, "reason": "우수"}
    assert officer.post(f"/applications/{id}/decision", too_much, 422)["where"] == [f"line-{asked_line}"]
    some = {**too_much, "amounts": {str(asked_line): 90_000}}
    assert officer.post(f"/applications/{id}/decision", some)["decision"]["rank"] == 1
    sheet = officer.get("/gpu-2030/decisions")
    assert (sheet["can_announce"], sheet["lines"][0]["awarded"], sheet["rows"][0]["standing"]["score"]) == (
        True,
        90_000,
        "85.00",
    )
    assert lead.get(f"/applications/{id}")["decision"] is None


def test_what_is_wrong_is_named_at_the_input():
    officer = Asker(identity.officer())
    a_call(officer)
    assert officer.post("/gpu-2030/publish", status=409)
    body = {"program": "nothing", "code": "x", "title_ko": "x"}
    assert "opens_at" in officer.post("/", body, 422)["where"]
    assert officer.put("/gpu-2030/lines", [{"resource": "nothing", "most": 1, "total": 1}], 422)["where"] == [
        "0.resource"
    ]
    for wrong in ({"title": "NUL\x00"}, {"title": "x" * 201}, {"saves": -1}, {"lines": {"1": {"amount": 2**60}}}):
        lead, application = _a_draft()
        lead.patch(f"/applications/{application.pk}", wrong, 422)
    assert lead.patch(f"/applications/{application.pk}", {"answers": {"goal": 5, "x": 1}}, 422)["where"] == [
        "goal",
        "x",
    ]
    assert lead.patch(f"/applications/{application.pk}", {"lines": {"0": {"amount": 1}}}, 422)["where"] == ["line-0"]
    assert lead.patch(f"/applications/{application.pk}", {"lines": {"h100": {}}}, 422)["where"] == ["line-h100"]


def _a_draft():
    application = make.drafted(make.published().call)
    return Asker(make.lead(application)), application


def test_nobody_reaches_what_belongs_to_somebody_else():
    made = make.published()
    application = make.applied(made.call)
    plan = actions.add_document(make.lead(application), application=application, code="plan", file=make.file())
    actions.submit(make.lead(application), application=application)
    make.eligible(made, application)
    make.reviewed(made, application)
    assignment = application.assignments.order_by("id")[0]
    id, code = application.pk, made.call.code
    submission = Submission.objects.filter(application=application).order_by("id")[0]
    elsewhere = make.published()
    rival = make.applied(elsewhere.call)
    why = {"reason": "x"}
    strangers = [make.lead(rival), identity.officer("program", elsewhere.call.program_id), identity.reviewer()]
    for person in strangers:
        ask = Asker(person)
        for path in (
            f"/applications/{id}",
            f"/applications/{id}/screening",
            f"/applications/{id}/reviewers",
            f"/submissions/{submission.pk}",
            f"/documents/{plan.pk}",
            f"/reviews/{assignment.pk}",
            f"/{code}/manage",
            f"/{code}/applications",
            f"/{code}/decisions",
        ):
            ask.get(path, 404)
        for path, body in (
            (f"/applications/{id}/submit", {}),
            (f"/applications/{id}/withdraw", why),
            (f"/applications/{id}/find_ineligible", why),
            (f"/applications/{id}/assignments", {"reviewer": person.pk}),
            (f"/applications/{id}/decision", {"outcome": "selected", **why}),
            (f"/reviews/{assignment.pk}", {"scores": {}, "comment": "x"}),
            (f"/reviews/{assignment.pk}/recuse", why),
        ):
            ask.post(path, body, 404)
        for path, body in ((f"/{code}/evaluate", None), (f"/{code}/cancel", why), (f"/{code}/assign", None)):
            ask.post(path, body, 403)
    assert [row["application"]["id"] for row in Asker(strangers[0]).get("/applications")["items"]] == [rival.pk]
    application.refresh_from_db()
    assert (application.state, Application.objects.count()) == ("eligible", 2)


def pages(asker: Asker, path: str, *, limit: int) -> list[list[Any]]:
    """All pages of a list, read on by `next`."""
    found, after = [], ""
    while after is not None:
        page = asker.get(f"{path}?limit={limit}" + (f"&after={quote(after)}" if after else ""))
        found.append(page["items"])
        after = page["next"]
    return found


def test_every_list_of_calls_is_read_in_pages_that_go_on_where_they_stopped():
    made = make.published(most_awards=9)
    rows = [make.applied(made.call, hours=1) for _ in range(4)]
    make.eligible(made, *rows)
    lead, reviewer = make.lead(rows[0]), identity.reviewer()
    for row in rows[1:]:
        row.organization.memberships.create(person=lead, role="member")
    assignments = [actions.assign(made.officer, application=row, reviewer=reviewer) for row in rows]
    scores = {"impact": 50, "ability": 30}
    actions.score(reviewer, assignment=assignments[0], scores=scores, comment="좋음")
    for _ in range(4):
        make.draft(program=made.call.program)
    forget(lead)

    applications = pages(Asker(lead), "/applications", limit=2)
    assert [[row["application"]["id"] for row in page] for page in applications] == [
        [rows[3].pk, rows[2].pk],
        [rows[1].pk, rows[0].pk],
    ]
    reviews = pages(Asker(reviewer), "/reviews", limit=3)
    assert [[row["id"] for row in page] for page in reviews] == [
        [assignments[1].pk, assignments[2].pk, assignments[3].pk],
        [assignments[0].pk],
    ]
    queue = pages(Asker(made.officer), "/queue", limit=4)
    whole = Asker(made.officer).get("/queue")
    assert [len(page) for page in queue] == [4, 2]
    assert ([item for page in queue for item in page], whole["next"]) == (whole["items"], None)
    assert {item["kind"] for item in whole["items"]} == {"publish", "assign", "reviews"}


@pytest.mark.parametrize("after", ["x", "~", "1~x", "2025-01-01~1~a", "9" * 80, "9~" + "9" * 70, "-1~-1", "1~2~3~4"])
def test_a_made_up_place_in_a_list_is_harmless(after):
    made = make.published()
    application = make.applied(made.call)
    make.eligible(made, application)
    reviewer = identity.reviewer()
    actions.assign(made.officer, application=application, reviewer=reviewer)
    for person, path in ((make.lead(application), "/applications"), (reviewer, "/reviews"), (made.officer, "/queue")):
        assert set(Asker(person).get(f"{path}?after={quote(after)}")) == {"items", "next"}
        Asker(person).get(f"{path}?limit=0", 422)


def test_without_a_token_only_published_calls_are_read():
    made, hidden = make.published(), make.draft()
    client = Client()
    assert client.get(f"{V1}/{made.call.code}").status_code == 200
    assert client.get(f"{V1}/{hidden.call.code}").status_code == 404
    for path in ("/managed", "/queue", "/applications", "/reviews", f"/{made.call.code}/manage"):
        assert client.get(f"{V1}{path}").status_code == 401
    assert client.post(f"{V1}/", data="{}", content_type="application/json").status_code == 401


@pytest.mark.parametrize(
    "lines",
    [
        {"{line}": "x"},
        {"{line}": []},
        {"{line}": 5},
        {"{line}": None},
        {"{line}": {"amuont": 5}},
        {"{line}": {"amount": "5"}},
        {"{line}": {"amount": True}},
        {"h100": "x"},
        {"h100": {}},
    ],
)
def test_a_line_of_the_wrong_kind_is_refused_and_what_was_asked_stays(lines: dict[str, Any]) -> None:
    lead, draft = _a_draft()
    line = draft.call.lines.all()[0]
    path = f"/applications/{draft.pk}"
    lead.patch(path, {"lines": {str(line.pk): {"amount": 3600, "purpose": "학습"}}})
    sent = {name.replace("{line}", str(line.pk)): value for name, value in lines.items()}
    answer = lead.patch(path, {"lines": sent}, 422)
    assert next(iter(sent)) in str(answer["where"])
    assert list(answer["errors"]) == answer["where"]
    draft.refresh_from_db()
    assert draft.asked[str(line.pk)]["amount"] == 3600
