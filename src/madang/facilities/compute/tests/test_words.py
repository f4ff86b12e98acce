from __future__ import annotations

import pytest
from django.utils import translation

from madang.engines.local.dispatcher import WORDS
from madang.facilities.compute import words


@pytest.mark.parametrize("said", [*WORDS.values(), "could not start: ENOENT"])
def test_why_a_job_ended_is_said_in_korean(said):
    with translation.override("ko"):
        text = words.why(said)
    assert text.endswith("습니다.") or text == "시작하지 못했습니다: ENOENT"


def test_what_an_engine_says_freely_is_shown_as_it_is():
    assert words.why("slurmctld: NodeFail") == "slurmctld: NodeFail"
