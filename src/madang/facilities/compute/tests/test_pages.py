from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from madang.catalog.tests import make as catalog
from madang.engines.base import NodeState
from madang.facilities.compute.models import Cluster, Partition
from madang.facilities.compute.tests import make
from madang.identity.tests import make as identity
from madang.jobs import nodes, poller
from madang.jobs.models import Job, Node, Run, Watch
from madang.jobs.tests import make as jobs
from madang.workflow.moment import now

pytestmark = pytest.mark.django_db
LONG = "0" * 20 + "9" * 5000  # too many digits for Python, and a small number by its first twenty
NOTHING = {"allocation": "", "gpus": "", "limit_s": "", "name": "", "script": "", "arguments": ""}


def browser(person) -> Client:
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(person)
    return client


def filled(row, **facts) -> dict:
    return {
        "uuid": str(uuid4()),
        "allocation": row.pk,
        "gpus": 1,
        "limit_s": 10,
        "name": "train",
        "script": make.SCRIPT,
        "arguments": "",
        "submit": "1",
        **facts,
    }


NEW = "/compute/jobs/new/"


def test_the_form_offers_what_allocation_and_partition_allow():
    row = make.allocation(make.partition(most_gpus=4), amount=3 * 60)
    form = browser(jobs.holder(row)).get(NEW).context["form"]
    assert [value for value, _label in form.fields["gpus"].choices] == [1, 2, 3]
    assert form.fields["limit_s"].max_value == 360
    assert form.fields["limit_s"].initial == 3


def test_the_form_names_the_grant_and_says_that_one_of_the_two_scripts_is_needed():
    row = make.allocation()
    page = browser(jobs.holder(row)).get(NEW)
    ((_value, label),) = page.context["form"].fields["allocation"].choices
    assert row.grant.number in label
    assert page.content.decode().count("(one of the two)") == 2


def test_the_form_offers_no_allocation_that_takes_no_jobs():
    row = make.allocation()
    make.allocation(grant=row.grant, state="paused")
    jobs.allocation(row.grant)
    form = browser(jobs.holder(row)).get(NEW).context["form"]
    assert [value for value, _label in form.fields["allocation"].choices] == [row.pk]


def test_without_an_allocation_the_page_says_what_to_do():
    page = browser(identity.lead_of(identity.organization())).get(NEW).content.decode()
    assert "Accept the agreement of your grant" in page


def test_the_cost_is_calculated_by_the_server_without_javascript():
    where = make.partition()
    catalog.rate(where.resource, price_krw=2000)
    row = make.allocation(where)
    page = browser(jobs.holder(row)).post(NEW, filled(row, gpus=2, limit_s=90, calculate="1"))
    assert (page.status_code, Job.objects.count()) == (200, 0)
    estimate = page.context["forecast"]
    assert (estimate.held, estimate.krw, estimate.left_after) == (2 * 90 * 60, 6000, 10 * 3600 - 10800)
    assert "₩6,000" in page.content.decode()
    assert page.context["form"]["script"].value() == make.SCRIPT


def test_htmx_gets_only_the_choices():
    row = make.allocation()
    page = browser(jobs.holder(row)).post(
        NEW, {"allocation": row.pk, "gpus": 4, "limit_s": 600, "calculate": "1"}, headers={"HX-Request": "true"}
    )
    text = page.content.decode()
    assert ("<h1" in text, 'id="choices"' in text, "not covered" in text) == (False, True, True)


def test_a_submitted_job_is_kept_and_a_double_click_is_one_job():
    row = make.allocation()
    client, data = browser(jobs.holder(row)), filled(row)
    first, second = client.post(NEW, data), client.post(NEW, data)
    job = Job.objects.get()
    assert [first.url, second.url] == [reverse("compute:job", args=[job.uuid])] * 2
    assert (job.script, job.limit_s, jobs.balance(row)[0]) == (make.SCRIPT, 600, 600)


def test_a_stale_form_with_other_content_says_so():
    row = make.allocation()
    client, data = browser(jobs.holder(row)), filled(row)
    client.post(NEW, data)
    page = client.post(NEW, {**data, "gpus": 2})
    assert (page.status_code, Job.objects.count()) == (422, 1)
    assert "submitted before with other content" in page.content.decode()


