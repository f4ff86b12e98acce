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

from madang.catalog.tests import make as catalog
from madang.engines.base import Limits, Outcome, RunKey, Unavailable, UsageRow
from madang.facilities.compute import clusters, host, queries
from madang.facilities.compute.models import Cluster, EngineKind, PosixAccount
from madang.facilities.compute.tests import make
from madang.facilities.compute.tests.test_api import BASE, program
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
        engine_id=str(40 + number),
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


def test_its_holder_reads_how_to_submit_on_the_cluster_itself_and_nobody_else_does(slurm):
    partition = make.partition(slurm, declared=False)
    row = make.allocation(partition)
    here = reverse("compute:partition", args=[partition.resource.code])
    line = f"sbatch --account=grant-{row.grant_id} --qos=allocation-{row.pk} --partition={partition.name} --nodes=1"
    assert (
        f"{line} --gpus-per-node={partition.gpu_type}:1 --time=01:00:00 job.sh"
        in browser(jobs.holder(row)).get(here).text
    )
    for person in (identity.person(), identity.operator()):
        assert "sbatch" not in browser(person).get(here).text
    local = make.allocation()
    place = reverse("compute:partition", args=[local.resource.code])
    assert "sbatch" not in browser(jobs.holder(local)).get(place).text


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
    assert job.name == "slurm-40"
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


def test_partitions_of_one_gpu_type_are_told_apart_by_name_in_form_forecast_price_and_charge(slurm):
    short = make.partition(slurm, name="h100-short", gpu_type="h100", gpus=16, most_gpus=8, longest_s=3600)
    long = make.partition(slurm, name="h100-long", gpu_type="h100", gpus=8, most_gpus=8, longest_s=6 * 3600)
    for row, price in ((short, 2000), (long, 5000)):
        catalog.rate(row.resource, price_krw=price)
    first = make.allocation(short)
    second = make.allocation(long, grant=first.grant)
    person = jobs.holder(first)
    named(slurm, person, "kim")
    counted = {"gpu_type": "h100", "declared": False, "closed": 0}
    own = [
        {**counted, "partition": "h100-short", "slots": 16, "busy": 16, "queued": 3},
        {**counted, "partition": "h100-long", "slots": 8, "busy": 2, "queued": 0},
    ]
    health = {"lag_s": 1, "sandbox": True, "kept_apart": True, "partitions": own}
    health["slots"] = [{**counted, "slots": 24, "busy": 18, "queued": 3}]
    Watch.objects.create(engine="gwangju", answered_at=now(), health=health)

    client, program_of = browser(person), program(person)
    for row, place, krw, start, free in ((first, short, 4000, "waits", 0), (second, long, 10_000, "now", 6)):
        page = client.post("/compute/jobs/new/", {"allocation": row.pk, "gpus": 2, "limit_s": 60, "calculate": "1"})
        labels = dict(page.context["form"].fields["allocation"].choices)
        assert [name in label for label in labels.values() for name in ("h100-short", "h100-long")] == [1, 0, 0, 1]
        assert (page.context["forecast"].krw, page.context["forecast"].start) == (krw, start)
        assert f"(<bdi>{place.name}</bdi>)" in page.content.decode().split('role="status"')[-1]
        said = program_of.get(f"{BASE}/forecast", {"allocation": row.pk, "gpus": 2, "limit_s": 3600}).json()
        assert (said["partition"], said["resource"], said["krw"], said["start"], said["free"]) == (
            *(place.name, place.resource.code, krw, start, free),
        )
        job = make.job(row, person, gpus=2, limit_s=3600)
        assert (job.partition, job.gpu_type, jobs.balance(row)[0]) == (place.name, "h100", 7200)
        assert f"(<bdi>{place.name}</bdi>)" in client.get(reverse("compute:job", args=[job.uuid])).content.decode()
        assert program_of.get(f"{BASE}/jobs/{job.uuid}").json()["partition"] == place.name
    there = {row["partition"]: row for row in program_of.get(f"{BASE}/partitions").json()["items"]}
    assert {name: (row["busy"], row["queued"], row["closed"]) for name, row in there.items()} == {
        "h100-short": (16, 3, 0),
        "h100-long": (2, 0, 0),
    }
    health["partitions"] = own[1:]  # all of the other one's nodes are gone
    Watch.objects.update(health=health)
    there = {row["partition"]: row["closed"] for row in program_of.get(f"{BASE}/partitions").json()["items"]}
    assert there == {"h100-short": 16, "h100-long": 0}
