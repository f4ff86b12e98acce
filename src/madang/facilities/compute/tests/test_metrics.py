"""The figures for Prometheus: readable by its own parser, for whoever has the token, and of nobody in particular."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from madang.engines.base import NodeState
from madang.facilities.compute.tests import make
from madang.identity.tests import make as identity
from madang.jobs import nodes, poller
from madang.jobs.models import Watch
from madang.jobs.tests import make as jobs
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
TOKEN = "a-token-of-enough-letters"


@pytest.fixture
def figures(settings):
    settings.METRICS_TOKEN = TOKEN

    def ask():
        answer = Client().get("/compute/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        assert answer["Content-Type"].startswith("text/plain")
        text = answer.content.decode()
        return text, {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    return ask


def test_the_figures_are_those_of_the_clusters_and_name_nobody(figures):
    row = make.allocation()
    job = make.job(row, name="비밀 작업")
    poller.look()
    nodes.keep(job.engine, [NodeState("n1", "down", "a secret reason", (), "h100", 8, 0)])
    text, seen = figures()
    assert seen["madang_engine_answered", job.engine] == 1
    assert 0 <= seen["madang_engine_answer_age_seconds", job.engine] < 60
    (live,) = [value for name, value in seen.items() if name[0] == "madang_jobs"]
    assert live == 1
    assert seen["madang_nodes", "down", job.engine] == 1
    assert (seen["madang_holds_without_job",], seen["madang_jobs_without_hold",]) == (0, 0)
    for secret in ("비밀 작업", str(job.uuid), row.grant.organization.name_ko, row.grant.number, jobs.holder(row).name):
        assert secret not in text
    assert "a secret reason" not in text


def test_a_silent_engine_warns_of_nothing_that_may_be_over(figures):
    job = make.job(make.allocation())
    poller.look()
    Watch.objects.update(health={"warnings": [{"code": "no_accounting", "text": "no answer"}]})
    seen = []
    for age in (0, 5):
        Watch.objects.update(answered_at=now() - timedelta(minutes=age))
        seen.append([set(name[1:]) for name in figures()[1] if name[0] == "madang_engine_warnings"])
    assert seen == [[{job.engine, "no_accounting"}], []]


def test_an_empty_site_has_figures_too(figures):
    _text, seen = figures()
    assert seen["madang_runs_of_nobody",] == 0


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", TOKEN, f"bearer {TOKEN}", "Bearer é"])
def test_without_the_token_there_is_nothing_here(settings, given):
    settings.METRICS_TOKEN = TOKEN
    assert Client().get("/compute/metrics", headers={"Authorization": given}).status_code == 404
    boss = Client()
    boss.force_login(identity.operator())
    assert boss.get("/compute/metrics").status_code == 404
    settings.METRICS_TOKEN = ""
    assert Client().get("/compute/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_a_page_of_figures_takes_few_statements(figures, django_assert_max_num_queries):
    make.job(make.allocation())
    poller.look()
    with django_assert_max_num_queries(8):
        figures()