def test_a_script_comes_as_a_file_too():
    row = make.allocation()
    file = SimpleUploadedFile("train.py", b"\xef\xbb\xbf#!/usr/bin/env python3\r\nprint(1)\r\n")
    assert browser(jobs.holder(row)).post(NEW, filled(row, script="", file=file)).status_code == 302
    assert Job.objects.get().script == "#!/usr/bin/env python3\nprint(1)\n"


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"name": "two\nlines"}, "name"),
        ({"name": "nul\x00"}, "name"),
        ({"name": "turn\u202e"}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": ""}, "name"),
        ({"gpus": "5"}, "gpus"),
        ({"gpus": "0"}, "gpus"),
        ({"gpus": "-1"}, "gpus"),
        ({"gpus": "two"}, "gpus"),
        ({"gpus": "9" * 40}, "gpus"),
        ({"limit_s": "0"}, "limit_s"),
        ({"limit_s": "361"}, "limit_s"),
        ({"limit_s": "9" * 40}, "limit_s"),
        ({"limit_s": "1.5"}, "limit_s"),
        ({"limit_s": ""}, "limit_s"),
        ({"allocation": "999999999"}, "allocation"),
        ({"allocation": "x"}, "allocation"),
        ({"script": ""}, "script"),
        ({"script": "no interpreter"}, "script"),
        ({"script": "#!/bin/sh\n\x00"}, "script"),
        ({"script": "#!/bin/sh\n" + "x" * 200_000}, "script"),
        ({"script": "", "file": SimpleUploadedFile("a.sh", b"#!/bin/sh\n" + b"x" * 200_000)}, "file"),
        ({"script": "", "file": SimpleUploadedFile("a.zip", b"PK\x03\x04\xff\xfe")}, "file"),
        ({"file": SimpleUploadedFile("a.sh", b"#!/bin/sh\n")}, "script"),
        ({"arguments": 'an "open quote'}, "arguments"),
        ({"uuid": "not one"}, "uuid"),
    ],
)
def test_bad_input_is_said_at_its_field_and_nothing_is_half_done(facts, field):
    row = make.allocation()
    page = browser(jobs.holder(row)).post(NEW, filled(row, **facts))
    assert (page.status_code, list(page.context["form"].errors)) == (422, [field])
    assert (Job.objects.count(), jobs.balance(row)[0]) == (0, 0)


def test_more_than_is_left_is_said_at_the_time_limit():
    row = make.allocation(amount=3600)
    page = browser(jobs.holder(row)).post(NEW, filled(row, gpus=2, limit_s=60))
    assert list(page.context["form"].errors) == ["limit_s"]
    assert "1 GPU-hours</span> are left" in page.content.decode()


def test_another_tenants_allocation_is_no_choice():
    mine, theirs = make.allocation(), make.allocation()
    page = browser(jobs.holder(mine)).post(NEW, filled(theirs))
    assert list(page.context["form"].errors) == ["allocation"]
    assert Job.objects.count() == 0


def test_the_form_is_protected_against_forgery():
    row = make.allocation()
    client = Client(enforce_csrf_checks=True)
    client.force_login(jobs.holder(row))
    assert (client.post(NEW, filled(row)).status_code, Job.objects.count()) == (403, 0)


def test_the_page_of_a_job_shows_state_log_files_and_what_was_asked():
    row = make.allocation()
    job = make.job(row, name="<b>이름</b>", arguments=["--x", "1"])
    make.wrote(job, log=b"\x1b[31mepoch 1\x1b[0m <script>alert(1)</script>\n", report_md=b"# ok")
    text = browser(jobs.holder(row)).get(reverse("compute:job", args=[job.uuid])).content.decode()
    assert "epoch 1 &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>이름</b>" not in text
    assert "\x1b" not in text
    assert "report.md" in text
    assert 'hx-trigger="load delay' in text


def test_an_ended_job_is_no_longer_asked_for():
    row = make.allocation()
    job = make.job(row)
    jobs.actions.cancel(jobs.holder(row), job=job)
    text = browser(jobs.holder(row)).get(reverse("compute:job", args=[job.uuid])).content.decode()
    assert "hx-trigger" not in text.split("<main", 1)[1]
    assert "Cancel the job" not in text


def test_the_log_grows_from_where_it_was_and_says_when_it_is_over():
    row = make.allocation()
    job = make.job(row)
    make.wrote(job, log="one\n둘\nhalf a li".encode())
    client, address = browser(jobs.holder(row)), reverse("compute:log", args=[job.uuid])
    page = client.get(address, {"offset": 4}, headers={"HX-Request": "true"}).content.decode()
    assert page.startswith("둘\n<section")
    assert "offset=8" in page
    Job.objects.filter(pk=job.pk).update(state="ended", outcome="completed")
    page = client.get(address, {"offset": 8}, headers={"HX-Request": "true"}).content.decode()
    assert page.startswith("half a li<section")
    assert "offset=" not in page
    assert "job-files" in page


@pytest.mark.parametrize("offset", ["-1", "x", "9" * 30, "99999999", "", LONG])
def test_a_strange_offset_is_no_error(offset):
    row = make.allocation()
    job = make.job(row)
    make.wrote(job, log=b"line\n")
    page = browser(jobs.holder(row)).get(
        reverse("compute:log", args=[job.uuid]), {"offset": offset}, headers={"HX-Request": "true"}
    )
    assert page.status_code == 200


