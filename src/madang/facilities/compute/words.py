"""What engines say in codes, said for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from madang.engines.slurm.accounts import NOT_OURS
from madang.jobs.maintenance import Reach
from madang.web.templatetags.madang import seoul

SAID = ("CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "PREEMPTED", "NODE_FAIL")  # what the outcome says already
MAINTENANCE = ("Maintenance", "ReqNodeNotAvail", "NodesOut")  # why a job waits, where it may be for a maintenance


def waits(reason: str, windows: Sequence[Reach] = (), moment: datetime | None = None) -> str:
    """Why a job is still in the queue. `windows`: the maintenance that concerns it, the next one first, at `moment`."""
    window = windows[0].window if windows else None
    if window and moment and reason in MAINTENANCE:
        when = {"start": seoul(window.starts_at), "end": seoul(window.ends_at)}
        if window.starts_at <= moment:
            return _("The nodes that it needs are in maintenance until %(end)s.") % when
        if reason != "NodesOut":
            said = _("Its time limit reaches into the maintenance from %(start)s to %(end)s: it starts after that.")
            return said % when
    return {
        "Maintenance": _("Its time limit reaches into a maintenance: it starts after that."),
        "Resources": _("It is next: it waits until enough GPUs are free."),
        "Priority": _("Other jobs are before it."),
        "ArrayLimit": _("As many of its tasks run as may run at once."),
        "DiskFull": _("The disk for the files of jobs is nearly full: it starts once there is room again."),
        "BudgetClosed": _("Its allocation is paused or over: it doesn't start until that changes."),
        "Uncovered": _("The rest of your budget doesn't cover another run: it is held back until it does."),
        "BudgetSpent": _("The rest of your budget doesn't cover it: lower the time limit, or ask for more."),
        "ReqNodeNotAvail": _("The nodes that it needs are in maintenance."),
        "NodesDown": _("The nodes that it needs are down, or don't answer."),
        "NodesOut": _("The nodes that it needs take no jobs: some are drained, others down or in maintenance."),
        "NodesDrained": _("The nodes that it needs are drained: they start nothing until the operator lets them."),
        "Reservation": _("It waits for the time that is reserved for it."),
        "BeginTime": _("It was started again, and waits a moment before it begins."),
        "JobHeldAdmin": _("The operator of the cluster holds it back."),
        "JobHeldUser": _("It was held back by its owner."),
        "PartitionDown": _("The partition takes no jobs for now."),
        "Accounting": _("It has ended; the cluster's accounting hasn't said yet how."),
    }.get(reason, reason)


def why(reason: str) -> str:
    """Why a job ended as it did, from the engine's own words. What it says freely is shown as it is."""
    said = {
        "it started too many processes": _("It started too many processes."),
        "the machine was stopping": _("The machine was stopping."),
        "it used more memory than it asked for": _("It used more memory than it asked for."),
        "it reached its time limit": _("It reached its time limit."),
        "its files took more room than those of a job may": _("Its files took more room than those of a job may."),
        "the disk was nearly full, and it had written the most": _(
            "The disk for the files of jobs was nearly full, and it had written the most."
        ),
        "cancelled before it started": _("It was canceled before it started."),
        "its process never came up": _("Its process never came up."),
        "its process was gone and had not said how it ended": _("Its process was gone and had not said how it ended."),
        "its folder is gone": _("Its folder is gone."),
        "the sandbox did not start; its last words are in the log": _("The sandbox did not start: see the log."),
        "DEADLINE": _("Its deadline on the cluster had passed."),
        "REVOKED": _("The cluster withdrew it."),
        "REQUEUED": _("It was put back into the queue on the cluster."),
        "BOOT_FAIL": _("Its node did not come up."),
        "forgotten by Slurm": _("The cluster's controller forgot it, and it gave no sign of life."),
        **dict.fromkeys(SAID, ""),
    }
    if reason.startswith("could not start: "):
        return _("It could not start: %(why)s") % {"why": reason.removeprefix("could not start: ")}
    return said.get(reason, reason)


def reason(given: str) -> str:
    """Why somebody, or the site itself, did something to a job. What a person wrote is shown as it is."""
    return {
        "the allocation is paused": _("The allocation was paused."),
        "the allocation is closed": _("The allocation was closed."),
        "nothing was done in the session": _("Nothing was done in the session."),
    }.get(given, given)


