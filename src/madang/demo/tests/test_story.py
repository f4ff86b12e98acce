from __future__ import annotations

from datetime import UTC, datetime

import pytest

from madang.client import Problem
from madang.demo import story as stories
from madang.demo.story import Story, WentWrong


class Short(Story):
    """The first step succeeds, the second is what a test says."""

    def publish(self) -> tuple[str, str]:
        return "published", "/calls/x/"

    def run_step(self) -> tuple[str, str]:
        raise NotImplementedError

    def apply(self) -> tuple[str, str]:
        return self.run_step()


def told(wrong: Exception | None) -> tuple[list[dict], list[str]]:
    def step() -> tuple[str, str]:
        raise wrong

    said: list[str] = []
    story = Short("http://localhost:1", {}, said.append, lambda: None)
    story.run_step = step
    return story.play(), said


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (WentWrong("the call is draft, not open"), "WentWrong: the call is draft, not open"),
        (Problem(422, "요청하신 값이 올바르지 않습니다."), "Problem: 요청하신 값이 올바르지 않습니다."),
        (KeyError("left"), "KeyError: 'left'"),
    ],
)
def test_the_first_wrong_result_ends_the_story(wrong, what, caplog):
    caplog.set_level("CRITICAL")
    steps, said = told(wrong)
    assert [(step["ok"], step["what"]) for step in steps] == [(True, "published"), (False, what)]
    assert said == ["1/8 The officer publishes the call", "2/8 A company registers and applies"]


def test_a_result_that_is_not_as_told_is_wrong():
    with pytest.raises(WentWrong, match="the figures differ"):
        Story._check(False, "the figures differ")
    with pytest.raises(WentWrong, match="should have been refused"):
        Story("http://localhost:1", {}, lambda line: None, lambda: None)._refused(lambda: None)


@pytest.mark.parametrize(
    ("now", "minute"), [((0, 0, 0), (0, 0)), ((0, 0, 1), (0, 1)), ((0, 59, 59), (1, 0)), ((23, 59, 1), (0, 0))]
)
def test_a_call_closes_at_a_full_minute(now, minute):
    found = stories._full_minute(datetime(2026, 5, 1, *now, tzinfo=UTC))
    assert (found.hour, found.minute, found.second) == (*minute, 0)