def test_a_long_log_shows_its_end_and_downloads_whole():
    row = make.allocation()
    job = make.job(row)
    log = b"".join(b"line %06d\n" % n for n in range(30_000))
    make.wrote(job, log=log)
    client = browser(jobs.holder(row))
    text = client.get(reverse("compute:job", args=[job.uuid])).content.decode()
    assert ("line 029999" in text, "line 000000" in text) == (True, False)
    answer = client.get(reverse("compute:whole_log", args=[job.uuid]))
    assert b"".join(answer.streaming_content) == log
    assert answer["Content-Type"].startswith("text/plain")


def test_files_are_downloaded_and_never_shown_as_a_page_of_this_site():
    row = make.allocation()
    job = make.job(row)
    make.wrote(job, evil_html=b"<script>alert(1)</script>")
    answer = browser(jobs.holder(row)).get(reverse("compute:file", args=[job.uuid, "evil.html"]))
    assert b"".join(answer.streaming_content) == b"<script>alert(1)</script>"
    assert answer["Content-Disposition"].startswith("attachment")
    assert (answer["Content-Type"], answer["X-Content-Type-Options"]) == ("application/octet-stream", "nosniff")


def test_no_link_and_no_path_leads_out_of_the_folder(tmp_path):
    row = make.allocation()
    job = make.job(row)
    make.wrote(job, ok_txt=b"ok")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    work = make.folder(job) / "work"
    (work / "link").symlink_to(secret)
    (work / "up").symlink_to(tmp_path)
    client = browser(jobs.holder(row))
    base = reverse("compute:job", args=[job.uuid]) + "files/"
    for path in ("link", "up/secret", "../out.log", "..%2Fout.log", "%2Fetc%2Fpasswd", "missing", "ok.txt/x", "."):
        assert client.get(base + path).status_code == 404
    page = client.get(reverse("compute:job", args=[job.uuid])).content.decode()
    assert "secret" not in page
    assert client.get(base + "ok.txt").status_code == 200


def test_run_again_fills_the_form_with_what_it_was():
    row = make.allocation()
    job = make.job(row, gpus=2, limit_s=90, arguments=["--name", "a b"])
    form = browser(jobs.holder(row)).get(NEW, {"from": str(job.uuid)}).context["form"]
    values = {name: form[name].value() for name in ("name", "script", "arguments", "gpus", "limit_s")}
    assert values == {"name": "학습", "script": make.SCRIPT, "arguments": "--name 'a b'", "gpus": 2, "limit_s": 2}
    assert str(form["uuid"].value()) != str(job.uuid)


def test_canceling_asks_first_and_happens_once():
    row = make.allocation()
    job = make.job(row)
    client, address = browser(jobs.holder(row)), reverse("compute:cancel", args=[job.uuid])
    assert client.get(address).status_code == 405
    assert client.post(address, follow=True).status_code == 200
    text = client.post(address, follow=True).content.decode()
    assert "already ended" in text
    assert jobs.balance(row) == (0, 0, 10 * 3600)


def test_files_are_deleted_after_the_end_only():
    row = make.allocation()
    job = make.job(row)
    make.wrote(job, big_bin=b"x")
    client, address = browser(jobs.holder(row)), reverse("compute:delete_files", args=[job.uuid])
    assert "may still write" in client.post(address, follow=True).content.decode()
    Job.objects.filter(pk=job.pk).update(state="ended", outcome="completed")
    assert "are being removed" in client.post(address, follow=True).content.decode()


def test_lists_are_a_page_at_a_time_and_mine_or_all_of_the_organizations():
    row = make.allocation(amount=10**9)
    colleague = identity.member(row.grant.organization)
    for number in range(33):
        make.job(row, colleague if number % 3 == 0 else None, name=f"job {number:02d}")
    client = browser(jobs.holder(row))
    first = client.get("/compute/jobs/").context["page"]
    second = client.get("/compute/jobs/", {"after": first.after}).context["page"]
    assert [job.name for job in [*first.items, *second.items]] == [f"job {n:02d}" for n in reversed(range(33))]
    mine = client.get("/compute/jobs/", {"whose": "mine"}).context["page"]
    assert len(mine.items) == 22
    assert len(client.get("/compute/jobs/", {"state": "ended"}).context["page"].items) == 0


@pytest.mark.parametrize(
    "query",
    [
        *({"after": "x"}, {"after": "-1"}, {"after": "9" * 50}, {"after": LONG}, {"state": "x"}),
        *({"allocation": "0"}, {"allocation": LONG}, {"whose": "<>"}),
    ],
)
def test_strange_questions_to_the_list_are_no_error(query):
    row = make.allocation()
    assert browser(jobs.holder(row)).get("/compute/jobs/", query).status_code == 200


