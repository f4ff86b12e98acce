"""How an officer writes a call: step by step, each saved by itself, until it is published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from madang.calls import actions, answers, measure, queries
from madang.calls.forms_call import (
    QUESTION_TYPES,
    CallForm,
    CriterionRow,
    DiscountRow,
    LineRow,
    QuestionRow,
    Rows,
    RuleRow,
)
from madang.calls.models import CallState, DiscountRule, RuleKind
from madang.calls.views import Asked, priced
from madang.catalog.models import Kind, Resource, ResourceState
from madang.identity.access import access_of
from madang.identity.models import Role
from madang.programs.models import Program
from madang.workflow.errors import NotAllowed, Refused

STEPS = {
    "basics": gettext_lazy("Basics"),
    "lines": gettext_lazy("Lines on offer"),
    "discounts": gettext_lazy("Discounts"),
    "form": gettext_lazy("Application form"),
    "criteria": gettext_lazy("Criteria"),
    "rules": gettext_lazy("Eligibility"),
    "preview": gettext_lazy("Check and publish"),
}
STEP_OF = {"lines": "lines", "criteria": "criteria", "form": "form", "rules": "rules", "discounts": "discounts"}


def programs_of(person: Any) -> dict[int, str]:
    """The programs that the person may make calls for: id → name."""
    mine = access_of(person).programs(Role.OFFICER)
    found = Program.objects.order_by("id") if mine is None else Program.objects.filter(pk__in=mine).order_by("id")
    return {program.pk: program.name for program in found}


@login_required
@require_http_methods(["GET", "POST"])
def new(request: Asked) -> HttpResponse:
    if not access_of(request.user).somewhere(Role.OFFICER):
        raise NotAllowed(_("Only an officer of a program can make a call."))
    programs = programs_of(request.user)
    form = CallForm(request.POST if request.method == "POST" else None, programs=programs)
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            data = dict(form.cleaned_data)
            program = Program.objects.get(pk=data.pop("program"))
            call = actions.make_call(request.user, program=program, **data)
            messages.success(request, _("The call is kept as a draft. Nobody else sees it before it is published."))
            return redirect("calls:edit-step", code=call.code, step="lines")
    context = {"form": form, "has_program": bool(programs), "step": "basics", "tabs": tabs(None, "basics", {})}
    return render(request, "calls/new.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "POST"])
def edit(request: Asked, code: str, step: str = "basics") -> HttpResponse:
    view = queries.managed_call(request.user, code)
    if view.call.state != CallState.DRAFT:
        messages.warning(request, _("This call is published. Its text, form and criteria can't be changed any more."))
        return redirect("calls:manage", code=code)
    if step == "preview":
        return redirect("calls:preview", code=code)
    if step not in STEPS:
        return redirect("calls:edit", code=code)
    return basics(request, view) if step == "basics" else rows_page(request, view, step)


def basics(request: Asked, view: Any) -> HttpResponse:
    form = CallForm(
        request.POST if request.method == "POST" else None,
        programs=programs_of(request.user),
        initial=CallForm.of(view.call),
    )
    form.fields["program"].disabled = True  # a call stays in its program
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            data = {name: value for name, value in form.cleaned_data.items() if name != "program"}
            call = actions.edit_call(request.user, call=view.call, **data)
            messages.success(request, _("Saved."))
            return onward(request, call.code, "basics")
    context = {"form": form, **around(view, "basics")}
    return render(request, "calls/edit_basics.html", context, status=422 if form.errors else 200)


def rows_page(request: Asked, view: Any, step: str) -> HttpResponse:
    rows, stored, save = LISTS[step](view)
    verb = request.POST.get("do", "save")
    status = 200
    if request.method == "GET":
        rows.show(stored)
    elif verb in ("save", "next"):
        rows.read(request.POST)
        status = 422
        if rows.is_valid():
            try:
                save(request.user, rows.values())
            except Refused as refused:
                if refused.status in (403, 404, 409):
                    raise
                rows.refuse(refused)
            else:
                messages.success(request, _("Saved."))
                return onward(request, view.call.code, step)
    else:
        rows.rearrange(request.POST, verb)
    context = {
        "rows": rows,
        "kinds": rows.kinds,
        "failed": rows.errors or any(form.errors for form in rows.forms),
        **around(view, step),
    }
    return render(request, "calls/edit_rows.html", context, status=status)


def onward(request: Asked, code: str, step: str) -> HttpResponse:
    if request.POST.get("do") == "next":
        names = list(STEPS)
        step = names[min(names.index(step) + 1, len(names) - 1)]
    return (
        redirect("calls:preview", code=code) if step == "preview" else redirect("calls:edit-step", code=code, step=step)
    )


def lines(view: Any) -> tuple[Rows, list[Any], Callable[..., Any]]:
    call = view.call
    known = {str(row.pk): row for row in Resource.objects.filter(state=ResourceState.OPEN).order_by("kind", "id")}
    known |= {str(line.resource_id): line.resource for line in view.lines}
    kinds = {key: f"{Kind(row.kind).label}: {row.name}" for key, row in known.items()}
    stored = [
        {
            "kind": str(line.resource_id),
            "most": line.most,
            "total": line.total,
            "note_ko": line.note_ko,
            "note_en": line.note_en,
        }
        for line in view.lines
    ]
    return (
        Rows(LineRow, call=call, known=known, kinds=kinds),
        stored,
        lambda person, values: actions.set_lines(person, call=call, lines=values),
    )


def discounts(view: Any) -> tuple[Rows, list[Any], Callable[..., Any]]:
    names = ("name_ko", "name_en", "percent", "value")
    stored = [{"kind": row.rule, **{name: getattr(row, name) for name in names}} for row in view.discounts]
    return (
        Rows(DiscountRow, call=view.call, known={}, kinds=dict(DiscountRule.choices)),
        stored,
        lambda person, values: actions.set_discounts(person, call=view.call, discounts=values),
    )


def criteria(view: Any) -> tuple[Rows, list[Any], Callable[..., Any]]:
    names = ("code", "name_ko", "name_en", "hint_ko", "hint_en", "points", "least")
    stored = [{"kind": "criterion", **{name: getattr(row, name) for name in names}} for row in view.criteria]

    def save(person: Any, values: list[dict[str, Any]]) -> Any:
        taken = {row["code"] for row in values if row["code"]}
        free = (code for number in range(1, 200) if (code := f"criterion-{number}") not in taken)
        rows = [{**row, "code": row["code"] or next(free)} for row in values]
        return actions.set_criteria(person, call=view.call, criteria=rows)

    return Rows(CriterionRow, call=view.call, known={}, kinds={"criterion": _("Criterion")}), stored, save


def rules(view: Any) -> tuple[Rows, list[Any], Callable[..., Any]]:
    specs = view.form.fields if view.form else []
    papers = {spec["code"]: answers.said(spec, "label") for spec in specs if spec["type"] == "file"}
    stored = []
    for each in view.rules:
        rule = each.rule
        value = rule.value[0] if rule.kind == RuleKind.FOUNDED_WITHIN and rule.value else rule.value
        stored.append(
            {"kind": rule.kind, "value": value, "citation_ko": rule.citation_ko, "citation_en": rule.citation_en}
        )
    kinds = {kind: label for kind, label in RuleKind.choices if papers or kind != RuleKind.DOCUMENT}
    return (
        Rows(RuleRow, call=view.call, known=papers, kinds=kinds),
        stored,
        lambda person, values: actions.set_rules(person, call=view.call, rules=values),
    )


def form(view: Any) -> tuple[Rows, list[Any], Callable[..., Any]]:
    specs = view.form.fields if view.form else []

    def save(person: Any, values: list[dict[str, Any]]) -> Any:
        taken = {row["code"] for row in values if row.get("code")}
        free = (code for number in range(1, 200) if (code := f"q{number}") not in taken)
        fields = [row if row.get("code") else {**row, "code": next(free)} for row in values]
        return actions.set_form(person, call=view.call, fields=fields)

    rows = Rows(QuestionRow, call=view.call, known={}, kinds=QUESTION_TYPES)
    return rows, [QuestionRow.of(spec) for spec in specs], save


LISTS = {"lines": lines, "discounts": discounts, "form": form, "criteria": criteria, "rules": rules}


def around(view: Any, step: str) -> dict[str, Any]:
    """What every step shows beside its own form."""
    return {
        "view": view,
        "call": view.call,
        "step": step,
        "step_label": STEPS[step],
        "tabs": tabs(view.call.code, step, view.problems),
    }


def tabs(code: str | None, step: str, problems: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps; each with how much is missing there. Those after the first have no address before the call exists."""
    missing: dict[str, int] = {}
    for key in problems:
        name = step_of(key)
        missing[name] = missing.get(name, 0) + 1
    return [
        {
            "label": label,
            "current": name == step,
            "count": missing.get(name, 0),
            "href": "" if code is None else address(code, name),
        }
        for name, label in STEPS.items()
    ]


