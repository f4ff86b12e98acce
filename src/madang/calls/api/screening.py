"""Applications, by the officers who check and decide them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from madang.calls import actions, queries
from madang.calls.api import shapes
from madang.calls.api.applications import Id
from madang.identity.access import me
from madang.web.api import PROBLEMS

router = Router()
OUT: Any = {200: shapes.OfficerOut} | PROBLEMS


@router.get("/applications/{id}/screening", response=OUT, summary="One that was handed in to your program")
def screening(request: HttpRequest, id: Id) -> Any:
    return queries.application_for_officer(me(request), id)


@router.post("/applications/{id}/check", response=OUT, summary="Ask the machine again")
def check_eligibility(request: HttpRequest, id: Id) -> Any:
    actions.check_eligibility(me(request), application=queries.handed_in(me(request), id))
    return queries.application_for_officer(me(request), id)


@router.post("/applications/{id}/rules/{rule}", response=OUT, summary="Overrule the machine on one rule")
def answer_rule(request: HttpRequest, id: Id, rule: Id, body: shapes.OverruleIn) -> Any:
    application = queries.handed_in(me(request), id)
    actions.answer_rule(me(request), application=application, rule=rule, answer=body.answer, reason=body.reason)
    return queries.application_for_officer(me(request), id)


@router.post("/applications/{id}/find_eligible", response=OUT, summary="Let it through to its review")
def find_eligible(request: HttpRequest, id: Id, body: shapes.FindIn) -> Any:
    actions.find_eligible(me(request), application=queries.handed_in(me(request), id), **body.dict())
    return queries.application_for_officer(me(request), id)


@router.post("/applications/{id}/find_ineligible", response=OUT, summary="It goes no further")
def find_ineligible(request: HttpRequest, id: Id, body: shapes.Reason) -> Any:
    actions.find_ineligible(me(request), application=queries.handed_in(me(request), id), reason=body.reason)
    return queries.application_for_officer(me(request), id)


@router.post("/applications/{id}/supplement", response=OUT, summary="Ask for more")
def request_supplement(request: HttpRequest, id: Id, body: shapes.SupplementIn) -> Any:
    actions.request_supplement(me(request), application=queries.handed_in(me(request), id), **body.dict())
    return queries.application_for_officer(me(request), id)


@router.get(
    "/applications/{id}/reviewers",
    response={200: list[shapes.CandidateOut]} | PROBLEMS,
    summary="Who may be asked to review",
)
def reviewers(request: HttpRequest, id: Id) -> Any:
    return queries.reviewers_for(me(request), id)


@router.post("/applications/{id}/assignments", response=OUT, summary="Assign one reviewer")
def assign(request: HttpRequest, id: Id, body: shapes.AssignIn) -> Any:
    application = queries.handed_in(me(request), id)
    candidates = {candidate.person.pk: candidate.person for candidate in queries.reviewers_for(me(request), id)}
    actions.assign(me(request), application=application, reviewer=candidates.get(body.reviewer))
    return queries.application_for_officer(me(request), id)


@router.post("/applications/{id}/decision", response=OUT, summary="Propose what becomes of it")
def decide(request: HttpRequest, id: Id, body: shapes.DecisionIn) -> Any:
    amounts = None if body.amounts is None else {line_id(line): amount for line, amount in body.amounts.items()}
    actions.decide(
        me(request),
        application=queries.handed_in(me(request), id),
        outcome=body.outcome,
        amounts=amounts,
        reason=body.reason,
    )
    return queries.application_for_officer(me(request), id)


@router.delete("/applications/{id}/decision", response={204: None} | PROBLEMS, summary="Take a proposal back")
def undecide(request: HttpRequest, id: Id) -> Any:
    actions.undecide(me(request), application=queries.handed_in(me(request), id))
    return Status(204, None)


def line_id(written: str) -> int:
    """The id of a line as a key of JSON says it; what is no number is no line, and no line has the id 0."""
    return int(written) if written.isascii() and written.isdigit() else 0