def test_what_was_submitted_on_the_cluster_itself_is_listed_before_it_ends(settings):
    settings.SLURM = {"gj": {"conf": "/etc/slurm.conf", "runs": "/shared", "makes_users": "p"}}
    row = make.allocation(make.partition(make.cluster(code="gj", engine="slurm"), name="long"))
    client = browser(jobs.holder(row))
    assert "Submitted on the cluster itself" not in client.get("/compute/jobs/").content.decode()
    mine = jobs.bare(row, name="slurm-7", engine="gj", partition="long", runs=3)
    jobs.bare(None, name="slurm-8", engine="gj", partition="long", posix_user="stray")
    page = client.get("/compute/jobs/").content.decode()
    assert ("slurm-7" in page, "2 × 3" in page, "slurm-8" in page) == (True, True, False)
    assert "No jobs yet" not in page
    for query, there in (({"state": "live"}, True), ({"state": "ended"}, False), ({"whose": "mine"}, True)):
        assert ("slurm-7" in client.get("/compute/jobs/", query).content.decode()) is there
    assert "slurm-7" not in client.get("/compute/jobs/", {"after": 10**9}).content.decode()
    assert "slurm-7" not in browser(jobs.holder(make.allocation())).get("/compute/jobs/").content.decode()
    site = browser(identity.operator()).get("/compute/site-jobs/").content.decode()
    assert all(text in site for text in ("slurm-7", "slurm-8", "stray", "nobody’s", str(mine.allocation.grant.number)))
    assert "slurm-7" not in browser(identity.operator()).get("/compute/site-jobs/?partition=x").content.decode()


def queries_of(client: Client, address: str) -> int:
    client.get(address)
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert client.get(address).status_code == 200
    return len(seen)


def test_every_page_takes_as_many_queries_for_forty_rows_as_for_one():
    operator, grant = identity.operator(), jobs.grant()
    first = make.cluster()
    catalog.rate(make.partition(first).resource)
    row = make.allocation(Partition.objects.get(), grant, amount=10**9)
    job = make.job(row)
    make.wrote(job, log=b"x\n", a_txt=b"x")
    client, keeper = browser(jobs.holder(row)), browser(operator)
    Watch.objects.create(engine=first.code, health={"sandbox": True, "lag_s": 1, "kept_apart": True, "slots": []})
    page = reverse("compute:job", args=[job.uuid])
    place = reverse("compute:partition", args=[row.resource.code])
    asked = [(client, NEW), (client, "/compute/jobs/"), (client, page), (client, "/compute/"), (client, place)]
    asked.append((keeper, "/compute/health/"))
    before = [queries_of(*one) for one in asked]
    for number in range(39):
        where = make.partition(first)
        catalog.rate(where.resource)
        other = make.allocation(where, grant, amount=10**9)
        make.job(other)
        make.wrote(job, **{f"file{number}_txt": b"x"})
    after = [queries_of(*one) for one in asked]
    assert after == before
    assert max(after) <= 12


def test_the_partitions_of_the_site_are_public_and_say_what_is_declared():
    where = make.partition()
    Watch.objects.create(
        engine=where.cluster.code,
        health={"sandbox": True, "lag_s": 1, "slots": [{"gpu_type": where.gpu_type, "busy": 3, "queued": 2}]},
    )
    text = Client(HTTP_ACCEPT_LANGUAGE="en").get("/compute/").content.decode()
    assert "declared, not real" in text
    page = Client(HTTP_ACCEPT_LANGUAGE="en").get(reverse("compute:partition", args=[where.resource.code]))
    place = page.context["place"]
    assert (place.busy, place.free, place.queued, place.sandbox) == (3, 5, 2, True)
    assert Client().get("/compute/partitions/nothing/").status_code == 404


def test_an_empty_site_says_what_to_do_first():
    assert "No partitions yet" in browser(identity.operator()).get("/compute/").content.decode()
    assert "No clusters yet" in browser(identity.operator()).get("/compute/health/").content.decode()


def test_health_shows_what_the_poller_heard_and_names_no_tenant(settings):
    row = make.allocation()
    job = make.job(row, name="비밀 작업")
    poller.look()
    text = browser(identity.operator()).get("/compute/health/").content.decode()
    assert ("비밀 작업" in text, row.grant.organization.name_ko in text) == (False, False)
    assert Watch.objects.get().engine == job.engine


