from __future__ import annotations

import pytest
from django.db import connection

from madang.engines.base import WORD
from madang.facilities.compute import actions, host
from madang.facilities.compute.models import Partition
from madang.facilities.compute.tests import make
from madang.identity.models import Scope
from madang.identity.tests import make as identity
from madang.jobs.models import Job, Watch
from madang.jobs.tests import make as jobs
from madang.workflow.errors import NotAllowed, Refused

pytestmark = pytest.mark.django_db


def slots(code: str) -> list[tuple[str, int, bool]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT gpu_type, gpu, declared FROM engine_slot WHERE machine = %s ORDER BY 1, 2", [code])
        return cursor.fetchall()


def refused(call, *args, **facts) -> dict:
    with pytest.raises(Refused) as answer:
        call(*args, **facts)
    return answer.value.errors


def test_a_partition_declares_its_slots_to_the_engine():
    row = make.partition(gpus=2, most_gpus=2, gpu_type="a100")
    assert slots(row.cluster.code) == [("a100", 0, True), ("a100", 1, True)]


def test_a_partition_of_real_gpus_needs_them_to_be_there():
    from madang.engines.local import find_gpus

    if find_gpus():
        pytest.skip("this machine has GPUs")
    assert list(refused(make.partition, declared=False)) == ["gpus"]
    assert Partition.objects.count() == 0


def test_what_cannot_be_a_partition_is_refused_with_every_field():
    errors = refused(make.partition, name="a b", gpu_type="x y", gpus=2, most_gpus=3, longest_s=1)
    assert sorted(errors) == ["gpu_type", "longest_s", "most_gpus", "name"]


def test_a_resource_has_one_partition_and_a_cluster_each_name_once():
    row = make.partition()
    assert list(refused(make.partition, resource=row.resource)) == ["name"]
    assert list(refused(make.partition, row.cluster, name=row.name)) == ["name"]
    assert list(refused(make.cluster, code=row.cluster.code)) == ["code"]


def test_on_this_machine_the_gpus_of_a_type_are_one_partition_and_the_refusal_names_it():
    row = make.partition(name="short", gpu_type="h100", gpus=2, most_gpus=2)
    with pytest.raises(Refused, match="“short”") as answer:
        make.partition(row.cluster, gpu_type="h100", gpus=4)
    assert list(answer.value.errors) == ["gpu_type"]
    assert (Partition.objects.count(), slots(row.cluster.code)) == (1, [("h100", 0, True), ("h100", 1, True)])
    assert make.partition(row.cluster, gpu_type="a100").gpu_type == make.partition(gpu_type="a100").gpu_type


def test_a_connection_of_its_own_is_told_what_the_address_of_the_database_says(monkeypatch):
    options = {"sslmode": "prefer", "connect_timeout": "7", "application_name": "madang", "pool": {"max_size": 8}}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", connection.settings_dict["OPTIONS"] | options)
    facts = host.connection_facts()
    assert {name: facts.get(name) for name in options} == {**options, "pool": None}
    assert not {"context", "cursor_factory", "prepare_threshold"} & set(facts)
    with host.connect() as own:
        told = own.info.get_parameters()
        assert (own.info.dbname, own.info.user) == (connection.connection.info.dbname, connection.connection.info.user)
    assert {name: told.get(name) for name in ("connect_timeout", "application_name")} == {
        "connect_timeout": "7",
        "application_name": "madang",
    }


@pytest.mark.parametrize("code", ["", "-x", "a b", "x" * 65, "가"])
def test_the_code_of_a_cluster_is_a_word_of_the_engine(code):
    assert list(refused(make.cluster, code=code)) == ["code"]
    assert not WORD.fullmatch(code) or len(code) > 40


def test_the_operator_adds_clusters_and_the_steward_of_a_resource_its_partition():
    row = make.partition()
    other = make.catalog.resource()
    steward = identity.steward(Scope.RESOURCE, other.pk)
    assert make.partition(row.cluster, resource=other, actor=steward).resource == other
    for stranger in (identity.steward(Scope.RESOURCE, row.resource_id), identity.officer(), identity.person()):
        with pytest.raises(NotAllowed):
            make.partition(row.cluster, actor=stranger)
        with pytest.raises(NotAllowed):
            actions.add_cluster(stranger, code="x", name_ko="x", name_en="x")


def test_a_job_gets_the_terms_of_its_partition():
    row = make.allocation(make.partition(gpu_type="h100", memory_mb=2000))
    job = make.job(row, gpus=2)
    assert (job.gpu_type, job.memory_mb, job.trusted) == ("h100", 4000, False)


@pytest.mark.parametrize(("facts", "field"), [({"gpus": 5}, "gpus"), ({"limit_s": 6 * 3600 + 1}, "limit_s")])
def test_what_the_partition_does_not_allow_is_refused_at_its_field(facts, field):
    row = make.allocation(amount=10**9)
    assert list(refused(make.job, row, **facts)) == [field]
    assert jobs.balance(row)[0] == 0


def test_an_allocation_of_another_partition_is_refused_by_the_verb_itself():
    mine, other = make.allocation(), make.partition()
    from madang.jobs import actions as verbs

    errors = refused(
        verbs.submit,
        jobs.holder(mine),
        uuid=make.uuid4(),
        allocation=mine,
        name="x",
        script=make.SCRIPT,
        gpus=1,
        limit_s=60,
        engine=other.cluster.code,
        partition=other.name,
    )
    assert list(errors) == ["partition"]


def test_a_resource_without_a_partition_runs_nothing():
    assert list(refused(make.job, jobs.allocation())) == ["allocation"]


def test_a_second_organization_is_refused_on_a_cluster_that_cannot_keep_them_apart():
    where = make.partition()
    first, second = make.allocation(where), make.allocation(where)
    make.job(first)
    assert list(refused(make.job, second)) == ["allocation"]
    assert (jobs.balance(second)[0], Job.objects.count()) == (0, 1)
    assert make.job(first).lives
    Watch.objects.create(engine=where.cluster.code, health={"kept_apart": True, "sandbox": True, "lag_s": 1})
    assert make.job(second).lives


def test_without_a_sandbox_only_the_operators_own_job_runs(settings):
    where = make.partition()
    row = make.allocation(where)
    Watch.objects.create(engine=where.cluster.code, health={"sandbox": False, "lag_s": 1})
    assert list(refused(make.job, row)) == ["script"]
    settings.DEMO = True
    assert make.job(row, script=host.SHIPPED.read_text()).trusted


def test_the_shipped_job_is_trusted_only_in_a_demonstration_and_only_to_the_letter(settings):
    row = make.allocation()
    shipped = host.SHIPPED.read_text()
    assert not make.job(row, script=shipped).trusted
    settings.DEMO = True
    assert make.job(row, script=shipped.replace("\n", "\r\n")).trusted
    assert not make.job(row, script=shipped + "import os\n").trusted


def test_the_demonstration_of_two_companies_shares_a_cluster(settings):
    settings.DEMO = True
    where = make.partition()
    first, second = make.allocation(where), make.allocation(where)
    shipped = host.SHIPPED.read_text()
    assert make.job(first, script=shipped).trusted
    assert make.job(second, script=shipped).trusted
    assert not make.job(first).trusted
    assert list(refused(make.job, second)) == ["allocation"]


def test_nobody_makes_a_script_trusted_by_saying_so():
    from madang.jobs import actions as verbs

    row = make.allocation()
    where = Partition.objects.select_related("cluster").get(resource=row.resource)
    with pytest.raises(Refused):
        verbs.submit(
            jobs.holder(row),
            uuid=make.uuid4(),
            allocation=row,
            name="x",
            script=make.SCRIPT,
            gpus=1,
            limit_s=60,
            engine=where.cluster.code,
            partition=where.name,
            trusted=True,
        )
    assert jobs.balance(row)[0] == 0
