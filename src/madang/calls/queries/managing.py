"""Calls as the officers of their programs see them: what is in each, and what waits."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q, QuerySet

from madang.calls import publishing, sums
from madang.calls.models import (
    ApplicationState,
    AssignmentState,
    Call,
    CallState,
    EligibilityAnswer,
    Stage,
)
from madang.calls.publishing import form_of
from madang.calls.queries.public import at_stage, page_of, whole
from madang.calls.queries.shapes import (
    ManagedCall,
    ManagedDetail,
    OfficerRow,
    QueueItem,
    Rows,
    field_views,
    missing,
    rule_views,
)
from madang.calls.when import clock_of
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.workflow.moment import now

_ACTIVE = ~Q(assignments__state=AssignmentState.RECUSED)
_SEEN = ~Q(state=ApplicationState.DRAFT) & Q(receipt__isnull=False)


def their_calls(person: Any) -> QuerySet[Call]:
    """The calls of the programs that the person is an officer of."""
    programs = access_of(person).programs(Role.OFFICER)
    return Call.objects.all() if programs is None else Call.objects.filter(program__in=programs)


def managed_calls(person: Any, *, state: str = "", after: str | None = None, limit: int = 20) -> Rows[ManagedCall]:
    """The person's calls with how many applications stand where; `state` is a state or a stage."""
    moment = now()
    found = their_calls(person).select_related("program")
    if state:
        found = at_stage(found, state, moment)
    page = page_of(found, after, limit)
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    ids = [call.pk for call in page.items]
    applications = Call.objects.filter(pk__in=ids, applications__isnull=False).order_by()
    for id, name, n in applications.values_list("pk", "applications__state").annotate(n=Count("applications")):
        counts[id][name] = n
    return Rows([ManagedCall(call, call.stage(moment), moment, counts[call.pk]) for call in page.items], page.next)


def managed_call(person: Any, code: str) -> ManagedDetail:
    """One call with all that is in it, how far it is, and what can be done with it now."""
    call = whole(code)
    if call is None or not access_of(person).holds(Role.OFFICER, program=call.program_id):
        raise missing()
    moment = clock_of(call)
    stage = call.stage(moment)
    form = form_of(call)
    fields = form.fields
    lines = list(call.lines.all())
    draft = call.state == CallState.DRAFT
    rows = [] if draft else _progress(call)
    counts = {row["state"]: row["n"] for row in rows}
    extensions = [] if draft else list(call.extensions.select_related("organization").order_by("id"))
    for extension in extensions:
        extension.call = call
    eligible = next((row for row in rows if row["state"] == ApplicationState.ELIGIBLE), None)
    return ManagedDetail(
        call=call,
        stage=stage,
        now=moment,
        lines=lines,
        discounts=list(call.discounts.all()),
        criteria=list(call.criteria.all()),
        rules=rule_views(call.rules.all(), fields),
        fields=field_views(fields, {}),
        form=form,
        counts=counts,
        submitted=sum(row["received"] for row in rows),
        reviews_wanted=call.reviews_wanted * sum(row["n"] for row in rows if row["state"] in sums.JUDGED),
        reviews_assigned=sum(row["assigned"] for row in rows if row["state"] in sums.JUDGED),
        reviews_done=sum(row["done"] for row in rows if row["state"] in sums.JUDGED),
        decided=sum(row["decided"] for row in rows if row["state"] in sums.JUDGED),
        verbs=_verbs(call, stage, moment, counts, extensions, eligible),
        problems=publishing.problems(call, lines, moment) if draft else {},
        extensions=extensions,
    )


def calls_applications(
    person: Any, call_code: str, *, state: str = "", search: str = "", after: str | None = None, limit: int = 50
) -> Rows[OfficerRow]:
    """The applications of a call that were handed in, in the order of their receipts. Drafts are nobody else's."""
    call = their_calls(person).filter(code=call_code).first()
    if call is None:
        raise missing()
    found = call.applications.filter(_SEEN).select_related("organization", "decision")
    if state:
        found = found.filter(state=state)
    for word in search.split()[:5]:
        named = Q(title__icontains=word) | Q(organization__name_ko__icontains=word)
        named |= Q(organization__name_en__icontains=word) | Q(organization__business_number=word.replace("-", ""))
        tail = word.rpartition("-")[2]
        if tail.isascii() and tail.isdigit() and len(tail) <= 9:
            named |= Q(receipt=int(tail))
        found = found.filter(named)
    if after and after.isascii() and after.isdigit() and len(after) <= 9:
        found = found.filter(receipt__gt=int(after))
    limit = min(max(limit, 1), 200)
    page: list[Any] = list(
        found.annotate(
            assigned=Count("assignments", filter=_ACTIVE),
            done=Count("assignments", filter=Q(assignments__state=AssignmentState.SCORED)),
        ).order_by("receipt")[: limit + 1]
    )
    answers: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    latest = (
        EligibilityAnswer.objects.filter(application__in=[row.pk for row in page])
        .order_by("application_id", "rule_id", "-id")
        .distinct("application_id", "rule_id")
        .values_list("application_id", "answer")
    )
    for id, answer in latest:
        answers[id][answer] += 1
    standings = sums.standings_of(call) if call.state in (CallState.EVALUATING, CallState.ANNOUNCED) else {}
    rows = []
    for row in page[:limit]:
        row.call = call
        rows.append(
            OfficerRow(
                application=row,
                eligibility=dict(answers[row.pk]),
                reviews_done=row.done,
                reviews_assigned=row.assigned,
                standing=standings.get(row.pk),
                decision=getattr(row, "decision", None),
            )
        )
    return Rows(rows, str(page[limit - 1].receipt) if len(page) > limit else None)