def test_what_a_silent_cluster_warned_of_before_is_not_shown_as_if_it_were_now():
    make.job(make.allocation())
    poller.look()
    alarm = {"code": "no_accounting", "text": "slurmdbd: no answer"}
    facts = {"health": {"warnings": [alarm]}, "drift": {"held": "would close 40 budgets at once"}, "windows_held": "no"}
    boss = browser(identity.operator())
    seen = []
    for answered_at in (now(), now() - timedelta(minutes=5)):
        Watch.objects.update(answered_at=answered_at, **facts, error="no answer" if seen else "")
        page = boss.get("/compute/health/").content.decode()
        (cluster,) = boss.get("/api/v1/compute/health").json()["items"]
        nodes = boss.get("/compute/nodes/").content.decode()
        shown = ["The accounting of the cluster" in page, "would close 40" in page, "take its maintenance" in nodes]
        seen.append((cluster["silent"], len(cluster["alarms"]), *shown))
    assert seen == [(False, 3, True, True, True), (True, 0, False, False, False)]
    assert "what it said is as it was then" in page


def test_nodes_are_shown_by_state_and_an_operator_drains_one_with_a_reason():
    seen = [NodeState(f"n{n:03}", "idle", "", ("h100",), "h100", 8, 0) for n in range(150)]
    nodes.keep("c", [*seen, NodeState("x", "down", "<b>burnt</b>", (), "h100", 8, 0)])
    boss = browser(identity.operator())
    page = boss.get("/compute/nodes/").content.decode()
    assert ("n099" in page, "n100" in page, "&lt;b&gt;burnt" in page) == (True, False, False)
    assert "n149" in boss.get("/compute/nodes/?state=idle&page=2").content.decode()
    assert "&lt;b&gt;burnt" in boss.get("/compute/nodes/?state=down").content.decode()
    node = Node.objects.get(name="n001")
    assert boss.post("/compute/nodes/?state=idle", {"node": node.pk, "reason": ""}).status_code == 422
    answer = boss.post("/compute/nodes/?state=idle", {"node": node.pk, "reason": "a fan is loud"})
    assert (answer.status_code, answer["Location"]) == (302, "/compute/nodes/?state=idle")
    assert Node.objects.exclude(wish="").get().wish_why == "a fan is loud"
    assert "is to take no more jobs" in boss.get("/compute/nodes/").content.decode()
    assert boss.post("/compute/nodes/", {"node": node.pk, "resume": "1"}).status_code == 302
    assert Node.objects.get(pk=node.pk).wish == "resume"
    assert boss.post("/compute/nodes/", {"node": "9" * 12, "resume": "1"}).status_code == 404
    assert boss.post("/compute/nodes/", {"node": "x"}).status_code == 200

    keeper = browser(identity.steward())
    assert "Drain" not in keeper.get("/compute/nodes/?state=down").content.decode()
    assert keeper.post("/compute/nodes/", {"node": node.pk, "reason": "mine"}).status_code == 403
    assert browser(identity.person()).get("/compute/nodes/").status_code == 403
    assert Client().get("/compute/nodes/").status_code == 302


def test_an_operator_ends_a_tenants_job_from_the_list_or_its_page_and_its_owner_reads_why():
    row = make.allocation()
    job, other = make.job(row, name="<b>긴 작업</b>"), make.job(row)
    Job.objects.update(state="running", told_at=now(), started_at=now())
    boss, owner = browser(identity.operator()), browser(jobs.holder(row))
    page = boss.get("/compute/site-jobs/").content.decode()
    assert ("&lt;b&gt;" in page, "<b>긴" in page, page.count("End the job")) == (True, False, 4)
    assert "/compute/site-jobs/?engine=" in boss.get("/compute/health/").content.decode()
    short = boss.post(f"/compute/site-jobs/{job.uuid}/end/", {"reason": "now", "listed": "True"})
    assert (short.status_code, "Say why in a few words" in short.content.decode()) == (422, True)
    why = {"reason": "It <i>fills</i> the shared disk."}
    answer = boss.post(f"/compute/site-jobs/{job.uuid}/end/", {**why, "listed": "True"})
    assert (answer.status_code, answer.url) == (302, "/compute/site-jobs/")
    assert "is being ended" in boss.get("/compute/site-jobs/").content.decode()
    told = owner.get(f"/compute/jobs/{job.uuid}/").content.decode()
    assert ("The site asked this job to end" in told, "It &lt;i&gt;fills" in told) == (True, True)
    assert "<i>fills" not in told
    assert "Asked to end by the operator of the site" in told
    make.ended(job, ["cancelled"])
    told = owner.get(f"/compute/jobs/{job.uuid}/").content.decode()
    assert ("The site had this job end" in told, "It &lt;i&gt;fills" in told) == (True, True)
    assert boss.post(f"/compute/site-jobs/{other.uuid}/end/", why).url == f"/compute/site-jobs/{other.uuid}/"
    again = boss.post(f"/compute/site-jobs/{other.uuid}/end/", why, follow=True)
    assert (again.status_code, "was asked to end before" in again.content.decode()) == (200, True)
    assert boss.get(f"/compute/site-jobs/?engine={LONG}&partition=x&after=x").status_code == 200


