"""What the shell offers while a line is written, and that it says nothing where there is nothing to offer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from uuid import UUID

import pytest

from madang.cli import complete
from madang.facilities.compute.tests import make
from madang.jobs.models import Job, JobState
from madang.workflow.moment import now

database = pytest.mark.django_db(transaction=True)


def offered(world, *words: str, **environment: str) -> list[str]:
    """What bash is given for the last of these words."""
    line = {"COMP_WORDS": " ".join(["madang", *words]), "COMP_CWORD": str(len(words))}
    answer = world.type(_MADANG_COMPLETE="complete_bash", **line, **environment)
    assert answer.stderr == ""
    return answer.stdout.split()


@pytest.fixture(autouse=True)
def patience(monkeypatch) -> None:
    """As much as a busy machine needs."""
    monkeypatch.setattr(complete, "PATIENCE_S", 60)


@pytest.fixture
def deaf() -> Iterator[str]:
    """A site that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@database
def test_jobs_are_offered_as_short_as_the_command_prints_them_and_whole_where_they_are_alike(world):
    first, second, third = (UUID(f"{start}-1111-4111-8111-11111111111{n}") for n, start in
                            enumerate(("aaaaaaaa", "aaaabbbb", "aaaabbbb")))  # fmt: skip
    for uuid in (first, second, third):
        world.job(uuid=uuid)
    Job.objects.filter(uuid=first).update(state=JobState.ENDED, outcome="completed", ended_at=now())
    theirs = make.job(make.allocation())
    assert sorted(offered(world, "job", "")) == ["aaaaaaaa", str(second), str(third)]
    for command in ("job", "tasks", "logs", "metrics", "again", "files"):
        assert offered(world, command, "aaaaa") == ["aaaaaaaa"]
    assert offered(world, "logs", "aaaaaaaa-1") == [str(first)]
    assert offered(world, "cp", "aaaaa") == ["aaaaaaaa:"]
    assert offered(world, "cancel", "aaaaa") == []
    assert sorted(offered(world, "cancel", "")) == [str(second), str(third)]
    assert offered(world, "job", str(theirs.uuid)[:2]) == []


@database
def test_what_one_holds_and_what_the_site_offers_is_offered_by_name(world):
    where, grant = world.allocation.resource.partition, world.allocation.grant
    mine = str(world.allocation.pk)
    session = make.session(world.allocation, kind=make.kind(code="lab"))
    assert offered(world, "submit", "--partition", "") == [where.name]
    assert offered(world, "forecast", "--allocation", "") == [mine]
    assert offered(world, "jobs", "--allocation", mine) == [mine]
    assert offered(world, "files", "--grant", grant.number[:3]) == [grant.number]
    assert offered(world, "files", "--grant", "no-such") == []
    assert offered(world, "templates", "train") == ["train-ddp"]
    assert offered(world, "session", "start", "") == ["lab"]
    assert offered(world, "session", "end", "") == [str(session.job.uuid)[:8]]


@database
def test_what_people_wrote_is_shown_as_it_is_and_steers_nothing(world):
    job = world.job(name="[/red] [bold 'x' $(id)")
    answer = world.type(_MADANG_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="madang job ")
    assert (answer.stderr, str(job.uuid)[:8] in answer.stdout, "[/red] [bold" in answer.stdout) == ("", True, True)


@database
def test_where_the_site_doesnt_answer_nothing_is_offered_and_nothing_is_said(world, deaf, monkeypatch):
    world.job()
    assert len(offered(world, "job", "")) == 1
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert offered(world, "job", "", MADANG_URL=nobody) == []
    for token in ("mdg_wrong", "no\ntoken", "토큰"):
        assert offered(world, "job", "", MADANG_TOKEN=token) == []
    monkeypatch.setattr(complete, "PATIENCE_S", 0.5)
    began = time.monotonic()
    assert offered(world, "job", "", MADANG_URL=deaf) == []
    assert 0.5 <= time.monotonic() - began < 10
    world.type.environment["MADANG_TOKEN"] = None
    assert offered(world, "job", "", MADANG_URL=deaf) == []
