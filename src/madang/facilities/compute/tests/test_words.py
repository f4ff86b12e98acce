from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation

from madang.engines.local.dispatcher import WORDS
from madang.engines.slurm.accounts import NOT_OURS
from madang.facilities.compute import words
from madang.facilities.compute.tests import make
from madang.jobs.actions import end_all
from madang.jobs.tests import make as jobs

BESIDES = (
    *("cancelled before it started", "its process never came up", "its folder is gone"),
    "its process was gone and had not said how it ended",
    "the sandbox did not start; its last words are in the log",
)


@pytest.mark.parametrize("said", [*WORDS.values(), *BESIDES, "could not start: ENOENT"])
def test_why_a_job_ended_is_said_in_korean(said):
    with translation.override("ko"):
        text = words.why(said)
    assert text.endswith("습니다.") or text == "시작하지 못했습니다: ENOENT"


def test_nodes_that_are_known_to_be_drained_are_not_said_to_be_silent():
    with translation.override("en"):
        assert words.waits("NodesDrained") == (
            "The nodes that it needs are drained: they start nothing until the operator lets them."
        )


@pytest.mark.parametrize("said", ["DEADLINE", "REVOKED", "REQUEUED", "BOOT_FAIL", "forgotten by Slurm"])
def test_what_slurm_says_of_an_end_is_said_in_korean_and_no_outcome_twice(said):
    with translation.override("ko"):
        assert words.why(said).endswith("습니다.")
    assert {words.why(outcome) for outcome in ("CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "PREEMPTED", "NODE_FAIL")} == {
        ""
    }


def test_what_a_cluster_was_told_and_has_not_done_is_said_in_korean():
    alarms = [
        {"code": "budgets_held", "text": f"{NOT_OURS}allocation-1"},
        {"code": "budgets_held", "text": "would close 40 budgets at once"},
        {"code": "budgets_held", "text": "Slurm knows names in small letters only: X"},
        {"code": "maintenance_held", "text": "Invalid node name specified"},
    ]
    with translation.override("ko"):
        said = [words.warning(alarm) for alarm in alarms]
    names = ("allocation-1", "would close 40", "small letters only: X", "Invalid node name specified")
    assert all(name in text and "니다" in text for text, name in zip(said, names, strict=True)), said


def test_what_an_engine_says_freely_is_shown_as_it_is():
    assert words.why("slurmctld: NodeFail") == "slurmctld: NodeFail"


@pytest.mark.django_db
def test_what_the_site_itself_did_to_a_job_is_said_in_korean_and_a_persons_reason_as_it_is():
    row = make.allocation()
    job = make.job(row)
    end_all(row, reason="the allocation is paused")
    client = Client(HTTP_ACCEPT_LANGUAGE="ko")
    client.force_login(jobs.holder(row))
    page = client.get(reverse("compute:job", args=[job.uuid])).content.decode()
    assert ("이용이 정지되었습니다." in page, "is paused" in page) == (True, False)
    assert words.reason("점검") == "점검"
