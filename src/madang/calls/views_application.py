"""The applicant's pages: the draft, what is missing, submission, receipts, withdrawal, the result."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from madang.calls import actions, queries
from madang.calls.forms import ApplicationForm, ConfirmForm, ReasonForm
from madang.calls.models import ApplicationState
from madang.calls.views import Asked, known_id
from madang.workflow.errors import Refused, Stale

OUT_OF_DATE = gettext_lazy(
    "This draft was saved in another window, or by a colleague, after you opened this page. What you wrote is still "
    "here and is not saved yet. Open the application in another window to compare; to keep what is here, save again."
)


@login_required
@require_safe
def mine(request: Asked) -> HttpResponse:
    found = queries.applications_of(request.user, after=request.GET.get("after"), limit=60)
    return render(request, "calls/my_applications.html", {"found": found})


@login_required
@require_http_methods(["GET", "POST"])
def application(request: Asked, id: int) -> HttpResponse:
    """One application as it stands. Posting submits it."""
    view = queries.application_for_tenant(request.user, known_id(id))
    form = ConfirmForm(
        request.POST if request.method == "POST" else None, initial={"saves": view.saves}, use_required_attribute=False
    )
    problems: dict[str, Any] = view.missing
    if request.method == "POST" and form.is_valid():
        try:
            submission = actions.submit(request.user, application=view.application, saves=form.cleaned_data["saves"])
        except Stale:
            form.add_error(None, _("This draft was changed after you opened the page. Check it again, then submit it."))
            view = queries.application_for_tenant(request.user, view.application.pk)
            form.data = {**{name: form.data[name] for name in form.data}, "saves": view.saves}
        except Refused as refused:
            if refused.status in (403, 404):
                raise
            problems = refused.errors
            form.add_error(None, refused.message)
        else:
            messages.success(request, _("Your application was received."))
            return redirect("calls:receipt", id=submission.pk)
    context = {
        **said(view),
        "form": form,
        "problems": listed(view, problems),
        "withdrawal": ReasonForm(label=_("Why do you withdraw it?"), auto_id="withdraw_%s"),
    }
    return render(request, "calls/application.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "POST"])
def edit(request: Asked, id: int) -> HttpResponse:
    """The draft. `do` is save, check (save and look at what is missing) or autosave (htmx, while people write)."""
    view = queries.application_for_tenant(request.user, known_id(id))
    posted = request.method == "POST"
    verb = request.POST.get("do", "save")
    if not view.can_edit and not (posted and verb == "autosave"):
        if posted and (why := queries.closed_because(view)):
            messages.error(request, _("Not saved. %(why)s") % {"why": why})
        return redirect("calls:application", id=view.application.pk)
    form = form_of(view, request.POST if posted else None, request.FILES if posted else None)
    if posted and verb == "autosave":
        return autosave(request, view, form)
    stale = False
    if posted and form.is_valid():
        try:
            saved = save(request, view, form)
        except Stale:
            stale = True
            view = queries.application_for_tenant(request.user, view.application.pk)
            form.add_error(None, OUT_OF_DATE)
            newer = request.POST.copy()
            newer["saves"] = str(view.saves)
            form.data = newer
        except Refused as refused:
            if refused.status in (403, 404):
                raise
            form.refuse(refused)
        else:
            if verb == "check":
                return redirect("calls:application", id=saved.pk)
            messages.success(request, _("The draft is saved. It isn't submitted yet."))
            return redirect("calls:application-edit", id=saved.pk)
    problem = _("What is below is not saved yet.") if form.errors else ""
    context = {**said(view), **laid_out(form), "form": form, "problem": problem}
    return render(request, "calls/application_edit.html", context, status=409 if stale else 422 if form.errors else 200)


def form_of(view: Any, data: Any = None, files: Any = None) -> ApplicationForm:
    only = view.supplement.get("codes") if view.supplement else None
    return ApplicationForm(data, files, view=view, only=only)


def save(request: Asked, view: Any, form: ApplicationForm) -> Any:
    """The draft and the files that came with it, all or nothing."""
    draft = form.draft()
    before, after = request.session.get(f"autosaved:{view.application.pk}", (None, None))
    if draft["saves"] == before:
        draft["saves"] = after  # this very page saved itself while the button was on its way
    with transaction.atomic():
        saved = actions.save_draft(request.user, application=view.application, **draft)
        for code, file in form.uploads().items():
            try:
                actions.add_document(request.user, application=saved, code=code, file=file)
            except Refused as refused:
                if refused.status in (403, 404, 409):
                    raise
                raise Refused(refused.message, field=code) from refused
    return saved


def autosave(request: Asked, view: Any, form: ApplicationForm) -> HttpResponse:
    """Saves quietly what can be saved, and answers with the state of the draft and, if there are any, new questions."""
    problem = ""
    if not form.is_valid():
        problem = _("Not saved yet: please correct what is marked or unfinished, then save.")
    else:
        try:
            actions.save_draft(request.user, application=view.application, **form.draft())
        except Stale:
            problem = _("Not saved: this draft was saved elsewhere. Press “Save draft” to see what to do.")
        except Refused as refused:
            if refused.status in (403, 404):
                raise
            problem = str(next(iter(refused.errors.values()), refused.message))
    before = view.saves
    view = queries.application_for_tenant(request.user, view.application.pk)
    if not problem:
        request.session[f"autosaved:{view.application.pk}"] = (before, view.saves)
    form = form_of(view)
    context = {**said(view), **laid_out(form), "form": form, "problem": problem, "autosaved": True}
    if problem:
        context["saves"] = request.POST.get("saves", "")
    context["branched"] = not problem and request.POST.get("asked", "") != context["asked"]
    return render(request, "calls/application_saved.html", context)


def laid_out(form: ApplicationForm) -> dict[str, Any]:
    """The fields in the order of the page: lines with their three inputs, questions, documents."""
    documents = {field.code: field.document for field in form.questions}
    return {
        "asked": ",".join(field.code for field in form.questions),
        "saves": form["saves"].value(),
        "line_inputs": [
            {
                "line": line,
                "amount": form[f"line-{line.call_line.pk}-amount"],
                "essential": form[f"line-{line.call_line.pk}-essential"],
                "purpose": form[f"line-{line.call_line.pk}-purpose"],
            }
            for line in form.lines
        ],
        "questions": [form[f"q-{field.code}"] for field in form.questions if field.type != "file"],
        "papers": [
            {"input": form[f"q-{field.code}"], "document": documents[field.code], "code": field.code}
            for field in form.questions
            if field.type == "file"
        ],
        "branching": any(field.shown_if for field in form.view.fields),
    }


def said(view: Any) -> dict[str, Any]:
    """What the pages of one application share."""
    return {
        "view": view,
        "application": view.application,
        "call": view.call,
        "todo": listed(view, view.missing),
        "steps": [{"label": label, "state": state} for _key, label, state in view.steps],
        "answers": [field for field in view.fields if field.shown],
        "asked_lines": [line for line in view.lines if line.amount],
        "draft": view.application.state == ApplicationState.DRAFT,
        "title": view.title or view.application.title,
        "until": datetime.fromisoformat(view.supplement["until"]) if view.supplement else view.deadline,
    }


def listed(view: Any, problems: dict[str, Any]) -> list[dict[str, Any]]:
    """What is wrong or missing, each with the name of its input and a link to it."""
    names = {field.code: field.label for field in view.fields}
    names |= {f"line-{line.call_line.pk}": line.resource.name for line in view.lines}
    return [
        {"text": f"{names[key]}: {text}" if key in names else text, "href": place(view, key)}
        for key, text in problems.items()
    ]


def place(view: Any, key: str) -> str:
    """The address of the input that `key` (of `missing`, or of a refusal) is about."""
    form = reverse("calls:application-edit", args=[view.application.pk])
    if key == "title":
        return f"{form}#id_title"
    if key == "lines":
        return f"{form}#lines"
    if key.startswith("line-"):
        return f"{form}#id_{key}-amount"
    found = next((field for field in view.fields if field.code == key), None)
    several = found is not None and (
        (found.type == "choice" and len(found.choices) <= 6) or (found.type == "yes" and not found.required)
    )
    return f"{form}#id_q-{key}{'_group' if several else ''}"


@login_required
@require_POST
def remove(request: Asked, id: int, code: str) -> HttpResponse:
    view = queries.application_for_tenant(request.user, known_id(id))
    actions.remove_document(request.user, application=view.application, code=code)
    messages.success(request, _("The document is removed from the draft."))
    return redirect(f"{reverse('calls:application-edit', args=[view.application.pk])}#id_q-{code}")


@login_required
@require_http_methods(["GET", "POST"])
def withdraw(request: Asked, id: int) -> HttpResponse:
    view = queries.application_for_tenant(request.user, known_id(id))
    if request.method == "GET" and not view.can_withdraw:
        return redirect("calls:application", id=view.application.pk)
    form = ReasonForm(request.POST if request.method == "POST" else None, label=_("Why do you withdraw it?"))
    if request.method == "POST" and form.is_valid():
        with form.refusals():
            actions.withdraw(request.user, application=view.application, reason=form.cleaned_data["reason"])
            messages.success(request, _("The application is withdrawn."))
            return redirect("calls:application", id=view.application.pk)
    return render(request, "calls/withdraw.html", {**said(view), "form": form}, status=422 if form.errors else 200)


@login_required
@require_safe
def receipt(request: Asked, id: int) -> HttpResponse:
    view = queries.receipt(request.user, known_id(id))
    context = {
        "view": view,
        "call": view.call,
        "asked_lines": [line for line in view.lines if line.amount],
        "answers": [field for field in view.fields if field.shown],
    }
    return render(request, "calls/receipt.html", context)
