"""Reviews, by those they are assigned to."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from madang.calls import actions, queries
from madang.calls.api import shapes
from madang.calls.api.applications import After, Id, Limit
from madang.identity.access import me
from madang.web.api import PROBLEMS

router = Router()


@router.get("/reviews", response={200: shapes.ReviewRowsOut} | PROBLEMS, summary="What is assigned to you")
def reviews(request: HttpRequest, after: After = None, limit: Limit = 50) -> Any:
    return queries.review_queue(me(request), after=after, limit=limit)


@router.get("/reviews/{id}", response={200: shapes.ReviewOut} | PROBLEMS, summary="One review")
def review(request: HttpRequest, id: Id) -> Any:
    return queries.review(me(request), id)


@router.put("/reviews/{id}/draft", response={200: shapes.ReviewOut} | PROBLEMS, summary="Keep unfinished scores")
def save_scores(request: HttpRequest, id: Id, body: shapes.ScoresIn) -> Any:
    actions.save_scores(me(request), assignment=queries.assignment_row(me(request), id), **body.dict())
    return queries.review(me(request), id)


@router.post("/reviews/{id}", response={200: shapes.ReviewOut} | PROBLEMS, summary="Hand in the scores")
def score(request: HttpRequest, id: Id, body: shapes.ScoresIn) -> Any:
    """Handed in again it is a correction; the earlier sheet stays."""
    actions.score(me(request), assignment=queries.assignment_row(me(request), id), **body.dict())
    return queries.review(me(request), id)


@router.post("/reviews/{id}/recuse", response={204: None} | PROBLEMS, summary="Step back; somebody else takes over")
def recuse(request: HttpRequest, id: Id, body: shapes.Reason) -> Any:
    actions.recuse(me(request), assignment=queries.assignment_row(me(request), id), reason=body.reason)
    return Status(204, None)
