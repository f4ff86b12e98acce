"""What engines say in codes, said for people."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _


def waits(reason: str) -> str:
    """Why a job is still in the queue."""
    return {
        "Resources": _("It is next: it waits until enough GPUs are free."),
        "Priority": _("Other jobs are before it."),
        "ArrayLimit": _("As many of its tasks run as may run at once."),
        "BudgetClosed": _("Its allocation is paused or over: it doesn't start until that changes."),
    }.get(reason, reason)


def warning(row: dict[str, Any]) -> str:
    """A warning of an engine, {code, text}."""
    return {
        "no_dispatcher": _("The dispatcher isn't running, so nothing starts."),
        "no_sandbox": _("There is no sandbox: only the operator's own jobs run."),
        "root": _("The dispatcher runs as root. Run it as an ordinary user."),
        "memory_watch": _("No cgroup limits a job's memory: it is looked at every half second."),
        "declared": _("Some slots are only declared: runs on them see no GPU."),
        "no_slots": _("It has no slots."),
    }.get(row.get("code", ""), row.get("text", ""))


VERBS = {
    "submit": lambda: _("Submitted"),
    "hand_over": lambda: _("Handed over to the engine"),
    "queue": lambda: _("Waits in the queue"),
    "start": lambda: _("Started"),
    "lose_sight": lambda: _("The engine doesn't answer about it"),
    "cancel": lambda: _("Asked to cancel"),
    "refuse": lambda: _("Refused by the engine"),
    "record_usage": lambda: _("Ended and settled"),
    "delete_files": lambda: _("Files deleted"),
}


def verb(name: str) -> str:
    return VERBS[name]() if name in VERBS else name
