"""What the log calls things: the verbs and the kinds of all rooms, in words for people.

The rooms above are named here by text alone. A word that is missing is shown as the code wrote it.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext, pgettext_lazy

from madang.workflow.models import LogLine

VERBS: dict[str, Any] = {
    "accept": pgettext_lazy("log", "accepted"),
    "add": pgettext_lazy("log", "added"),
    "add_document": pgettext_lazy("log", "handed in a document for"),
    "announce": pgettext_lazy("log", "announced"),
    "answer_rule": pgettext_lazy("log", "answered an eligibility rule of"),
    "assign": pgettext_lazy("log", "assigned"),
    "assign_all": pgettext_lazy("log", "assigned the reviewers of"),
    "build": pgettext_lazy("log", "built"),
    "cancel": pgettext_lazy("log", "cancelled"),
    "change_role": pgettext_lazy("log", "changed the role of"),
    "check_eligibility": pgettext_lazy("log", "checked the eligibility of"),
    "close": pgettext_lazy("log", "closed"),
    "correct": pgettext_lazy("log", "corrected"),
    "decide": pgettext_lazy("log", "proposed a decision on"),
    "decline": pgettext_lazy("log", "declined"),
    "delete_files": pgettext_lazy("log", "deleted the files of"),
    "edit": pgettext_lazy("log", "changed"),
    "end": pgettext_lazy("log", "ended"),
    "end_for": pgettext_lazy("log", "ended, as operator,"),
    "end_role": pgettext_lazy("log", "ended a role"),
    "extend": pgettext_lazy("log", "extended the deadline of"),
    "find_eligible": pgettext_lazy("log", "found eligible"),
    "find_ineligible": pgettext_lazy("log", "found ineligible"),
    "give_extension": pgettext_lazy("log", "extended the deadline of"),
    "give_role": pgettext_lazy("log", "gave a role"),
    "hand_over": pgettext_lazy("log", "handed over to the engine"),
    "invite": pgettext_lazy("log", "invited somebody"),
    "lapse": pgettext_lazy("log", "let lapse"),
    "lose_sight": pgettext_lazy("log", "lost sight of"),
    "make": pgettext_lazy("log", "made"),
    "make_call": pgettext_lazy("log", "made"),
    "make_token": pgettext_lazy("log", "made a token"),
    "offer": pgettext_lazy("log", "offered"),
    "open": pgettext_lazy("log", "opened"),
    "pause": pgettext_lazy("log", "paused"),
    "promote": pgettext_lazy("log", "moved up from the reserve list"),
    "publish": pgettext_lazy("log", "published"),
    "put_on_reserve": pgettext_lazy("log", "put on the reserve list"),
    "queue": pgettext_lazy("log", "put in the queue"),
    "read": pgettext_lazy("log", "read personal data of"),
    "record": pgettext_lazy("log", "recorded"),
    "record_usage": pgettext_lazy("log", "recorded the use of"),
    "recuse": pgettext_lazy("log", "stepped back from"),
    "refuse": pgettext_lazy("log", "refused"),
    "register": pgettext_lazy("log", "registered"),
    "reject": pgettext_lazy("log", "rejected"),
    "remove_document": pgettext_lazy("log", "removed a document from"),
    "rename": pgettext_lazy("log", "changed the own name"),
    "replace": pgettext_lazy("log", "replaced"),
    "report": pgettext_lazy("log", "reported"),
    "request_supplement": pgettext_lazy("log", "asked for a supplement of"),
    "resume": pgettext_lazy("log", "resumed"),
    "retire": pgettext_lazy("log", "retired"),
    "return": pgettext_lazy("log", "returned"),
    "revoke_token": pgettext_lazy("log", "revoked a token"),
    "save": pgettext_lazy("log", "saved a draft of"),
    "save_draft": pgettext_lazy("log", "saved a draft of"),
    "save_scores": pgettext_lazy("log", "saved a draft of"),
    "score": pgettext_lazy("log", "scored"),
    "select": pgettext_lazy("log", "selected"),
    "set_criteria": pgettext_lazy("log", "set the criteria of"),
    "set_discounts": pgettext_lazy("log", "set the discounts of"),
    "set_form": pgettext_lazy("log", "set the form of"),
    "set_lines": pgettext_lazy("log", "set the lines of"),
    "set_rate": pgettext_lazy("log", "set a rate of"),
    "set_rules": pgettext_lazy("log", "set the rules of"),
    "set_target": pgettext_lazy("log", "set a target of"),
    "set_up": pgettext_lazy("log", "set up the site"),
    "sign_up": pgettext_lazy("log", "signed up"),
    "start": pgettext_lazy("log", "started"),
    "start_application": pgettext_lazy("log", "started"),
    "start_evaluation": pgettext_lazy("log", "started the evaluation of"),
    "submit": pgettext_lazy("log", "submitted"),
    "supplement": pgettext_lazy("log", "supplemented"),
    "undecide": pgettext_lazy("log", "took back the proposal on"),
    "verify": pgettext_lazy("log", "verified"),
    "withdraw": pgettext_lazy("log", "withdrew"),
}

KINDS: dict[str, Any] = {
    "calls.application": _("application"),
    "calls.assignment": _("review assignment"),
    "calls.call": _("call notice"),
    "calls.decision": _("decision"),
    "calls.document": _("document"),
    "calls.extension": _("extension of the deadline"),
    "calls.scoresheet": _("score sheet"),
    "calls.submission": _("submission"),
    "catalog.place": _("place"),
    "catalog.rate": _("rate"),
    "catalog.resource": _("resource"),
    "compute.cluster": _("cluster"),
    "compute.partition": _("partition"),
    "grants.agreement": _("agreement"),
    "grants.allocation": _("allocation"),
    "grants.grant": _("grant"),
    "identity.apitoken": _("token"),
    "identity.invitation": _("invitation"),
    "identity.membership": _("membership"),
    "identity.organization": _("organization"),
    "identity.person": _("person"),
    "identity.rolegrant": _("role"),
    "jobs.job": _("job"),
    "outcomes.outcome": pgettext_lazy("log", "outcome"),
    "programs.indicator": _("indicator"),
    "programs.program": _("program"),
    "programs.purse": _("purse"),
    "programs.referencefigure": _("reference figure"),
    "programs.source": _("source"),
    "programs.target": _("target"),
}


READ: dict[str, Any] = {
    "contact": pgettext_lazy("log", "contact"),
    "contact of the members": pgettext_lazy("log", "contact of the members"),
    "document of an application": pgettext_lazy("log", "document of an application"),
}


def verb_name(verb: str) -> str:
    return str(VERBS.get(verb) or verb.replace("_", " "))


def kind_name(kind: str) -> str:
    return str(KINDS.get(kind) or kind.rpartition(".")[2])


def state_name(kind: str, state: str) -> str:
    """What a state of that kind of thing is called, as its own room says it."""
    try:
        choices = apps.get_model(kind)._meta.get_field("state").flatchoices
    except (LookupError, ValueError, FieldDoesNotExist):
        return state
    return str(dict(choices).get(state, state))


def read_name(read: str) -> str:
    """Which personal data was read."""
    thing, _space, number = read.rpartition(" ")
    if thing == "evidence":
        return str(pgettext("log", "evidence %(number)s") % {"number": number})
    return str(READ.get(read, read))


def sentence_of(line: LogLine) -> dict[str, str]:
    """What a line says: who, did what, to what, and from which state to which."""
    thing = kind_name(line.kind) if line.kind else ""
    read = line.detail.get("what", "") if isinstance(line.detail, dict) else ""
    moved = [state_name(line.kind, state) for state in (line.before, line.after) if state]
    return {
        "who": line.actor_name or str(_("the system")),
        "did": f"{verb_name(line.verb)} ({read_name(read)})" if read else verb_name(line.verb),
        "what": f"{thing} {line.ref}" if thing and line.ref else thing,
        "moved": " → ".join(moved) if line.before != line.after else "",
    }
