"""Interactive sessions: jobs that people use while they run, each at a host name of its own.

A signed-in member of the job's organization is given a ticket, good once and for a minute. The proxy turns it into a
cookie of the session's host alone. Whoever leaves the organization, logs out or ends the session is out: every request
asks again, and open connections are asked about every few seconds.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib.sessions.models import Session as Login
from django.db import IntegrityError
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from madang.engines.base import WORD
from madang.facilities.compute import actions, programs
from madang.facilities.compute.clusters import has_sessions, session_ports
from madang.facilities.compute.models import Entrance, Partition, Program, Session, SessionKind
from madang.facilities.compute.queries import Offer, missing, offers
from madang.grants.models import Allocation
from madang.identity.access import access_of, require, require_member
from madang.identity.models import Membership, Person, Role
from madang.jobs import actions as jobs
from madang.jobs.models import LIVE, Job, JobState
from madang.web.amounts import lasting_as_typed
from madang.workflow.errors import Missing, Refused, Stale
from madang.workflow.log import act
from madang.workflow.moment import now

TICKET_S = 60
LONGEST_S = 7 * 86_400
SHOWN = 50  # sessions on a page


def offered() -> bool:
    """Whether this site has an address for sessions at all."""
    return bool(settings.SESSIONS_URL)


def host_of(uuid: UUID) -> str:
    """The host of one session, with its port: a browser lets no page of another host read what is shown there."""
    return f"s-{uuid}.{urlsplit(settings.SESSIONS_URL).netloc}"


def origin_of(uuid: UUID) -> str:
    return f"{urlsplit(settings.SESSIONS_URL).scheme}://{host_of(uuid)}"


def uuid_of(host: str) -> UUID | None:
    """The session that a host belongs to; None for every other way to write it but `host_of`."""
    try:
        uuid = UUID(host[2:38])
    except ValueError:
        return None
    return uuid if host == host_of(uuid) else None


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# -- what the site offers ------------------------------------------------------------------------------------------


def add_kind(
    actor: Person,
    *,
    code: str,
    name_ko: str,
    name_en: str,
    program: str,
    command: str,
    most_gpus: int,
    longest_s: int,
    idle_s: int,
) -> SessionKind:
    """Offer a program for interactive use."""
    require(actor, Role.OPERATOR)
    plain = command.isprintable() and command == command.strip()
    errors = {
        "code": "" if WORD.fullmatch(code) and len(code) <= 40 else _("Only letters, digits and hyphens."),
        "program": "" if program in Program.values else pgettext("session", "There is no such program."),
        "command": ""
        if plain and (command.startswith("/") or WORD.fullmatch(command))
        else _("The path of the program from / on, or its name."),
        "most_gpus": "" if 1 <= most_gpus <= 1024 else _("From 1 to 1,024 GPUs."),
        "longest_s": "" if 60 <= longest_s <= LONGEST_S else _("From 1 minute to 7 days."),
        "idle_s": "" if 60 <= idle_s <= longest_s else _("From 1 minute to the longest time limit."),
    }
    if errors := {field: message for field, message in errors.items() if message}:
        raise Refused(" ".join(errors.values()), errors=errors)
    try:
        with act(actor, "add") as said:
            kind = said["on"] = SessionKind.objects.create(
                code=code,
                name_ko=name_ko,
                name_en=name_en,
                program=program,
                command=command,
                most_gpus=most_gpus,
                longest_s=longest_s,
                idle_s=idle_s,
            )
    except IntegrityError as error:
        raise Refused(_("There is a kind of this code."), field="code") from error
    return kind


def offer_kind(actor: Person, *, kind: SessionKind, offered: bool) -> SessionKind:
    """Offer a kind again, or no longer: its sessions that run go on."""
    require(actor, Role.OPERATOR)
    with act(actor, "offer" if offered else "withdraw", on=kind):
        kind.offered = offered
        kind.save(update_fields=["offered"])
    return kind


def kinds(*, all: bool = False) -> list[SessionKind]:
    return list(SessionKind.objects.order_by("id") if all else SessionKind.objects.filter(offered=True).order_by("id"))


def kind_named(code: str) -> SessionKind:
    kind = SessionKind.objects.filter(code=code, offered=True).first()
    if kind is None:
        raise Refused(_("The site offers no such session."), field="kind")
    return kind


def places(person: Any) -> list[Offer]:
    """The allocations that the person can start a session on now."""
    return [offer for offer in offers(person) if has_sessions(offer.partition.cluster)]


# -- a session from its start to its end ----------------------------------------------------------------------------


def start(
    actor: Person,
    *,
    uuid: UUID,
    kind: SessionKind,
    allocation: Allocation,
    gpus: int,
    limit_s: int,
    files: Sequence[str] = (),
) -> Session:
    """Start a session: a job of that uuid, held, run and charged as every job. The same again is the same session.
    `files` are names of files of the project, which it finds in its folder."""
    if not offered():
        raise Refused(_("This site offers no interactive sessions."))
    partition = Partition.objects.select_related("cluster").filter(resource=allocation.resource_id).first()
    errors = {
        "kind": "" if kind.offered else _("The site offers no such session."),
        "allocation": ""
        if partition and has_sessions(partition.cluster)
        else _("No sessions run on the cluster of this allocation."),
        "gpus": ""
        if gpus <= kind.most_gpus
        else ngettext(
            "A session of this kind has at most %(most)s GPU.",
            "A session of this kind has at most %(most)s GPUs.",
            kind.most_gpus,
        )
        % {"most": kind.most_gpus},
        "limit_s": ""
        if limit_s <= kind.longest_s
        else _("The longest time limit here is %(limit)s.") % {"limit": lasting_as_typed(kind.longest_minutes)},
    }
    if errors := {field: message for field, message in errors.items() if message}:
        require_member(actor, allocation.grant.organization_id)
        raise Refused(" ".join(errors.values()), errors=errors)
    assert partition
    script, arguments = _how(kind, session_ports(partition.cluster))
    with act(actor, "start_session", kind=kind.code) as said:
        job = actions.submit(
            actor,
            uuid=uuid,
            allocation=allocation,
            name=kind.name_en,
            script=script,
            arguments=arguments,
            gpus=gpus,
            limit_s=limit_s,
            files=files,
        )
        session, _made = Session.objects.get_or_create(job=job, defaults={"kind": kind, "idle_s": kind.idle_s})
        if session.kind_id != kind.pk:
            raise Stale(_("This session was started before as another kind."))
        said["on"] = session
    return session


def _how(kind: SessionKind, ports: range) -> tuple[str, list[str]]:
    """The script of a session, and what it is told."""
    program = Program(kind.program)
    if not ports:
        return programs.here(program), [kind.command]
    return programs.elsewhere(program), [kind.command, f"{ports[0]}-{ports[-1]}"]


def end(actor: Person, *, session: Session) -> Session:
    """End it: what it used is charged, the rest comes back."""
    jobs.cancel(actor, job=session.job)
    return session


def visible(person: Any) -> QuerySet[Session]:
    """The sessions of the person's own organizations."""
    return Session.objects.filter(
        job__allocation__grant__organization_id__in=list(access_of(person).organizations)
    ).select_related("kind", "job__allocation__grant__organization", "job__allocation__resource", "job__person")