def test_what_was_charged_too_long_is_shown_to_operators_and_answered_on_its_page():
    row = make.allocation()
    job = make.job(row, name="<b>긴 작업</b>")
    begun = now() - timedelta(hours=1)
    facts = {
        "started_at": begun,
        "ended_at": begun + timedelta(seconds=400),
        "marked_at": begun + timedelta(seconds=100),
    }
    run = Run.objects.create(job=job, key="k", attempt=1, outcome="completed", gpu_seconds=400, **facts)
    boss = browser(identity.operator())
    page = boss.get("/compute/excess/").content.decode()
    assert ("&lt;b&gt;" in page, "<b>긴" in page, str(job.uuid) in page) == (True, False, True)
    assert boss.post("/compute/excess/", {"run": run.pk, "reason": "", "keep": "1"}).status_code == 422
    assert boss.post("/compute/excess/", {"run": run.pk, "reason": "looked", "keep": "1"}).status_code == 302
    assert Run.objects.get().answer == "kept"
    assert "Nothing was charged too long" in boss.get("/compute/excess/").content.decode()
    assert boss.post("/compute/excess/", {"run": "x", "reason": "looked"}).status_code == 200
    for person in (jobs.holder(row), identity.steward(), identity.auditor()):
        assert browser(person).get("/compute/excess/").status_code == 403


@pytest.mark.parametrize(
    "query", ["state=x", "page=0", "page=-1", "page=x", "page=99999999999", "page=10000", f"page={LONG}"]
)
def test_strange_questions_for_nodes_are_no_error(query):
    assert browser(identity.operator()).get(f"/compute/nodes/?{query}").status_code == 200


def test_the_operator_adds_a_cluster_and_a_partition_by_forms():
    client, resource = browser(identity.operator()), catalog.resource()
    answer = client.post(
        "/compute/clusters/add/", {"engine": "local", "code": "main", "name_ko": "주 클러스터", "name_en": "Main"}
    )
    assert answer.status_code == 302
    cluster = Cluster.objects.get()
    data = {
        "resource": resource.pk,
        "cluster": cluster.pk,
        "name": "h100",
        "gpu_type": "h100",
        "gpus": 2,
        "most_gpus": 2,
        "longest_s": 60,
        "memory_mb": 4096,
        "declared": "on",
    }
    page = client.post("/compute/partitions-add/", {**data, "most_gpus": 3})
    assert (page.status_code, list(page.context["form"].errors)) == (422, ["most_gpus"])
    assert client.post("/compute/partitions-add/", data).status_code == 302
    made = Partition.objects.get()
    assert (made.longest_s, made.declared) == (3600, True)


def test_the_names_of_people_and_jobs_are_escaped_everywhere():
    row = make.allocation()
    make.job(row, name='"><img src=x>')
    assert "<img src=x>" not in browser(jobs.holder(row)).get("/compute/jobs/").content.decode()


TABLE = "lr,seed\n0.1,1\n0.2,<b>2</b>\n0.3,3\n"


def test_a_pasted_table_is_a_sweep_and_the_forecast_counts_its_rows():
    row = make.allocation()
    client = browser(jobs.holder(row))
    data = filled(row, parameters=TABLE.replace("\n", "\r\n"), parallel=2)
    page = client.post(NEW, {**data, "calculate": "1"})
    assert (page.context["forecast"].held, page.context["tasks"], Job.objects.count()) == (1800, 3, 0)
    assert client.post(NEW, data).status_code == 302
    job = Job.objects.get()
    assert (job.tasks, job.parallel, job.variables, job.held) == (3, 2, ["lr", "seed"], 1800)


def test_a_table_comes_as_a_file_too_and_calculating_keeps_it():
    row = make.allocation()
    client = browser(jobs.holder(row))
    page = client.post(NEW, filled(row, table=SimpleUploadedFile("t.csv", TABLE.encode()), calculate="1"))
    assert (page.context["forecast"].held, page.context["form"]["parameters"].value()) == (1800, TABLE)
    assert client.post(NEW, filled(row, table=SimpleUploadedFile("t.csv", TABLE.encode()))).status_code == 302
    assert Job.objects.get().tasks == 3


def test_a_table_that_is_none_is_said_while_calculating():
    row = make.allocation()
    page = browser(jobs.holder(row)).post(NEW, filled(row, parameters="a,b\n1\n", calculate="1"))
    assert (page.status_code, page.context["forecast"]) == (200, None)
    assert "Row 1 has 1 values" in page.content.decode()


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"tasks": "0"}, "tasks"),
        ({"tasks": "10001"}, "tasks"),
        ({"tasks": "x"}, "tasks"),
        ({"parallel": "-1"}, "parallel"),
        ({"parallel": "9" * 40}, "parallel"),
        ({"parameters": "a,b\n1\n"}, "parameters"),
        ({"parameters": "MADANG_JOB\n1\n"}, "parameters"),
        ({"parameters": TABLE, "tasks": "2"}, "tasks"),
        ({"parameters": TABLE, "table": SimpleUploadedFile("t.csv", b"a\n1\n")}, "parameters"),
        ({"table": SimpleUploadedFile("t.csv", b"\xff\xfe\x00")}, "table"),
    ],
)
def test_bad_tasks_are_said_at_their_field_and_nothing_is_half_done(facts, field):
    row = make.allocation()
    page = browser(jobs.holder(row)).post(NEW, filled(row, **facts))
    assert (page.status_code, list(page.context["form"].errors)) == (422, [field])
    assert (Job.objects.count(), jobs.balance(row)[0]) == (0, 0)


