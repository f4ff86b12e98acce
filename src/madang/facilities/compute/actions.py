"""What changes clusters, partitions and files. Jobs are changed by the verbs of the jobs room."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from madang.catalog.models import Kind, Resource
from madang.engines.base import WORD, EngineError
from madang.engines.local import declare_slots
from madang.facilities.compute import host, shelf, storage, tasks
from madang.facilities.compute.clusters import slurms
from madang.facilities.compute.models import (
    Cluster,
    EngineKind,
    Folder,
    JobTemplate,
    Partition,
    PosixAccount,
    ProjectFile,
)
from madang.grants.models import Allocation, Grant, GrantState
from madang.identity.access import access_of, require, require_member
from madang.identity.models import Person, Role
from madang.jobs import actions as jobs
from madang.jobs import many, sweeps
from madang.jobs.checks import check, clean_script, input_problem
from madang.jobs.models import Job
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

POSIX_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_FILES = 1000  # of a project


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
            if cluster.engine == EngineKind.LOCAL:
                _check_type(cluster, gpu_type)
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
        raise Refused(_("This resource or this name already has a partition."), field="name") from error
    except EngineError as error:
        raise Refused(
            _("This machine doesn't have so many free GPUs. Declare them instead, or give fewer."), field="gpus"
        ) from error
    return partition


def _check_type(cluster: Cluster, gpu_type: str) -> None:
    """This machine hands out GPUs by their type, so all of one are one partition. A Slurm tells its own apart."""
    Cluster.objects.select_for_update().get(pk=cluster.pk)
    if known := cluster.partitions.filter(gpu_type=gpu_type).first():
        raise Refused(
            _("On this machine all GPUs of a type are one partition, and “%(name)s” has those of this type.")
            % {"name": known.name},
            field="gpu_type",
        )


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
    files: Sequence[str] = (),
    requeue: bool = False,
) -> Job:
    """Run a script on an allocation: where and how is the partition's to say. See `jobs.actions.submit`.

    `files` are names of files of the project: each task finds a copy of them in its work folder.
    """
    require_member(actor, allocation.grant.organization_id)
    partition = _partition_of(allocation)
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
        inputs=shelf.named(allocation.grant, files) if files else (),
        requeue=requeue,
        trusted=host.is_shipped(script),
    )


def submit_each(
    actor: Person,
    *,
    allocation: Allocation,
    scripts: Sequence[many.Script],
    arguments: Sequence[str] = (),
    gpus: int,
    limit_s: int,
    requeue: bool = False,
) -> list[Job]:
    """Run several scripts on an allocation, a job for each. See `jobs.many.submit_each`."""
    partition = _partition_of(allocation)
    return many.submit_each(
        actor,
        allocation=allocation,
        scripts=scripts,
        arguments=arguments,
        gpus=gpus,
        limit_s=limit_s,
        engine=partition.cluster.code,
        partition=partition.name,
        requeue=requeue,
    )


def _partition_of(allocation: Allocation) -> Partition:
    partition = Partition.objects.select_related("cluster").filter(resource=allocation.resource_id).first()
    if partition is None:
        raise Refused(_("Nothing runs on this resource yet: it has no partition."), field="allocation")
    return partition


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


def begin_file(actor: Person, *, grant: Grant, path: str, size: int, sha256: str) -> ProjectFile:
    """Announce a file of a project: `size` bytes whose SHA-256 is `sha256`. Asking twice is asking once, so that an
    upload that broke off goes on from what was `received`."""
    require_member(actor, grant.organization_id)
    path = unicodedata.normalize("NFC", path)
    most = settings.PROJECT_FILE_LIMIT_BYTES
    errors = {
        "path": input_problem(path),
        "size": ""
        if 0 <= size <= most
        else _("A file of a project has at most %(most)s MB. Larger things belong into a dataset.")
        % {"most": f"{most // 1024**2:,}"},
        "sha256": "" if SHA256.fullmatch(sha256) else _("A SHA-256 is 64 signs from 0 to 9 and a to f."),
    }
    if errors := {field: message for field, message in errors.items() if message}:
        raise Refused(" ".join(errors.values()), errors=errors)
    with act(actor, "begin_file") as said:
        shelf.locked(grant.pk)
        row = ProjectFile.objects.filter(grant=grant, path=path, sha256=sha256).first()
        if row and row.size != size:
            if row.ready_at:
                raise Refused(_("A file of this SHA-256 has %(size)s bytes.") % {"size": row.size}, field="size")
            row.delete()  # it was announced with a wrong size, and could never become ready
            row = None
        if row is None:
            if grant.state != GrantState.ACTIVE or now() >= grant.ends_at:
                raise Refused(_("Files can be added while a grant is in use: this one isn't."), field="grant")
            storage.check_room(grant, size, field="size")
            if ProjectFile.objects.filter(grant=grant).count() >= MOST_FILES:
                raise Refused(_("A project keeps at most %(most)s files.") % {"most": f"{MOST_FILES:,}"}, field="path")
            row = ProjectFile.objects.create(grant=grant, path=path, sha256=sha256, size=size, person=actor)
        said["on"] = row
        if not size and row.ready_at is None:
            shelf.settle(row)
    return row


def receive(actor: Person, *, file: ProjectFile, offset: int, content: BinaryIO) -> ProjectFile:
    """The bytes of a file from `offset` on. Stale where it has more or fewer than that; with the last of them it is
    ready, or, where its content isn't what was announced, Refused and gone."""
    require_member(actor, file.grant.organization_id)
    with transaction.atomic():
        shelf.locked(file.grant_id)
        row = ProjectFile.objects.select_for_update().filter(pk=file.pk).first()
        if row is None:
            raise Missing(_("There is nothing here, or it isn't yours to see."))
        if row.ready_at:
            return row
        if row.received != offset:
            raise Stale(_("%(received)s bytes of it have come: go on from there.") % {"received": row.received})
        row.received += shelf.append(row, content)
        row.save(update_fields=["received"])
        if row.received < row.size:
            return row
        if good := shelf.is_as_announced(row):
            with act(actor, "add_file", on=row):
                shelf.settle(row)
        else:
            row.delete()
    shelf.tidy(file.grant_id)
    if not good:
        raise Refused(_("What has come isn't what was announced (SHA-256). Upload it again."), field="sha256")
    return row


