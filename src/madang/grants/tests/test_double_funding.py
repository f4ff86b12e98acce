"""The rule against double funding asks the grants, not the decisions."""

from __future__ import annotations

import pytest

from madang.grants import actions, queries
from madang.grants.tests import make

pytestmark = pytest.mark.django_db


def test_a_running_grant_of_the_program_counts_and_a_declined_offer_does_not() -> None:
    first = make.offered()
    second = make.applied(make.call(program=first.call.program), first.organization)
    assert queries.others_running(second) == [first.grant.number]
    actions.decline(first.lead, grant=first.again(), reason="다른 자원을 쓰기로 했습니다.")
    assert queries.others_running(second) == []


def test_the_rule_of_a_call_names_the_grant_that_runs() -> None:
    first = make.granted()
    call = make.call(program=first.call.program, rules=["no_double_funding"])
    application = make.applied(call, first.organization)
    (answer,) = application.eligibility.all()
    assert (answer.answer, answer.detail) == ("fail", {"others": [first.grant.number]})


def test_grants_of_others_and_of_other_programs_do_not_count() -> None:
    first = make.granted()
    other_program = make.applied(make.call(), first.organization)
    other_company = make.applied(make.call(program=first.call.program))
    assert queries.others_running(other_program) == []
    assert queries.others_running(other_company) == []
