"""What the log and the ledger say, in the words of the glossary."""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from madang.ledger.models import Kind
from madang.workflow.models import LogLine

DONE: dict[tuple[str, str], Promise] = {
    ("grants.grant", "offer"): _("The agreement was offered."),
    ("grants.grant", "accept"): _("The agreement was accepted, and the allocations opened."),
    ("grants.grant", "decline"): _("The agreement was declined."),
    ("grants.grant", "lapse"): _("Nobody accepted the agreement in time: it lapsed."),
    ("grants.grant", "close"): _("The grant was closed; what was left was reclaimed."),
    ("grants.allocation", "pause"): _("An allocation was paused."),
    ("grants.allocation", "overrun"): _("More was used than this covers: the lead and the officers were told."),
    ("grants.allocation", "pause_overrun"): _("The allocation was paused after an overrun, as the call says."),
    ("grants.allocation", "close_overrun"): _("The allocation was closed after an overrun, as the call says."),
    ("grants.allocation", "resume"): _("An allocation was resumed."),
}

ENTRY: dict[str, Promise] = {
    Kind.GRANT: pgettext_lazy("ledger entry", "granted"),
    Kind.HOLD: pgettext_lazy("ledger entry", "held"),
    Kind.SETTLE: pgettext_lazy("ledger entry", "settled"),
    Kind.RELEASE: pgettext_lazy("ledger entry", "released"),
    Kind.EXPIRE: pgettext_lazy("ledger entry", "expired"),
    Kind.CHARGE: pgettext_lazy("ledger entry", "charged"),
    Kind.OVERRUN: pgettext_lazy("ledger entry", "overrun"),
    Kind.REFUND: pgettext_lazy("ledger entry", "refunded"),
    Kind.TRANSFER: pgettext_lazy("ledger entry", "transferred"),
    Kind.RECLAIM: pgettext_lazy("ledger entry", "reclaimed"),
    Kind.REVERSE: pgettext_lazy("ledger entry", "reversed"),
}


USE: dict[str, Promise] = {
    "run": _("run of a job"),
    "job": _("job"),
    "storage held": _("storage held"),
}


def use(reason: str) -> Any:
    """What a ledger entry was for. What a person wrote is shown as it is."""
    return USE.get(reason, reason)


def done(line: LogLine) -> Any:
    """What a line of the log says, as a sentence. A verb that has none yet is named as it is."""
    return DONE.get((line.kind, line.verb), line.verb)
