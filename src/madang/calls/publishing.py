"""What a call must have before it is shown to everybody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Q, Sum
from django.utils.translation import gettext as _

from madang.calls import eligibility
from madang.calls.models import Call, CallLine, CallState, FormVersion, RuleKind
from madang.catalog.models import Resource, ResourceState
from madang.web import amounts
from madang.workflow.errors import Stale

PUBLISHED = (CallState.PUBLISHED, CallState.EVALUATING)


def require_draft(call: Call) -> None:
    if call.state != CallState.DRAFT:
        raise Stale(
            _("This call is “%(state)s”. What was published doesn't change any more.")
            % {"state": CallState(call.state).label}
        )


def lock_resources(lines: Sequence[CallLine]) -> None:
    """Two calls that are published at once must not both take the same capacity."""
    ids = sorted(line.resource_id for line in lines)
    list(Resource.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True))


def problems(call: Call, lines: Sequence[CallLine], moment: datetime) -> dict[str, str]:
    """All that keeps the call from being published, by input. `lines` with their resources."""
    errors: dict[str, str] = {}
    if not call.text_ko.strip():
        errors["text_ko"] = _("The call needs its text.")
    if call.closes_at <= moment:
        errors["closes_at"] = _("The deadline has passed already.")
    if call.announces_at and call.announces_at <= call.closes_at:
        errors["announces_at"] = _("Results come after the deadline.")
    if call.most_awards < 1:
        errors["most_awards"] = _("There is at least one award.")
    if not lines:
        errors["lines"] = _("Name at least one thing that can be asked for.")
    points = sum(criterion.points for criterion in call.criteria.all())
    if points != 100:
        errors["criteria"] = _("The points of all criteria make 100. Now they make %(points)s.") % {"points": points}
    form = form_of(call)
    if not form.fields:
        errors["form"] = _("The form needs at least one question.")
    files = {spec["code"] for spec in form.fields if spec["type"] == "file"}
    for rule in call.rules.all():
        if rule.kind == RuleKind.DOCUMENT and eligibility.value_problem(rule.kind, rule.value, files=files):
            errors["rules"] = _("A rule asks for a file that the form doesn't ask for.")
    free = capacity(call, lines)
    for line in lines:
        if line.resource.state != ResourceState.OPEN:
            errors[f"line-{line.pk}"] = _("%(resource)s isn't lent now.") % {"resource": line.resource.name}
            continue
        left = free[line.resource_id][1]
        if left is not None and line.total > left:
            errors[f"line-{line.pk}"] = _(
                "%(resource)s: %(total)s is more than the %(left)s that are left on the days of use."
            ) % {
                "resource": line.resource.name,
                "total": amounts.used(line.total, line.resource.unit),
                "left": amounts.left(max(left, 0), line.resource.unit),
            }
    return errors


def form_of(call: Call) -> FormVersion:
    """The newest form: the one that is published with the call, and that an application begun now pins."""
    return max(call.forms.all(), key=lambda form: form.number)


def capacity(call: Call, lines: Sequence[CallLine]) -> dict[int, tuple[int | None, int | None]]:
    """resource id → (what it offers on the days of use, what other calls leave of that), in its smallest unit.

    Another call counts with all that it offers, or once its results are out with all that it awarded, when a single day
    of use is common. None where the capacity isn't known. One SQL statement.
    """
    hours = (call.use.upper - call.use.lower).days * 24
    final = Q(asked__award__decision__outcome="selected", asked__award__decision__final_at__isnull=False)
    others = (
        CallLine.objects.filter(resource__in=[line.resource_id for line in lines], call__use__overlap=call.use)
        .filter(call__state__in=[*PUBLISHED, CallState.ANNOUNCED])
        .exclude(call=call.pk)
        .order_by()
        .annotate(awarded=Sum("asked__award__amount", filter=final))
        .values_list("resource_id", "call__state", "total", "awarded")
    )
    taken: dict[int, int] = {}
    for resource, state, total, awarded in others:
        taken[resource] = taken.get(resource, 0) + int((awarded or 0) if state == CallState.ANNOUNCED else total)
    free: dict[int, tuple[int | None, int | None]] = {}
    for line in lines:
        per_hour = line.resource.capacity_per_hour
        whole = None if per_hour is None else per_hour * hours
        free[line.resource_id] = (whole, None if whole is None else whole - taken.get(line.resource_id, 0))
    return free
