"""For stewards: what is lent of their resources. No agreement, no price, no person."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from madang.grants import actions, queries
from madang.grants.forms import ReasonForm
from madang.grants.models import AllocationState, GrantState
from madang.grants.views import _after, _next
from madang.identity.access import me


@login_required
@require_safe
def lent(request: HttpRequest) -> HttpResponse:
    """The allocations of the resources that one is a steward of, with pause and resume."""
    page = queries.allocations_lent(me(request), after=_after(request))
    rows = [
        (
            row,
            ReasonForm(auto_id=f"%s-{row.pk}")
            if row.grant.state == GrantState.ACTIVE and row.state in (AllocationState.OPEN, AllocationState.PAUSED)
            else None,
        )
        for row in page.rows
    ]
    return render(request, "grants/steward.html", {"rows": rows, "next": _next(request, page.after)})


@login_required
@require_POST
def pause(request: HttpRequest, allocation: int) -> HttpResponse:
    return _verb(request, allocation, pausing=True)


@login_required
@require_POST
def resume(request: HttpRequest, allocation: int) -> HttpResponse:
    return _verb(request, allocation, pausing=False)


def _verb(request: HttpRequest, allocation: int, *, pausing: bool) -> HttpResponse:
    row = queries.allocation_lent(me(request), allocation)
    form = ReasonForm(request.POST)
    if form.is_valid():
        with form.refusals():
            verb = actions.pause_allocation if pausing else actions.resume_allocation
            verb(me(request), allocation=row, reason=form.cleaned_data["reason"])
            messages.success(request, _("The allocation is paused.") if pausing else _("The allocation is resumed."))
            return redirect("grants:steward")
    title = _("Pause this allocation") if pausing else _("Resume this allocation")
    return render(request, "grants/steward_reason.html", {"row": row, "form": form, "title": title}, status=422)
