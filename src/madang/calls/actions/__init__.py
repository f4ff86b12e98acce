"""Everything that changes a call or an application: one function a verb."""

from madang.calls.actions.applications import (
    add_document,
    read_document,
    remove_document,
    save_draft,
    start_application,
    submit,
    withdraw,
)
from madang.calls.actions.calls import (
    announce,
    cancel,
    edit_call,
    give_extension,
    make_call,
    publish,
    start_evaluation,
)
from madang.calls.actions.contents import set_criteria, set_discounts, set_form, set_lines, set_rules
from madang.calls.actions.decisions import decide, undecide
from madang.calls.actions.reviews import assign, assign_all, recuse, save_scores, score
from madang.calls.actions.screening import (
    answer_rule,
    check_eligibility,
    find_eligible,
    find_ineligible,
    request_supplement,
)

__all__ = [
    "add_document",
    "announce",
    "answer_rule",
    "assign",
    "assign_all",
    "cancel",
    "check_eligibility",
    "decide",
    "edit_call",
    "find_eligible",
    "find_ineligible",
    "give_extension",
    "make_call",
    "publish",
    "read_document",
    "recuse",
    "remove_document",
    "request_supplement",
    "save_draft",
    "save_scores",
    "score",
    "set_criteria",
    "set_discounts",
    "set_form",
    "set_lines",
    "set_rules",
    "start_application",
    "start_evaluation",
    "submit",
    "undecide",
    "withdraw",
]