def sessions_of(person: Any, *, live: bool = False, after: int | None = None, limit: int = SHOWN) -> list[Session]:
    """Newest first, one more than `limit` where there are more; `after` is the id of the last one before."""
    rows = visible(person).defer("job__script").order_by("-id")
    rows = rows.filter(job__state__in=LIVE) if live else rows
    return list((rows if after is None else rows.filter(id__lt=after))[: limit + 1])


def session_for(person: Any, uuid: UUID) -> Session:
    """One session, if this person may see it; Missing otherwise."""
    found = visible(person).filter(job__uuid=uuid).first()
    if found is None:
        raise missing()
    return found


def session_of(job: Job) -> Session | None:
    return Session.objects.filter(job=job).select_related("kind").first()


def is_open(session: Session) -> bool:
    """Whether it can be opened now."""
    return bool(session.ready_at) and session.job.state == JobState.RUNNING and not session.job.cancel_asked_at


def state_of(session: Session) -> str:
    """Where it is, in one word: waits, starts, ready, unknown, ended."""
    job = session.job
    if job.state == JobState.RUNNING:
        return "ready" if session.ready_at else "starts"
    return {JobState.ENDED: "ended", JobState.UNKNOWN: "unknown"}.get(JobState(job.state), "waits")


def limit_of(job: Job) -> timedelta:
    return timedelta(seconds=job.limit_s)