def step_of(key: str) -> str:
    return "lines" if key.startswith("line-") else STEP_OF.get(key, "basics")


def address(code: str, step: str) -> str:
    return reverse("calls:preview", args=[code]) if step == "preview" else reverse("calls:edit-step", args=[code, step])


@login_required
@require_http_methods(["GET", "POST"])
def preview(request: Asked, code: str) -> HttpResponse:
    """The call as applicants will see it, and everything that is still missing. Posting publishes it."""
    view = queries.managed_call(request.user, code)
    problems = view.problems
    status = 200
    if request.method == "POST":
        try:
            actions.publish(request.user, call=view.call)
        except Refused as refused:
            if refused.status in (403, 404, 409):
                raise
            problems, status = refused.errors or {"text_ko": refused.message}, 422
        else:
            messages.success(request, _("The call is published. Everybody can read it now."))
            return redirect("calls:manage", code=code)
    if view.call.state != CallState.DRAFT:
        return redirect("calls:manage", code=code)
    context = {
        **around(view, "preview"),
        "problems": [{"text": text, "href": address(code, step_of(key))} for key, text in problems.items()],
        "offers": priced(view.call, view.lines),
        "points": sum(criterion.points for criterion in view.criteria),
        "days": measure.days_of_use(view.call),
        "failed": status == 422,
    }
    return render(request, "calls/preview.html", context, status=status)