def add_file(actor: Person, *, grant: Grant, path: str, content: BinaryIO, size: int) -> ProjectFile:
    """A whole file at once, as a browser sends it."""
    row = begin_file(actor, grant=grant, path=path, size=size, sha256=shelf.digest(content))
    content.seek(row.received)
    return row if row.ready_at else receive(actor, file=row, offset=row.received, content=content)


def delete_file(actor: Person, *, file: ProjectFile) -> None:
    """Take a file from the shelf. Jobs that were submitted with it still get it."""
    require_member(actor, file.grant.organization_id)
    with act(actor, "delete_file", on=file.grant, path=file.path, sha256=file.sha256):
        ProjectFile.objects.filter(pk=file.pk).delete()
    shelf.tidy(file.grant_id)


def keep_template(
    actor: Person,
    *,
    code: str,
    name_ko: str,
    name_en: str,
    text_ko: str,
    text_en: str,
    script: str,
    gpus: int,
    limit_s: int,
    tasks: int = 1,
    parameters: str = "",
    needs: Sequence[str] = (),
    requeue: bool = False,
    hidden: bool = False,
) -> JobTemplate:
    """Offer a script to start from, or change one; the site's own stands in place of the shipped one of its code."""
    require(actor, Role.OPERATOR)
    script = clean_script(script)
    if not WORD.fullmatch(code) or len(code) > 40:
        raise Refused(_("A code is of letters, digits and hyphens, and starts with a letter or digit."), field="code")
    if limit_s < 60:
        raise Refused(_("From 1 minute to 90 days."), field="limit_s")
    check(name=name_ko, script=script, arguments=(), gpus=gpus, limit_s=limit_s, tasks=tasks)
    sweep = sweeps.read(parameters, tasks=tasks)
    if wrong := next(filter(None, map(input_problem, needs)), None):
        raise Refused(wrong, field="needs")
    facts: dict[str, Any] = {"name_ko": name_ko, "name_en": name_en, "text_ko": text_ko, "text_en": text_en}
    facts |= {"script": script, "gpus": gpus, "limit_s": limit_s, "tasks": sweep.tasks, "parameters": parameters}
    with act(actor, "keep_template") as said:
        row, said["made"] = JobTemplate.objects.update_or_create(
            code=code, defaults={**facts, "needs": list(needs), "requeue": requeue, "hidden": hidden}
        )
        said["on"] = row
    return row


def drop_template(actor: Person, *, code: str) -> None:
    """The site's own is gone; a shipped one of its code is back as it came."""
    require(actor, Role.OPERATOR)
    with act(actor, "drop_template", code=code):
        if not JobTemplate.objects.filter(code=code).delete()[0]:
            raise Missing(_("There is nothing here, or it isn't yours to see."))