def test_the_page_of_a_sweep_shows_each_task_with_its_values_its_log_and_its_end():
    row = make.allocation()
    job = make.job(row, parameters=TABLE)
    make.wrote(job, log=b"zero\n")
    make.wrote(job, log=b"one\n", task=1, b_txt=b"b")
    client, address = browser(jobs.holder(row)), reverse("compute:job", args=[job.uuid])
    page = client.get(address, {"task": 1})
    text = page.content.decode()
    assert ("Log of task 1" in text, "one\n" in text, "zero\n" in text) == (True, True, False)
    assert ("&lt;b&gt;2&lt;/b&gt;" in text, "<b>2</b>" in text) == (True, False)
    assert f"{reverse('compute:file', args=[job.uuid, 'b.txt'])}?task=1" in text
    assert "Run the failed ones again" not in text
    assert client.get(reverse("compute:file", args=[job.uuid, "b.txt"]), {"task": 1}).status_code == 200
    more = client.get(reverse("compute:log", args=[job.uuid]), {"offset": 0, "task": 1}, headers={"HX-Request": "true"})
    assert more.content.decode().startswith("one\n<section")
    assert "offset=4&amp;task=1&amp;seen=" in more.content.decode()
    make.ended(job, ["completed", "failed", "timed_out"])
    page = client.get(address, {"outcome": "failed"})
    assert [task.number for task in page.context["tasks"].items] == [1, 2]
    assert [(name, many) for name, _said, many in page.context["counts"]] == [
        ("completed", 1),
        ("failed", 1),
        ("timed_out", 1),
    ]
    assert "Run the failed ones again" in page.content.decode()
    page = client.get(NEW, {"from": str(job.uuid), "again": "failed"})
    assert (page.context["forecast"].held, page.context["tasks"]) == (1200, 2)
    form = page.context["form"]
    assert form["parameters"].value() == "MADANG_TASK,lr,seed\n1,0.2,<b>2</b>\n2,0.3,3\n"
    form = client.get(NEW, {"from": str(job.uuid)}).context["form"]
    assert form["parameters"].value() == TABLE


@pytest.mark.parametrize("task", ["3", "99999", "9" * 30, "-1", "x", "", LONG])
def test_a_task_that_is_not_there_is_no_page(task):
    row = make.allocation()
    job = make.job(row, parameters=TABLE)
    client = browser(jobs.holder(row))
    for name in ("job", "log", "whole_log"):
        assert client.get(reverse(f"compute:{name}", args=[job.uuid]), {"task": task}).status_code == 404


def test_a_job_of_many_tasks_shows_a_hundred_of_them_at_a_time_with_as_many_queries():
    row = make.allocation(amount=10**9)
    few, many = make.job(row, tasks=2), make.job(row, tasks=250)
    client = browser(jobs.holder(row))
    asked = [queries_of(client, reverse("compute:job", args=[job.uuid])) for job in (few, many)]
    assert asked[0] == asked[1] <= 12
    page = client.get(reverse("compute:job", args=[many.uuid]), {"after": 99})
    assert [task.number for task in page.context["tasks"].items] == list(range(100, 200))


def asked_on(client: Client, job: Job, query: str) -> tuple[str, str, int]:
    """What the page of a job asks by itself: the answer, what it asks for next, and how many statements that took."""
    address = f"{reverse('compute:log', args=[job.uuid])}?{query}"
    with CaptureQueriesContext(connection) as caught:
        page = client.get(address, headers={"HX-Request": "true"})
    return page.content.decode(), page.context["ask"], len(caught)


def test_the_table_of_tasks_comes_along_once_one_has_moved_and_costs_nothing_else():
    row = make.allocation()
    job = make.job(row, parameters=TABLE)
    client = browser(jobs.holder(row))
    page = client.get(reverse("compute:job", args=[job.uuid]), {"outcome": "open", "task": 1})
    still, query, before = asked_on(client, job, page.context["ask"])
    assert ('id="tasks"' in still, query) == (False, page.context["ask"])
    job.task_rows.filter(number=2).update(started_at=now())
    moved, query, cost = asked_on(client, job, query)
    assert (moved.count('id="tasks" hx-swap-oob="true"'), moved.count(">runs<"), cost) == (1, 2, before + 1)
    still, query, cost = asked_on(client, job, query)
    assert ('id="tasks"' in still, cost) == (False, before)
    make.ended(job, ["failed"])
    moved, query, _cost = asked_on(client, job, query)
    assert ("Log of task 0" in moved, "Log of task 1" in moved) == (False, True)


