"""Eligibility: the list of applications of a call, and one application as the officer sees it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from madang.calls import actions, queries
from madang.calls.forms import AnswerForm, EligibleForm, ExtensionForm, ReasonForm, SupplementForm
from madang.calls.models import ApplicationState
from madang.calls.progress import heading
from madang.calls.views import Asked, known_id
from madang.web.forms import Form

DRAFTS = (ApplicationState.DRAFT,)
UNTOLD = ("save", "save_scores")
VERBS = {
    "start": gettext_lazy("draft begun"),
    "submit": gettext_lazy("submitted"),
    "withdraw": gettext_lazy("withdrawn"),
    "check_eligibility": gettext_lazy("rules checked"),
    "answer_rule": gettext_lazy("rule answered by a person"),
    "find_eligible": gettext_lazy("found eligible"),
    "find_ineligible": gettext_lazy("found ineligible"),
    "request_supplement": gettext_lazy("supplement requested"),
    "supplement": gettext_lazy("supplement submitted"),
    "assign": gettext_lazy("reviewer assigned"),
    "decide": gettext_lazy("proposal saved"),
    "undecide": gettext_lazy("proposal taken back"),
    "select": gettext_lazy("selected"),
    "put_on_reserve": gettext_lazy("put on the reserve list"),
    "reject": gettext_lazy("not selected"),
    "announce": gettext_lazy("result announced"),
    "remove_document": gettext_lazy("document removed"),
    "read": gettext_lazy("personal data read"),
}


@login_required
@require_safe
def applications(request: Asked, code: str) -> HttpResponse:
    view = heading(request.user, code, counted=True)
    state = request.GET.get("state", "")
    state = state if state in ApplicationState.values and state not in DRAFTS else ""
    search = request.GET.get("search", "")[:100]
    found = queries.calls_applications(
        request.user, code, state=state, search=search, after=request.GET.get("after") or None
    )
    context = {
        "view": view,
        "call": view.call,
        "found": found,
        "state": state,
        "search": search,
        "states": [
            (value, label, view.counts.get(value, 0))
            for value, label in ApplicationState.choices
            if value not in DRAFTS and (view.counts.get(value) or value == state)
        ],
    }
    return render(request, "calls/applications.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def application(request: Asked, id: int) -> HttpResponse:
    """One application: what it says, how each rule is answered, and the verbs that are possible now."""
    view = queries.application_for_officer(request.user, known_id(id))
    verb = request.POST.get("do", "") if request.method == "POST" else ""
    forms = forms_of(view, verb, request.POST)
    if verb == "check":
        actions.check_eligibility(request.user, application=view.application)
        messages.success(request, _("The rules were checked again."))
        return redirect("calls:application-officer", id=view.application.pk)
    form = forms.get(verb) or (forms.get(f"answer-{request.POST.get('rule')}") if verb == "answer" else None)
    if form is not None and form.is_valid():
        with form.refusals():
            messages.success(request, done(request, view, verb, form.cleaned_data))
            return redirect("calls:application-officer", id=view.application.pk)
    context = {
        "view": view,
        "application": view.application,
        "call": view.call,
        "forms": forms,
        "rules": [{"rule": rule, "form": forms[f"answer-{rule.rule.pk}"]} for rule in view.rules],
        "asked_lines": [line for line in view.lines if line.amount],
        "answers": [field for field in view.fields if field.shown],
        "log": [
            {"line": line, "what": VERBS.get(line.verb, line.verb)} for line in view.log if line.verb not in UNTOLD
        ],
        "open_rules": sum(1 for rule in view.rules if rule.answer != "pass"),
    }
    return render(request, "calls/application_officer.html", context, status=422 if form and form.errors else 200)


def forms_of(view: Any, verb: str, data: Any) -> dict[str, Form]:
    """One form for each verb, bound where that verb was posted. Ids differ, since they stand on one page."""

    def given(name: str) -> Any:
        return data if verb == name else None

    forms: dict[str, Form] = {
        "eligible": EligibleForm(
            given("eligible"),
            discounts=[(row.label, row.fact) for row in view.discounts if row.fits],
            auto_id="eligible_%s",
        ),
        "ineligible": ReasonForm(
            given("ineligible"), label=_("Reason, as the applicant will read it"), most=600, auto_id="ineligible_%s"
        ),
        "supplement": SupplementForm(given("supplement"), questions=view.fields, auto_id="supplement_%s"),
        "extend": ExtensionForm(given("extend"), auto_id="extend_%s"),
    }
    for each in view.rules:
        mine = verb == "answer" and data.get("rule") == str(each.rule.pk)
        forms[f"answer-{each.rule.pk}"] = AnswerForm(data if mine else None, auto_id=f"rule_{each.rule.pk}_%s")
    return forms


def done(request: Asked, view: Any, verb: str, said: dict[str, Any]) -> str:
    """Does the verb, and says what was done."""
    person, row = request.user, view.application
    match verb:
        case "eligible":
            confirmed = said.get("discounts_confirmed", True)
            actions.find_eligible(person, application=row, reason=said["reason"], discounts_confirmed=confirmed)
            return _("The application is found eligible.")
        case "ineligible":
            actions.find_ineligible(person, application=row, reason=said["reason"])
            return _("The application is found ineligible.")
        case "supplement":
            actions.request_supplement(
                person, application=row, codes=said["codes"], reason=said["reason"], days=said["days"]
            )
            return _("The supplement is requested. Only what you named can be changed by the applicant.")
        case "extend":
            actions.give_extension(
                person,
                call=view.call,
                organization=view.organization,
                until=said["until"],
                reason=said["reason"],
            )
            return _("The extension is given and logged.")
        case _:
            rule = next(each.rule for each in view.rules if str(each.rule.pk) == request.POST.get("rule"))
            actions.answer_rule(person, application=row, rule=rule, answer=said["answer"], reason=said["reason"])
            return _("Your answer stands in place of the machine's, with your reason.")
