"""What changes clusters, partitions and files. Jobs are changed by the verbs of the jobs room."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from django.db import IntegrityError
from django.utils.translation import gettext as _

from madang.catalog.models import Kind, Resource
from madang.engines.base import WORD, EngineError
from madang.engines.local import declare_slots
from madang.facilities.compute import host, tasks
from madang.facilities.compute.clusters import slurms
from madang.facilities.compute.models import Cluster, EngineKind, Folder, Partition, PosixAccount
from madang.grants.models import Allocation
from madang.identity.access import access_of, require, require_member
from madang.identity.models import Person, Role
from madang.jobs import actions as jobs
from madang.jobs.models import Job
from madang.workflow.errors import NotAllowed, Refused
from madang.workflow.log import act
from madang.workflow.moment import now

POSIX_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def add_cluster(actor: Person, *, code: str, name_ko: str, name_en: str, engine: str = EngineKind.LOCAL) -> Cluster:
    require(actor, Role.OPERATOR)
    if engine not in EngineKind.values:
        raise Refused(_("There is no such engine."), field="engine")
    if not WORD.fullmatch(code) or len(code) > 40:
        raise Refused(_("A code is of letters, digits and hyphens, and starts with a letter or digit."), field="code")
    if engine == EngineKind.SLURM and code not in slurms():
        raise Refused(
            _("The settings of the server name no Slurm cluster “%(code)s” (MADANG_SLURM).") % {"code": code},
            field="code",
        )
    try:
        with act(actor, "add") as said:
            cluster = said["on"] = Cluster.objects.create(code=code, name_ko=name_ko, name_en=name_en, engine=engine)
    except IntegrityError as error:
        raise Refused(_("There is a cluster of this code."), field="code") from error
    return cluster


def add_account(actor: Person, *, cluster: Cluster, email: str, name: str) -> PosixAccount:
    """Keep as whom a person works on a cluster. Refused for a name or a person that has one already."""
    require(actor, Role.OPERATOR)
    person = Person.objects.filter(email__iexact=email).first()
    errors = {
        "email": "" if person else _("Nobody of this e-mail is registered here."),
        "name": "" if POSIX_NAME.fullmatch(name) else _("Small letters, digits and hyphens, a letter first."),
    }
    errors = {field: message for field, message in errors.items() if message}
    if errors or person is None:
        raise Refused(" ".join(errors.values()), errors=errors)
    try:
        with act(actor, "add") as said:
            row = said["on"] = PosixAccount.objects.create(cluster=cluster, person=person, name=name)
    except IntegrityError as error:
        raise Refused(_("This person has a user name there, or it is another person's."), field="name") from error
    return row


def may_keep(actor: Person, resource: Resource) -> bool:
    access = access_of(actor)
    return access.holds(Role.OPERATOR) or access.holds(Role.STEWARD, resource=resource.pk)


def add_partition(
    actor: Person,
    *,
    resource: Resource,
    cluster: Cluster,
    name: str,
    gpu_type: str,
    gpus: int,
    most_gpus: int,
    longest_s: int,
    declared: bool,
    memory_mb: int = 4096,
) -> Partition:
    """The slots of a resource on a cluster. `declared`: the GPUs aren't there, and every page says so."""
    if not may_keep(actor, resource):
        raise NotAllowed(_("This is for the operator of the site and the steward of this resource."))
    errors = {
        "resource": "" if resource.kind == Kind.COMPUTE else _("This isn't a resource for computing."),
        "name": "" if WORD.fullmatch(name) else _("Only letters, digits and hyphens."),
        "gpu_type": "" if WORD.fullmatch(gpu_type) else _("Only letters, digits and hyphens."),
        "gpus": "" if 1 <= gpus <= 1024 else _("From 1 to 1,024 GPUs."),
        "most_gpus": "" if 1 <= most_gpus <= gpus else _("At least 1, and no more than there are."),
        "longest_s": "" if 60 <= longest_s <= 90 * 86_400 else _("From 1 minute to 90 days."),
        "memory_mb": "" if 16 <= memory_mb <= 1 << 26 else _("From 16 MiB to 64 TiB."),
    }
    if errors := {field: message for field, message in errors.items() if message}:
        raise Refused(" ".join(errors.values()), errors=errors)
    try:
        with act(actor, "add") as said:
            partition = said["on"] = Partition.objects.create(
                resource=resource,
                cluster=cluster,
                name=name,
                gpu_type=gpu_type,
                gpus=gpus,
                most_gpus=most_gpus,
                longest_s=longest_s,
                declared=declared,
                memory_mb=memory_mb,
            )
            if cluster.engine == EngineKind.LOCAL:
                declare_slots(host.inside, cluster.code, gpu_type, gpus, real=not declared)
    except IntegrityError as error:
        raise Refused(_("This resource, this name or this GPU type already has a partition."), field="name") from error
    except EngineError as error:
        raise Refused(
            _("This machine doesn't have so many free GPUs. Declare them instead, or give fewer."), field="gpus"
        ) from error
    return partition


def submit(
    actor: Person,
    *,
    uuid: UUID,
    allocation: Allocation,
    name: str,
    script: str,
    arguments: Sequence[str] = (),
    gpus: int,
    limit_s: int,
    tasks: int = 1,
    parallel: int = 0,
    parameters: str = "",
) -> Job:
    """Run a script on an allocation: where and how is the partition's to say. See `jobs.actions.submit`."""
    partition = Partition.objects.select_related("cluster").filter(resource=allocation.resource_id).first()
    if partition is None:
        raise Refused(_("Nothing runs on this resource yet: it has no partition."), field="allocation")
    return jobs.submit(
        actor,
        uuid=uuid,
        allocation=allocation,
        name=name,
        script=script,
        arguments=arguments,
        gpus=gpus,
        limit_s=limit_s,
        engine=partition.cluster.code,
        partition=partition.name,
        tasks=tasks,
        parallel=parallel,
        parameters=parameters,
        trusted=host.is_shipped(script),
    )


def delete_files(actor: Person, *, job: Job) -> Job:
    """Free the storage that an ended job holds. Its log, its charge and its row stay.

    The worker removes the files, as there may be very many. It holds what it held until they are really gone; where
    removing them fails, the next measuring tries again.
    """
    require_member(actor, job.allocation.grant.organization_id)
    if job.lives:
        raise Refused(_("This job hasn't ended: it may still write."))
    with act(actor, "delete_files", on=job):
        Folder.objects.update_or_create(job=job, defaults={"deleted_at": now(), "final": False})
        tasks.remove_files.configure(lock=str(job.uuid)).defer(job=job.pk)
    return job
