"""Several scripts at once: a job for each, all with the same allocation, GPUs and limit, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.utils.translation import gettext as _

from madang.grants.models import Allocation
from madang.identity.models import Person
from madang.jobs import actions, engines
from madang.jobs.checks import check, clean_name, clean_script
from madang.jobs.models import Job, JobState, Task, worst_case
from madang.workflow.alone import alone
from madang.workflow.errors import Refused, Stale
from madang.workflow.log import act_on_many

MOST = 1000
TOGETHER = 50  # are handed over by one task of the worker


@dataclass(frozen=True)
class Script:
    """One of them, as in `actions.submit`."""

    uuid: UUID
    name: str
    script: str


def submit_each(
    actor: Person,
    *,
    allocation: Allocation,
    scripts: Sequence[Script],
    arguments: Sequence[str] = (),
    gpus: int,
    limit_s: int,
    engine: str,
    partition: str,
    requeue: bool = False,
) -> list[Job]:
    """Take a job for each script, or none: as `actions.submit`, for at most 1,000 and in a fixed number of statements.

    Those that were submitted before with the same content are the same jobs again. The answer is in their order.
    """
    shape = {"arguments": list(arguments), "gpus": gpus, "limit_s": limit_s}
    asked = [Script(one.uuid, clean_name(one.name), clean_script(one.script)) for one in scripts]
    _check(asked, shape)
    shape |= {"allocation_id": allocation.pk, "person_id": actor.pk, "engine": engine, "partition": partition}
    shape |= {"tasks": 1, "parallel": 0, "variables": [], "inputs": [], "requeue": requeue, "trusted": False}
    try:
        with act_on_many(actor, "submit") as said:
            alone(f"jobs of {actor.pk}")
            jobs = {job.uuid: job for job in Job.objects.filter(uuid__in=[one.uuid for one in asked])}
            for one in asked:
                if (job := jobs.get(one.uuid)) and any(
                    getattr(job, field) != value for field, value in (shape | _own(one)).items()
                ):
                    raise Stale(_("This job was submitted before with other content."))
            fresh = [one for one in asked if one.uuid not in jobs]
            if fresh:
                made = _make(actor, allocation, fresh, shape)
                jobs |= {job.uuid: job for job in made}
                said |= {job: {"gpus": gpus, "limit_s": limit_s} for job in made}
    except IntegrityError as error:  # somebody took one of these uuids meanwhile
        raise Stale(_("This job was submitted before with other content.")) from error
    return [jobs[one.uuid] for one in asked]


def _own(one: Script) -> dict[str, Any]:
    return {"name": one.name, "script": one.script}


def _check(asked: Sequence[Script], shape: dict[str, Any]) -> None:
    if not 1 <= len(asked) <= MOST:
        raise Refused(_("From 1 to 1,000 scripts at once."), field="scripts")
    if len({one.uuid for one in asked}) < len(asked):
        raise Refused(_("Two of these scripts have the same uuid."), field="scripts")
    for one in asked:
        try:
            check(**shape, **_own(one))
        except Refused as refused:
            theirs = [str(refused.errors.pop(field)) for field in ("name", "script") if field in refused.errors]
            if theirs:
                refused.errors["scripts"] = f"{one.name}: {' '.join(theirs)}"
            raise Refused(" ".join(map(str, refused.errors.values())), errors=refused.errors) from refused


def _make(actor: Person, allocation: Allocation, fresh: Sequence[Script], shape: dict[str, Any]) -> list[Job]:
    row = actions.usable_by(actor, allocation)
    gpus, limit_s = shape["gpus"], shape["limit_s"]
    # What is let in depends on the shape alone: a script that isn't trusted is like any other.
    first, where = fresh[0], (shape["engine"], shape["partition"])
    wish = engines.Wish(
        actor, first.uuid, row, *where, first.script, gpus, limit_s, trusted=False, requeue=shape["requeue"]
    )
    terms = engines.admit(wish)
    amount = worst_case(gpus, limit_s)
    holds = actions.hold_all(actor, row, amount, [actions.hold_key(one.uuid, 0) for one in fresh])
    facts = {"posix_user": terms.posix_user, "gpu_type": terms.gpu_type, "memory_mb": terms.memory_mb}
    facts |= {"cpus": terms.cpus, "held": amount, "state": JobState.ACCEPTED}
    jobs = Job.objects.bulk_create(Job(uuid=one.uuid, **shape, **_own(one), **facts) for one in fresh)
    Task.objects.bulk_create(
        Task(job=job, number=0, hold=hold, held=amount) for job, hold in zip(jobs, holds, strict=True)
    )
    from madang.jobs.tasks import hand_over_each as later

    for start in range(0, len(jobs), TOGETHER):
        later.defer(jobs=[job.pk for job in jobs[start : start + TOGETHER]])
    return jobs
