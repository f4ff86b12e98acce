"""A grant with an open allocation, an engine on paper that follows the contract, and jobs for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from io import BytesIO
from itertools import count
from typing import Any, BinaryIO
from uuid import UUID, uuid4

from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils.timezone import now

from madang.calls.models import Application, ApplicationLine, Call, CallLine, FormVersion
from madang.catalog.models import Resource
from madang.catalog.tests import make as catalog
from madang.engines.base import (
    HELD_BACK,
    Conflict,
    Cursor,
    Diff,
    FileEntry,
    Health,
    JobSpec,
    Limits,
    LiveRun,
    Maintenance,
    Missing,
    Outcome,
    Page,
    Receipt,
    Rejected,
    RunKey,
    SlotCount,
    Snapshot,
    State,
    Unavailable,
    UsageRow,
)
from madang.grants.models import Allocation, Grant
from madang.identity.models import Organization, Person
from madang.identity.tests import make as identity
from madang.jobs import actions, engines, poller
from madang.jobs.engines import Terms, Whose, Wish
from madang.jobs.models import Bare, Job
from madang.ledger import actions as ledger
from madang.ledger import queries
from madang.programs.tests import make as programs
from madang.workflow.errors import Refused

SCRIPT = "#!/bin/sh\necho done\n"
HOUR = 3600
_number = count(1)


def grant(organization: Organization | None = None, **facts: Any) -> Grant:
    """An active grant whose days of use began yesterday and end in a month."""
    organization = organization or identity.organization()
    person = identity.lead_of(organization)
    number = next(_number)
    moment = now()
    program = programs.program()
    call = Call.objects.create(
        program=program,
        code=f"call-{number}",
        title_ko=f"공고 {number}",
        text_ko="내용",
        opens_at=moment - timedelta(days=9),
        closes_at=moment - timedelta(days=5),
        use=DateRange(moment.date(), moment.date() + timedelta(days=30)),
        budget_krw=10**9,
        most_awards=50,
        made_by=person,
    )
    application = Application.objects.create(
        call=call,
        organization=organization,
        form=FormVersion.objects.create(call=call, number=1),
        title=f"과제 {number}",
        started_by=person,
    )
    return Grant.objects.create(
        **{
            "application": application,
            "organization": organization,
            "program": program,
            "number": f"2026-{number:04d}",
            "title": f"과제 {number}",
            "starts_at": moment - timedelta(days=1),
            "ends_at": moment + timedelta(days=30),
            "accept_by": moment,
            "state": "active",
            **facts,
        }
    )


def allocation(
    grant_: Grant | None = None, *, amount: int = 10 * HOUR, resource: Resource | None = None, state: str = "open"
) -> Allocation:
    """An open allocation with `amount` smallest units in the ledger; ten GPU-hours unless said."""
    grant_ = grant_ or grant()
    resource = resource or catalog.resource()
    offered = CallLine.objects.create(call=grant_.application.call, resource=resource, most=10**12, total=10**12)
    line = ApplicationLine.objects.create(application=grant_.application, call_line=offered, amount=amount)
    row = Allocation.objects.create(grant=grant_, line=line, resource=resource, amount=amount)
    row.account = ledger.open_account(
        commodity=resource.commodity, owner_type="allocation", owner_id=row.pk, role="allocation", limited=True
    )
    pool = ledger.site_account(commodity=resource.commodity, role="pool")
    ledger.grant(
        pool=pool, account=row.account, amount=amount, source="test", key=str(row.pk), actor=None, reason="test"
    )
    row.state, row.opened_at = state, now()
    row.save()
    return row


def balance(row: Allocation) -> tuple[int, int, int]:
    """(held, used up, left) of an allocation, as the ledger has it."""
    assert row.account is not None
    found = queries.balances([row.account])[row.account]
    return found.held, found.debited, found.available


def holder(row: Allocation) -> Person:
    return identity.lead_of(row.grant.organization)


class PaperEngine:
    """An engine that runs nothing and answers as the contract says. `fail` names what raises next: "submit" before it
    is done, "after submit" when it is done and the answer is lost; likewise "poll", "usage", "cancel"."""

    sync_every_s = 0.0

    def __init__(self) -> None:
        self.specs: dict[UUID, JobSpec] = {}
        self.live: dict[RunKey, LiveRun] = {}
        self.ended: list[UsageRow] = []
        self.canceled: list[UUID] = []
        self.held_back: set[UUID] = set()
        self.limits: list[Limits] = []
        self.told: list[list[Maintenance]] = []  # each time that it was told of maintenance
        self.held = ""
        self.fail: set[str] = set()
        self.reject: str = ""
        self.reject_field: str = ""
        self.submissions = 0
        self.logs: dict[UUID, bytes] = {}
        self.complete = True
        self.error: type[Exception] | None = None

    def _maybe(self, name: str) -> None:
        if name in self.fail:
            self.fail.discard(name)
            raise (self.error or Unavailable)(*(() if self.error else ("test", "no answer")))

    def submit(self, spec: JobSpec, attempt: int) -> Receipt:
        self._maybe("submit")
        spec.check()
        if self.reject:
            raise Rejected("test", self.reject, self.reject_field)
        self.submissions += 1
        if spec.job in self.specs and self.specs[spec.job] != spec:
            raise Conflict("other_content", "submitted before with other content")
        if spec.job not in self.specs:
            self.specs[spec.job] = spec
            for key in (RunKey(spec.job, task) for task in range(spec.tasks)):
                self.live[key] = LiveRun(
                    key, State.QUEUED, spec.budget, spec.gpu_type, spec.gpus_per_node, spec.limit_s, now()
                )
        self._maybe("after submit")
        return Receipt(spec.job, attempt, str(spec.job), spec.tasks, now())

    def start(self, job: Job, task: int = 0) -> None:
        key = RunKey(job.uuid, task)
        self.live[key] = replace(self.live[key], state=State.RUNNING, started_at=now())

    def end(
        self, job: Job, *, seconds: int = 60, outcome: Outcome = Outcome.COMPLETED, task: int = 0, attempt: int = 1
    ) -> UsageRow:
        """The run ended after so many seconds on all its GPUs."""
        self.live.pop(RunKey(job.uuid, task), None)
        began = None if seconds == 0 else now() - timedelta(seconds=seconds)
        stopped = (Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT, Outcome.CANCELLED, Outcome.PREEMPTED, Outcome.NODE_FAILED)
        code = {Outcome.FAILED: 5, **dict.fromkeys((Outcome.COMPLETED, *stopped), 0)}.get(outcome)
        row = UsageRow(
            key=RunKey(job.uuid, task, attempt),
            outcome=outcome,
            account="none",
            budget="none",
            machine="paper",
            gpu_type=job.gpu_type,
            gpus=job.gpus,
            declared=True,
            submitted_at=job.submitted_at,
            started_at=began,
            ended_at=now(),
            gpu_seconds=seconds * job.gpus,
            exit_code=code,
        )
        self.ended.append(row)
        return row

    def forget(self, job: Job) -> None:
        self.specs.pop(job.uuid)
        self.live = {key: run for key, run in self.live.items() if key.job != job.uuid}

    def poll(self) -> Snapshot:
        self._maybe("poll")
        return Snapshot(now(), self.complete, tuple(self.live.values()), 0.1)

    def cancel(self, job: UUID, task: int | None = None) -> None:
        self._maybe("cancel")
        self.canceled.append(job)

    def hold_back(self, job: UUID, tasks: Sequence[int]) -> None:
        self.held_back.add(job)
        for key in [key for key in self.live if key.job == job and key.task in tasks]:
            self.live[key] = replace(self.live[key], reason=HELD_BACK)

    def let_go(self, job: UUID, tasks: Sequence[int]) -> None:
        self.held_back.discard(job)
        for key in [key for key in self.live if key.job == job and key.task in tasks]:
            self.live[key] = replace(self.live[key], reason="Priority")

    def again(self, job: Job, *, seconds: int = 60, task: int = 0, restart: int = 0) -> UsageRow:
        """A run was preempted after so many seconds, and is to start again."""
        row = replace(self.end(job, seconds=seconds, outcome=Outcome.PREEMPTED, task=task), goes_on=True)
        row = self.ended[-1] = replace(row, key=replace(row.key, restart=restart))
        key = replace(row.key, restart=restart + 1)
        self.live[key] = LiveRun(
            key, State.QUEUED, "none", job.gpu_type, job.gpus, job.limit_s, now(), reason="BeginTime"
        )
        return row

    def usage(self, since: Cursor) -> Page[UsageRow]:
        self._maybe("usage")
        begin = int(since or 0)
        rows = self.ended[begin : begin + 2]
        return Page(tuple(rows), Cursor(str(begin + len(rows))), begin + len(rows) < len(self.ended))

    def sync(self, wanted: Sequence[Limits], apply: bool) -> Diff:
        self.limits = list(wanted)
        return Diff(applied=apply)

    def maintain(self, wanted: Sequence[Maintenance]) -> Diff:
        self._maybe("maintain")
        self.told.append(list(wanted))
        return Diff(applied=not self.held, held=self.held)

    def health(self) -> Health:
        return Health(True, 0.1, (SlotCount("h100", 8, len(self.live), True, 0),), True, ())

    def log(self, run: RunKey, offset: int, size: int) -> bytes:
        return self.logs.get(run.job, b"")[offset : offset + size]

    def log_size(self, run: RunKey) -> int:
        return len(self.logs.get(run.job, b""))

    def files(self, run: RunKey) -> list[FileEntry]:
        return [FileEntry("result.txt", 4, datetime.fromisoformat("2026-01-01T00:00:00+09:00"))]

    def open_file(self, run: RunKey, path: str) -> BinaryIO:
        if path != "result.txt":
            raise Missing("no_file", "no such file")
        return BytesIO(b"done")


class PaperHost:
    """A site with one engine, called paper; every partition of it is called h100 and takes up to eight GPUs."""

    def __init__(self) -> None:
        self.engine = PaperEngine()
        self.owners: dict[tuple[str, str], Whose] = {}
        self.asked = 0  # whose a run is

    def names(self) -> list[str]:
        return ["paper"]

    def build(self, name: str) -> PaperEngine:
        return self.engine

    def partitions(self, name: str) -> list[str]:
        return ["h100", "a100"]

    def admit(self, wish: Wish) -> Terms:
        if wish.gpus > 8:
            raise Refused("A job has at most 8 GPUs here.", field="gpus")
        return Terms("h100", 1024, 1, f"person-{wish.actor.pk}")

    def budgets(self, name: str) -> list[Limits]:
        return poller.live_budgets(name)

    def whose(self, name: str, row: UsageRow | LiveRun) -> Whose | None:
        self.asked += 1
        return self.owners.get((row.budget, row.posix_user))


def paper_host() -> Any:
    """For a fixture: registered while the test runs."""
    host = PaperHost()
    engines.register(host)
    yield host.engine
    engines.unregister(host)


def bare(row: Allocation | None, **facts: Any) -> Bare:
    """Submitted past us by the holder of the allocation (or by nobody), for two GPUs; it waits."""
    whose = {"allocation": row, "person": holder(row)} if row else {}
    wanted = {"uuid": uuid4(), "engine": "paper", "name": "slurm-1", "posix_user": "p", "partition": "h100"}
    sizes = {"gpu_type": "h100", "gpus": 2, "runs": 1, "limit_s": 3600, "submitted_at": now()}
    return Bare.objects.create(**{**wanted, **sizes, **whose, **facts})


def job(row: Allocation, actor: Person | None = None, **facts: Any) -> Job:
    """Submitted and accepted, not handed over yet: one GPU for ten minutes unless said."""
    wanted: dict[str, Any] = {
        "uuid": uuid4(),
        "name": "학습",
        "script": SCRIPT,
        "gpus": 1,
        "limit_s": 600,
        "engine": "paper",
        "partition": "h100",
        **facts,
    }
    return actions.submit(actor or holder(row), allocation=row, **wanted)
