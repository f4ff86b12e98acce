"""What engines say in codes, said for people."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext


def waits(reason: str) -> str:
    """Why a job is still in the queue."""
    return {
        "Resources": _("It is next: it waits until enough GPUs are free."),
        "Priority": _("Other jobs are before it."),
        "ArrayLimit": _("As many of its tasks run as may run at once."),
        "DiskFull": _("The disk for the files of jobs is nearly full: it starts once there is room again."),
        "BudgetClosed": _("Its allocation is paused or over: it doesn't start until that changes."),
    }.get(reason, reason)


def why(reason: str) -> str:
    """Why a job ended as it did, from the engine's own words. What it says freely is shown as it is."""
    said = {
        "it started too many processes": _("It started too many processes."),
        "the machine was stopping": _("The machine was stopping."),
        "it used more memory than it asked for": _("It used more memory than it asked for."),
        "it reached its time limit": _("It reached its time limit."),
    }
    if reason.startswith("could not start: "):
        return _("It could not start: %(why)s") % {"why": reason.removeprefix("could not start: ")}
    return said.get(reason, reason)


def warning(row: dict[str, Any]) -> str:
    """A warning of an engine, {code, text}."""
    return {
        "no_dispatcher": _("The dispatcher isn't running, so nothing starts."),
        "no_sandbox": _("There is no sandbox: only the operator's own jobs run."),
        "root": _("The dispatcher runs as root. Run it as an ordinary user."),
        "memory_watch": _("No cgroup limits a job's memory: it is looked at every half second."),
        "disk_full": _("The disk for the files of jobs has less free space than is set: nothing starts."),
        "declared": _("Some slots are only declared: runs on them see no GPU."),
        "no_slots": _("It has no slots."),
    }.get(row.get("code", ""), row.get("text", ""))


VERBS = {
    "submit": lambda: pgettext("job", "Submitted"),
    "hand_over": lambda: pgettext("job", "Handed over to the engine"),
    "queue": lambda: pgettext("job", "Waits in the queue"),
    "start": lambda: pgettext("job", "Started"),
    "lose_sight": lambda: pgettext("job", "The engine doesn't answer about it"),
    "cancel": lambda: pgettext("job", "Asked to cancel"),
    "refuse": lambda: pgettext("job", "Refused by the engine"),
    "record_usage": lambda: pgettext("job", "Ended and settled"),
    "delete_files": lambda: pgettext("job", "Files deleted"),
}


def verb(name: str) -> str:
    return VERBS[name]() if name in VERBS else name