def test_a_job_is_asked_for_until_its_last_task_has_ended_also_below_the_log_of_one_that_has():
    row = make.allocation()
    job = make.job(row, tasks=2)
    make.wrote(job, log=b"zero\n")
    client = browser(jobs.holder(row))
    _more, query, _cost = asked_on(client, job, client.get(reverse("compute:job", args=[job.uuid])).context["ask"])
    make.ended(job, ["completed"])
    told, query, _cost = asked_on(client, job, query)
    assert ("job-files" in told, "job-report" in told, 'hx-trigger="load delay' in told) == (True, True, True)
    told, query, _cost = asked_on(client, job, query)
    assert ("job-files" in told, "zero" in told, 'hx-trigger="load delay' in told) == (False, False, True)
    opened = client.get(reverse("compute:job", args=[job.uuid]))
    assert opened.context["ask"] == query
    make.ended(job, ["completed", "failed"])
    last, query, _cost = asked_on(client, job, query)
    assert (query, "Run the failed ones again" in last, "hx-trigger" in last) == ("", True, False)
    assert client.get(reverse("compute:job", args=[job.uuid])).context["ask"] == ""


def test_the_digits_that_the_form_takes_the_forecast_takes_too():
    row = make.allocation()
    client, wide = browser(jobs.holder(row)), {"gpus": "2", "limit_s": "１２", "tasks": "３"}
    page = client.post(NEW, filled(row, **wide, calculate="1"))
    assert (page.context["forecast"].held, page.context["tasks"]) == (2 * 12 * 60 * 3, 3)
    assert client.post(NEW, filled(row, **wide)).status_code == 302
    assert Job.objects.get().held == 2 * 12 * 60 * 3
    for bad in ({"limit_s": "x"}, {"limit_s": LONG}, {"tasks": "1.5"}, {"gpus": "-1"}):
        assert client.post(NEW, filled(row, **bad, calculate="1")).context["forecast"] is None


@pytest.mark.parametrize("uuid", ["x", ""])
def test_a_field_that_nobody_sees_is_not_named(uuid):
    row = make.allocation()
    page = browser(jobs.holder(row)).post(NEW, filled(row, uuid=uuid)).content.decode()
    assert "<li>This form can&#x27;t be sent as it is: load the page again.</li>" in page
    assert ("Uuid" in page, Job.objects.count()) == (False, 0)


def test_what_a_running_job_has_used_so_far_is_said_as_of_a_session():
    row = make.allocation()
    client, job = browser(jobs.holder(row)), make.job(row, gpus=2, limit_s=3600)
    address = reverse("compute:job", args=[job.uuid])
    Watch.objects.create(engine=job.engine, answered_at=now(), health={})
    assert "Used so far" not in client.get(address).content.decode()
    Job.objects.filter(pk=job.pk).update(state="running", started_at=now() - timedelta(minutes=30))
    page = client.get(address)
    assert 3600 <= page.context["so_far"] < 3600 + 120
    assert "Used so far" in page.content.decode()
    make.ended(job, ["completed"])
    assert "Used so far" not in client.get(address).content.decode()


def test_a_file_with_a_name_of_blanks_can_be_seen():
    row = make.allocation()
    job = make.job(row)
    make.wrote(job, a_txt=b"a")
    (make.folder(job) / "work" / " ").write_bytes(b"")
    page = browser(jobs.holder(row)).get(reverse("compute:job", args=[job.uuid])).content.decode()
    assert "<bdi>“ ”</bdi>" in page
    assert "<bdi>a.txt</bdi>" in page


def test_what_is_refused_to_a_program_says_nothing_of_pages():
    row = make.allocation()
    client, data = browser(jobs.holder(row)), {"allocation": row.pk, "script": make.SCRIPT, "limit_s": 600}
    data["uuid"] = str(uuid4())
    for name, status in (("a", 201), ("b", 409)):
        answer = client.post("/api/v1/compute/jobs", {**data, "name": name}, content_type="application/json")
        assert answer.status_code == status
    assert answer.json()["title"] == "This job was submitted before with other content."


def test_a_job_that_is_asked_to_end_is_told_so_in_words_that_stay_true():
    row = make.allocation()
    job = make.job(row)
    page = browser(jobs.holder(row)).post(reverse("compute:cancel", args=[job.uuid]), follow=True).content.decode()
    assert "The job was asked to end." in page
    assert "is being canceled" not in page
