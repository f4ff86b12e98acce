from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.utils.timezone import now

from madang.catalog.tests import make as catalog
from madang.facilities.compute import actions, storage
from madang.facilities.compute.models import Folder, StorageSample
from madang.facilities.compute.tests import make
from madang.grants.facility import facility_of
from madang.identity.tests import make as identity
from madang.jobs.models import Job
from madang.jobs.tests import make as jobs
from madang.ledger import queries as ledger
from madang.workflow.errors import Missing, Refused

pytestmark = pytest.mark.django_db
MB = storage.MB


def volume(grant, *, mb: int = 10):
    """Storage for so many MB over the days of use of the grant."""
    hours = int((grant.ends_at - grant.starts_at).total_seconds() // 3600)
    return jobs.allocation(grant, amount=mb * hours, resource=catalog.resource("storage"))


def later(row, **time) -> None:
    StorageSample.objects.filter(allocation=row).update(at=now() - timedelta(**time))


def ended(job: Job) -> None:
    long_ago = now() - timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(state="ended", outcome="completed", told_at=long_ago, ended_at=long_ago)
    job.refresh_from_db()


def test_a_quota_is_the_amount_over_the_days_of_use():
    grant = jobs.grant()
    assert storage.quota_mb(volume(grant, mb=25), grant) == 25


def test_what_a_grant_holds_is_charged_by_the_hour_exactly():
    row = make.allocation()
    kept = volume(row.grant)
    assert storage.charge(kept)
    job = make.job(row)
    make.wrote(job, model_bin=os.urandom(3 * MB))
    storage.measure()
    held = Folder.objects.get(job=job).bytes
    assert 3 * MB <= held < 3.1 * MB
    later(kept, hours=5)
    storage.charge(kept)
    assert jobs.balance(kept)[1] == 0
    later(kept, hours=2)
    storage.charge(kept)
    sample = StorageSample.objects.filter(allocation=kept).order_by("-id")[0]
    assert (sample.charged_mb_hours, jobs.balance(kept)[1]) == (6, 6)
    assert abs(sample.carry - (held * 7200 - 6 * storage.MB_HOUR)) <= held * 2


def test_too_little_to_charge_is_carried_and_never_lost():
    row = make.allocation()
    kept = volume(row.grant)
    make.wrote(make.job(row), model_bin=os.urandom(MB))
    storage.measure()
    storage.charge(kept)
    for _ in range(12):
        later(kept, minutes=10)
        storage.charge(kept)
    assert jobs.balance(kept)[1] == 0
    assert StorageSample.objects.filter(allocation=kept).count() == 1
    later(kept, minutes=121)
    storage.charge(kept)
    assert jobs.balance(kept)[1] == 2


def test_a_sample_is_charged_once_however_often_it_is_asked_for():
    row = make.allocation()
    kept = volume(row.grant)
    make.wrote(make.job(row), model_bin=os.urandom(MB))
    storage.measure()
    storage.charge(kept)
    later(kept, hours=3)
    assert [storage.sample(), storage.sample(), storage.sample()] == [1, 0, 0]
    assert jobs.balance(kept)[1] == 3


def test_what_the_balance_does_not_cover_is_an_overrun():
    row = make.allocation()
    kept = jobs.allocation(row.grant, amount=2, resource=catalog.resource("storage"))
    make.wrote(make.job(row), model_bin=os.urandom(MB))
    storage.measure()
    storage.charge(kept)
    later(kept, hours=5)
    storage.charge(kept)
    assert (jobs.balance(kept), ledger.overruns([kept.account])) == ((0, 2, 0), {kept.account: 3})


def test_full_storage_takes_no_further_job_until_files_are_gone():
    row = make.allocation()
    volume(row.grant, mb=2)
    job = make.job(row)
    make.wrote(job, log=b"kept", model_bin=os.urandom(2 * MB))
    storage.measure()
    with pytest.raises(Refused) as refused:
        make.job(row)
    assert list(refused.value.errors) == ["allocation"]
    with pytest.raises(Refused):
        actions.delete_files(jobs.holder(row), job=job)
    ended(job)
    actions.delete_files(jobs.holder(row), job=job)
    with pytest.raises(Refused):
        make.job(row)
    make.worked()
    assert storage.held_bytes(row.grant) < 10_000
    assert (make.folder(job) / "out.log").read_bytes() == b"kept"
    assert make.job(row).lives


def test_a_grant_without_storage_may_leave_a_little():
    row = make.allocation()
    job = make.job(row)
    Folder.objects.create(job=job, bytes=storage.WITHOUT_STORAGE_MB * MB)
    with pytest.raises(Refused):
        make.job(row)


def test_folders_of_ended_jobs_are_measured_once_more_and_then_left_alone():
    row = make.allocation()
    job = make.job(row)
    make.wrote(job, a_txt=b"x")
    ended(job)
    assert [storage.measure(), storage.measure()] == [1, 0]


def test_files_that_a_job_locked_away_are_removed_too_and_links_are_not_followed(tmp_path):
    row = make.allocation()
    job = make.job(row)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("stays")
    work = make.folder(job) / "work"
    (work / "deep").mkdir()
    (work / "deep" / "file").write_text("x")
    (work / "deep").chmod(0)
    (work / "link").symlink_to(outside)
    storage.remove_files(job)
    assert not work.exists()
    assert (outside / "precious").read_text() == "stays"


def test_the_size_of_a_folder_counts_no_link(tmp_path):
    (tmp_path / "big").write_bytes(os.urandom(MB))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "big")
    assert storage.size_of(folder) == 0


def test_only_members_delete_files():
    row = make.allocation()
    job = make.job(row)
    ended(job)
    with pytest.raises(Missing):
        actions.delete_files(identity.lead_of(identity.organization()), job=job)


def test_opening_storage_starts_its_samples_and_closing_charges_the_rest():
    row = make.allocation()
    kept = volume(row.grant)
    facility_of("storage").open(kept)
    make.wrote(make.job(row), model_bin=os.urandom(MB))
    storage.measure()
    storage.charge(kept)
    later(kept, hours=4)
    facility_of("storage").close(kept)
    assert jobs.balance(kept)[1] == 4


def test_closing_computing_asks_its_jobs_to_end():
    row = make.allocation()
    job = make.job(row)
    facility_of("compute").close(row)
    job.refresh_from_db()
    assert (job.outcome, jobs.balance(row)[0]) == ("cancelled", 0)


def test_what_the_machine_says_about_a_line_for_computing():
    where = make.partition()
    row = make.allocation(where, amount=40 * 8 * 86_400)
    assert [finding.blocking for finding in facility_of("compute").feasibility(row.line)] == [True, False]
    small = make.allocation(make.partition(), amount=3600)
    assert [finding.blocking for finding in facility_of("compute").feasibility(small.line)] == [False]