def so_far(session: Session, moment: datetime) -> int:
    """GPU-seconds until now, of one that runs; what it was charged once it has ended."""
    return used_by(session.job, moment)


def used_by(job: Job, moment: datetime) -> int:
    """As `so_far`, of any job of one task."""
    if not job.lives or job.started_at is None:
        return job.used
    return job.gpus * min(job.limit_s, max(0, int((moment - job.started_at).total_seconds())))


# -- the way in ------------------------------------------------------------------------------------------------------


def let_in(actor: Person, *, session: Session, login: str) -> str:
    """The address that opens a session in this browser, once and within a minute. `login`: the portal's session key."""
    require_member(actor, session.job.allocation.grant.organization_id)
    if not login:
        raise Refused(_("Log in first."))
    if not is_open(session):
        raise Refused(_("This session can't be opened: it isn't ready yet, or has ended."))
    secret = secrets.token_urlsafe(32)
    with act(actor, "open", on=session):
        Entrance.objects.create(
            session=session,
            person=actor,
            login=login,
            ticket=digest(secret),
            until=now() + timedelta(seconds=TICKET_S),
        )
    return f"{origin_of(session.job.uuid)}/.madang/enter?ticket={secret}"


def _good(uuid: UUID) -> QuerySet[Entrance]:
    """The entrances of a session that runs, by people who are still members and still logged in at the portal."""
    member = Membership.objects.filter(
        person=OuterRef("person"), organization=OuterRef("session__job__allocation__grant__organization"), until=None
    )
    login = Login.objects.filter(session_key=OuterRef("login"), expire_date__gt=Now())
    return Entrance.objects.filter(
        Exists(member),
        Exists(login),
        session__job__uuid=uuid,
        session__job__state=JobState.RUNNING,
        session__job__cancel_asked_at=None,
        person__is_active=True,
    )


def enter(uuid: UUID, ticket: str) -> str:
    """Use up a ticket: the cookie to set. Missing for one that was used, is late, or is of another session."""
    cookie = secrets.token_urlsafe(32)
    found = _good(uuid).filter(ticket=digest(ticket)).select_related("person", "session").first()
    if found is None:
        raise Missing(_("This way in has been used or is too old."))
    with act(found.person, "enter", on=found.session):
        fresh = _good(uuid).filter(pk=found.pk, entered_at=None, until__gt=Now())
        if not fresh.update(entered_at=Now(), cookie=digest(cookie)):
            raise Missing(_("This way in has been used or is too old."))
    return cookie


def admitted(uuid: UUID, cookie: str) -> bool:
    """Whether whoever has this cookie may be in this session now. One statement."""
    return _good(uuid).filter(cookie=digest(cookie)).exists()


# -- what the proxy sees ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Live:
    """A session whose job runs. `idle_s`: since something was last done in it, by the database's clock."""

    pk: int
    uuid: UUID
    engine: str
    program: str
    ready: bool
    idle_s: float
    most_idle_s: int


def running() -> list[Live]:
    """Every session of the site whose job runs and wasn't asked to end."""
    rows = Session.objects.filter(job__state=JobState.RUNNING, job__cancel_asked_at=None).annotate(moment=Now())
    return [
        Live(
            row.pk,
            row.job.uuid,
            row.job.engine,
            row.kind.program,
            row.ready_at is not None,
            (row.moment - row.active_at).total_seconds() if row.active_at else 0.0,
            row.idle_s,
        )
        for row in rows.select_related("kind", "job").defer("job__script").order_by("id")
    ]


def answered(pk: int) -> None:
    """It answers: from now on it can be opened, and its idle time counts."""
    Session.objects.filter(pk=pk, ready_at=None).update(ready_at=Now(), active_at=Now())


def was_used(pks: Iterable[int]) -> None:
    """Something was just done in these."""
    Session.objects.filter(pk__in=list(pks)).update(active_at=Now())


def end_idle(pk: int) -> bool:
    """Ask a session to end in which nothing was done for too long. False where it was used meanwhile."""
    session = Session.objects.select_related("job").get(pk=pk)
    with act(None, "end_idle", on=session) as said:
        idle = Session.objects.filter(pk=pk, idle_at=None, active_at__lte=Now() - timedelta(seconds=session.idle_s))
        if not idle.update(idle_at=Now()):
            said["used"] = True
            return False
        return jobs.end(session.job, reason="nothing was done in the session")
