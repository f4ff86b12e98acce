"""Clusters that are Slurm's, as far as no Slurm is needed for it: settings, user names, and what ran past us."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from madang.engines.base import Limits, Outcome, RunKey, Unavailable, UsageRow
from madang.facilities.compute import clusters, host, queries
from madang.facilities.compute.models import Cluster, EngineKind, PosixAccount
from madang.facilities.compute.tests import make
from madang.facilities.compute.tests.test_pages import browser
from madang.identity.tests import make as identity
from madang.jobs.models import Job, Stray, Watch
from madang.jobs.tests import make as jobs
from madang.twin.effect import Queue
from madang.workflow.errors import Refused
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
SETTINGS = {"gwangju": {"conf": "/etc/slurm/slurm.conf", "runs": "/shared/runs"}}


@pytest.fixture
def slurm(settings: Any) -> Cluster:
    settings.SLURM = SETTINGS
    return make.cluster(code="gwangju", engine=EngineKind.SLURM)


def named(cluster: Cluster, person: Any, name: str) -> PosixAccount:
    return PosixAccount.objects.create(cluster=cluster, person=person, name=name)


def bare(number: int, user: str, budget: str, *, seconds: int = 40) -> UsageRow:
    """A run that the cluster says to have ended, and that we never submitted."""
    return UsageRow(
        key=RunKey(uuid5(NAMESPACE_URL, str(number))),
        outcome=Outcome.COMPLETED,
        account="a",
        budget=budget,
        machine="n1",
        gpu_type="h100",
        gpus=1,
        declared=False,
        submitted_at=now() - timedelta(seconds=60),
        started_at=now() - timedelta(seconds=seconds),
        ended_at=now(),
        gpu_seconds=seconds,
        exit_code=0,
        engine_run=f"gwangju/{number}/1",
        posix_user=user,
        bare=True,
    )


def test_what_slurm_is_told_comes_from_allocations_members_and_the_ledger(slurm):
    partition = make.partition(slurm, declared=False)
    row, closed = make.allocation(partition, amount=7200), make.allocation(partition, state="paused")
    named(slurm, jobs.holder(row), "kim")
    identity.person()
    make.job(row)  # what is held may still be used
    first, second = host.site.budgets("gwangju")
    assert first == Limits(
        account=f"grant-{row.grant_id}",
        budget=f"allocation-{row.pk}",
        open=True,
        gpu_seconds=7200,
        members=("kim",),
        partitions=(partition.name,),
        share=1,
    )
    assert (second.budget, second.open, second.members) == (f"allocation-{closed.pk}", False, ())


def test_whoever_has_no_user_name_on_a_cluster_is_told_so_and_nothing_is_held(slurm):
    row = make.allocation(make.partition(slurm, declared=False))
    with pytest.raises(Refused) as refused:
        make.job(row)
    assert refused.value.field == "allocation"
    assert (jobs.balance(row), Job.objects.count()) == ((0, 0, row.amount), 0)
    named(slurm, jobs.holder(row), "kim")
    assert make.job(row).posix_user == "kim"


def test_a_cluster_that_the_settings_forgot_doesnt_answer(slurm, settings):
    settings.SLURM = {}
    with pytest.raises(Unavailable, match="MADANG_SLURM"):
        host.site.build("gwangju")
    assert clusters.runs_of("gwangju") == settings.RUNS_ROOT / "gwangju"


def test_the_operator_adds_a_slurm_cluster_that_the_settings_name_and_a_user_name_on_it(settings):
    settings.SLURM = {"gwangju": {"conf": "/etc/slurm/slurm.conf", "runs": "/shared/runs"}}
    client, person = browser(identity.operator()), identity.person()
    said = {"engine": "slurm", "code": "other", "name_ko": "주 클러스터", "name_en": "Main"}
    refused = client.post("/compute/clusters/add/", said)
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["code"])
    assert client.post("/compute/clusters/add/", {**said, "code": "gwangju"}).status_code == 302
    cluster = Cluster.objects.get()
    given = {"cluster": cluster.pk, "email": person.email, "name": "kim"}
    for field, value in (("email", "nobody@example.kr"), ("name", "Kim; rm"), ("name", "root\n0")):
        refused = client.post("/compute/accounts/", {**given, field: value})
        assert (refused.status_code, list(refused.context["form"].errors)) == (422, [field])
    assert client.post("/compute/accounts/", given).status_code == 302
    assert client.post("/compute/accounts/", {**given, "email": identity.person().email}).status_code == 422
    assert "<code>kim</code>" in client.get("/compute/accounts/").text
    assert browser(person).get("/compute/accounts/").status_code == 403


def test_a_job_shows_its_place_and_the_start_that_the_cluster_forecasts():
    row = make.allocation()
    job = make.job(row)
    Job.objects.filter(pk=job.pk).update(state="queued", place=7, expected_at=now() + timedelta(hours=3))
    page = browser(jobs.holder(row)).get(reverse("compute:job", args=[job.uuid])).text
    assert re.search(r"Place in the queue</dt>\s*<dd[^>]*>\s*7\s*</dd>", page)
    assert "as the cluster forecasts it" in page


def test_what_ran_past_us_is_a_job_without_a_script_and_strays_are_the_operators_to_see(slurm):
    row = make.allocation(make.partition(slurm, declared=False))
    other = make.allocation()  # of another cluster
    person, stranger = jobs.holder(row), identity.person()
    named(slurm, person, "kim")
    told = [
        bare(0, "kim", f"allocation-{row.pk}"),
        bare(1, "lee", f"allocation-{row.pk}"),
        bare(2, "kim", "normal"),
        bare(3, "kim", f"allocation-{other.pk}"),
    ]
    for _twice in range(2):
        jobs.actions.record_usage("gwangju", told)
    job = Job.objects.get(bare=True)
    assert (job.person, job.state, job.used, job.allocation) == (person, "ended", 40, row)
    assert jobs.balance(row) == (0, 40, row.amount - 40)
    assert jobs.balance(other) == (0, 0, other.amount)
    assert sorted(Stray.objects.values_list("posix_user", "budget")) == sorted(
        (row.posix_user, row.budget) for row in told[1:]
    )
    page = browser(person).get(reverse("compute:job", args=[job.uuid])).text
    assert "submitted to the cluster itself, with sbatch" in page
    assert "sbatch" in browser(person).get("/compute/jobs/").text
    assert browser(stranger).get(reverse("compute:job", args=[job.uuid])).status_code == 404
    operator = browser(identity.operator())
    assert "<bdi>lee</bdi>" in operator.get("/compute/strays/").text
    assert browser(person).get("/compute/strays/").status_code == 403
    stray = Stray.objects.get(posix_user="lee")
    refused = operator.post("/compute/strays/", {"stray": stray.pk, "answer": " "})
    assert refused.status_code == 422
    answer = {"stray": stray.pk, "answer": "a guest of the university"}
    assert browser(person).post("/compute/strays/", answer).status_code == 403
    assert operator.post("/compute/strays/", answer).status_code == 302
    assert "<bdi>lee</bdi>" not in operator.get("/compute/strays/").text


def test_what_slurm_is_told_takes_as_many_statements_for_forty_allocations_as_for_one(slurm):
    partition = make.partition(slurm, declared=False)

    def asked() -> int:
        with CaptureQueriesContext(connection) as said:
            host.site.budgets("gwangju")
        return len(said)

    row = make.allocation(partition)
    named(slurm, jobs.holder(row), "kim")
    before = asked()
    for number in range(39):
        named(slurm, jobs.holder(make.allocation(partition)), f"lee{number}")
    assert (asked(), before) == (6, 6)


def test_the_twin_is_told_what_the_jobs_of_a_resource_run_on(slurm: Cluster) -> None:
    here = make.partition(gpus=8, most_gpus=4, longest_s=3600)
    there = make.partition(slurm, gpus=64, most_gpus=64, longest_s=86_400)
    make.partition()
    assert queries.queues([here.resource_id, there.resource_id, 0]) == {
        here.resource_id: Queue(8, "fcfs", 4, 3600),
        there.resource_id: Queue(64, "easy", 64, 86_400),
    }


def test_the_gpus_of_a_partition_that_is_declared_are_not_called_real_whatever_the_cluster_says(slurm):
    """A Slurm takes a link to /dev/null for a GPU."""
    make.partition(slurm, gpu_type="h100", declared=True)
    make.partition(slurm, gpu_type="a100", declared=False)
    slots = [{"gpu_type": kind, "slots": 8, "busy": 0, "declared": False, "queued": 0} for kind in ("a100", "h100")]
    Watch.objects.create(engine="gwangju", health={"reachable": True, "slots": slots})
    text = browser(identity.operator()).get(reverse("compute:health")).content.decode()
    found = dict(re.findall(r'<th scope="row">(\w+)</th>.*?<td>([^<]*)</td></tr>', text))
    assert found == {"a100": "real", "h100": "declared, not real"}