def officer_queue(person: Any, *, after: str | None = None, limit: int = 50) -> Rows[QueueItem]:
    """What waits for the person as an officer, the oldest first. Three SQL statements."""
    moment = now()
    calls = {
        call.pk: call
        for call in their_calls(person)
        .filter(state__in=[CallState.DRAFT, CallState.PUBLISHED, CallState.EVALUATING])
        .select_related("program")
    }
    if not calls:
        return Rows([])
    counts: dict[int, dict[str, Any]] = defaultdict(dict)
    rows = (
        Call.objects.filter(pk__in=calls, applications__receipt__isnull=False)
        .order_by()
        .values("pk", "applications__state")
        .annotate(
            n=Count("applications", distinct=True),
            since=Min("applications__submitted_at"),
            assigned=Count(
                "applications__assignments",
                filter=~Q(applications__assignments__state=AssignmentState.RECUSED),
                distinct=True,
            ),
            done=Count(
                "applications__assignments",
                filter=Q(applications__assignments__state=AssignmentState.SCORED),
                distinct=True,
            ),
            decided=Count("applications__decision", distinct=True),
        )
    )
    for row in rows:
        counts[row["pk"]][row["applications__state"]] = row
    items = [item for call in calls.values() for item in _waiting(call, counts[call.pk], moment)]
    items = sorted(items, key=_place)
    try:
        instant, call, kind = (after or "").split("~")
        place = (datetime.fromisoformat(instant), int(call), kind)
        items = [item for item in items if _place(item) > place]
    except (ValueError, TypeError):
        pass  # no page, or a made-up one: the first
    limit = min(max(limit, 1), 200)
    if len(items) <= limit:
        return Rows(items)
    since, id, what = _place(items[limit - 1])
    return Rows(items[:limit], f"{since.isoformat()}~{id}~{what}")


def _place(item: QueueItem) -> tuple[datetime, int, str]:
    return item.since, item.call.pk, item.kind


def _waiting(call: Any, counts: dict[str, Any], moment: Any) -> list[QueueItem]:
    def item(kind: str, count: int, since: Any) -> QueueItem:
        return QueueItem(kind, call, None, count, since)

    if call.state == CallState.DRAFT:
        return [item("publish", 1, call.made_at)]
    items = []
    closed = call.stage(moment) in (Stage.CLOSED, Stage.EVALUATING)
    submitted, eligible = counts.get(ApplicationState.SUBMITTED), counts.get(ApplicationState.ELIGIBLE)
    if submitted and closed:
        items.append(item("screen", submitted["n"], submitted["since"]))
    if call.stage(moment) == Stage.CLOSED:
        items.append(item("start_evaluation", sum(row["n"] for row in counts.values()), call.closes_at))
    if eligible and closed:
        wanted = eligible["n"] * call.reviews_wanted
        if eligible["assigned"] < wanted:
            items.append(item("assign", wanted - eligible["assigned"], eligible["since"]))
        if eligible["done"] < eligible["assigned"]:
            items.append(item("reviews", eligible["assigned"] - eligible["done"], eligible["since"]))
    if call.state == CallState.EVALUATING:
        undecided = eligible["n"] - eligible["decided"] if eligible else 0
        open_ones = bool(submitted or counts.get(ApplicationState.SUPPLEMENT))
        if undecided and eligible and eligible["done"] >= eligible["n"] * call.reviews_wanted:
            items.append(item("decide", undecided, eligible["since"]))
        if not undecided and not open_ones:
            items.append(item("announce", 1, call.announces_at or call.closes_at))
    return items


def _progress(call: Call) -> list[dict[str, Any]]:
    """By state: how many applications, reviews of them, decisions on them. One SQL statement."""
    rows: Any = call.applications.order_by().values("state")
    progress: Any = rows.annotate(
        n=Count("pk", distinct=True),
        received=Count("pk", filter=Q(receipt__isnull=False), distinct=True),
        assigned=Count("assignments", filter=_ACTIVE, distinct=True),
        done=Count("assignments", filter=Q(assignments__state=AssignmentState.SCORED), distinct=True),
        decided=Count("decision", distinct=True),
    )
    return list(progress)


def _verbs(
    call: Call, stage: Stage, moment: Any, counts: dict[str, int], extensions: list[Any], eligible: Any
) -> list[str]:
    if call.state == CallState.DRAFT:
        return ["publish", "cancel"]
    if call.state == CallState.PUBLISHED:
        over = moment >= max([call.closes_at, *(extension.until for extension in extensions)])
        return ["start_evaluation", "cancel"] if over else ["cancel"]
    if call.state == CallState.EVALUATING:
        waiting = counts.get(ApplicationState.SUBMITTED, 0) + counts.get(ApplicationState.SUPPLEMENT, 0)
        undecided = eligible["n"] - eligible["decided"] if eligible else 0
        return ["announce"] if not waiting and not undecided else []
    return []