def warning(row: dict[str, Any]) -> str:
    """A warning of an engine, {code, text}: what it means, and what it names."""
    code, text = row.get("code", ""), row.get("text", "")
    if code == "budgets_held":
        return _held(text)
    if code == "maintenance_held":
        return _("It doesn't take its maintenance, and is told again every few seconds. It says: %(why)s") % {
            "why": text
        }
    if said := _of_clusters(code):
        return f"{said} {text.partition(': ')[2]}".strip()
    return {
        "no_dispatcher": _("The dispatcher isn't running, so nothing starts."),
        "no_sandbox": _("There is no sandbox: only the operator's own jobs run."),
        "root": _("The dispatcher runs as root. Run it as an ordinary user."),
        "memory_watch": _("No cgroup limits a job's memory: it is looked at every half second."),
        "disk_full": _("The disk for the files of jobs has less free space than is set: nothing starts."),
        "declared": _("Some slots are only declared: runs on them see no GPU."),
        "no_slots": _("It has no slots."),
    }.get(code, text)


def _held(why: str) -> str:
    """Why budgets of a cluster aren't as wanted."""
    if why.startswith(NOT_OURS):
        return _(
            "Its budgets or accounts of these names are somebody else's, so they are left as they are and nobody can "
            "work with them: %(names)s. If they are Madang's, describe them as “madang” again; else they need "
            "other names."
        ) % {"names": why.removeprefix(NOT_OURS)}
    if "budgets at once" in why:
        return _(
            "So many changes at once need a person (%(why)s). Look at what was closed, then change it on the cluster "
            "by hand."
        ) % {"why": why}
    return _("Its budgets aren't as wanted, and it is told again every few seconds. It says: %(why)s") % {"why": why}


def _of_clusters(code: str) -> str:
    return {
        "clocks": _("These clocks differ from the database's, by seconds:"),
        "no_answer": _("The controller of the cluster doesn't answer."),
        "late": _("The accounting of the cluster hasn't been read lately: nothing that ended is known."),
        "no_accounting": _("The accounting of the cluster doesn't answer."),
        "nodes_down": _("These nodes are down, or don't answer:"),
        "nodes_drained": _("These nodes take no jobs:"),
        "leaked_gpus": _("These idle nodes have GPUs that nobody uses and nobody gets:"),
        "enlarged": _("These jobs were made larger by their owners while they waited:"),
        "silent": _("These jobs are said to run, and give no sign of life:"),
        "vanished": _("These jobs began, and are gone without an end:"),
        "backlog": _("Messages wait for the accounting. Beyond its limit they are lost."),
        "runaway": _("The accounting still waits for the end of these jobs, which don't run:"),
        "strays": _("Runs that belong to nobody:"),
        "excess": _("Runs that were charged beyond their end, by their own marks:"),
        "counts_apart": _("Slurm and the ledger have counted these budgets differently:"),
    }.get(code, "")


def node(state: str) -> str:
    """The state of a machine."""
    return {
        "idle": pgettext("node", "free"),
        "mixed": pgettext("node", "partly used"),
        "full": pgettext("node", "used"),
        "draining": pgettext("node", "empties"),
        "drained": pgettext("node", "drained"),
        "maintenance": pgettext("node", "in maintenance"),
        "down": pgettext("node", "down"),
    }.get(state) or pgettext("node", "not known")


VERBS = {
    "submit": lambda: pgettext("job", "Submitted"),
    "hand_over": lambda: pgettext("job", "Handed over to the engine"),
    "queue": lambda: pgettext("job", "Waits in the queue"),
    "start": lambda: pgettext("job", "Started"),
    "lose_sight": lambda: pgettext("job", "The engine doesn't answer about it"),
    "cancel": lambda: pgettext("job", "Asked to cancel"),
    "end_for": lambda: pgettext("job", "Asked to end by the operator of the site"),
    "refuse": lambda: pgettext("job", "Refused by the engine"),
    "record_usage": lambda: pgettext("job", "Ended and settled"),
    "record_restart": lambda: pgettext("job", "Interrupted and settled; it starts again"),
    "start_again": lambda: pgettext("job", "Waits in the queue again"),
    "cover": lambda: pgettext("job", "Covered by the balance: it may start again"),
    "correct_usage": lambda: pgettext("job", "Charged anew: the engine says otherwise than before"),
    "adopt": lambda: pgettext("job", "Found: submitted to the cluster itself"),
    "delete_files": lambda: pgettext("job", "Files deleted"),
    "give_back": lambda: pgettext("job", "Given back: it had ended before"),
    "keep_charge": lambda: pgettext("job", "Looked at, and kept as charged"),
}


def verb(name: str) -> str:
    return VERBS[name]() if name in VERBS else name
