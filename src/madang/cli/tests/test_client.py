"""The example in the docstring of the client runs as it is written."""

from __future__ import annotations

import re
import textwrap

import httpx
import pytest

from madang import client
from madang.calls.tests import make
from madang.facilities.compute.tests import make as compute
from madang.jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_example_of_the_client_runs(world, capsys):
    call = make.published().call
    (example,) = re.findall(r"\n((?:    .*\n|\n)+)", client.__doc__ or "")
    text = textwrap.dedent(example).replace("https://madang.example", world.type.url).replace("mdg_…", world.token)
    exec(compile(text, "madang/client.py", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out == f"{call.title_ko}\n"


def test_the_client_has_the_verbs_of_the_command(world, tmp_path):
    with client.Client(world.type.url, world.token) as madang:
        (offer,) = madang.balance()
        asked = {"allocation": offer["allocation"], "limit_s": 600}
        assert madang.forecast(**asked, tasks=2)["held"] == 1200
        made = madang.submit(**asked, name="학습", script="#!/bin/sh\necho\n", parameters="lr\n1\n2\n")
        job = Job.objects.get(uuid=made["uuid"])
        compute.wrote(job, b"log\n", task=1, a_txt=b"abc")
        assert (made["tasks"], madang.logs(made["uuid"], 1)) == (2, "log\n")
        assert sum(madang.cp(made["uuid"], "a.txt", tmp_path / "a", 1)) == 3
        madang.submit(**asked, name="second", script="#!/bin/sh\necho\n")
        assert [row["name"] for row in madang.jobs(limit=1)] == ["second", "학습"]
        assert madang.cancel(made["uuid"])["cancel_asked_at"] is not None


class Breaking(httpx.BaseTransport):
    """A line that breaks: each second request gets no answer after it was received, and each answer ends after so many
    bytes while there are breaks left."""

    def __init__(self, wire: httpx.BaseTransport, breaks: int) -> None:
        self.wire, self.breaks, self.seen = wire, breaks, []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.wire.handle_request(request)
        self.seen.append(request)
        if self.breaks and request.method == "PUT":
            self.breaks -= 1
            answer.read()
            raise httpx.ReadError("the line broke", request=request)
        if self.breaks and request.url.path.endswith(("/bytes", ".bin")):
            self.breaks -= 1
            body, headers = b"".join(answer.stream), answer.headers

            def part():
                yield body[:7]
                raise httpx.ReadError("the line broke", request=request)

            return httpx.Response(answer.status_code, headers=headers, content=part())
        return answer


def test_what_breaks_off_goes_on(world, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "PART", 10)
    monkeypatch.setattr(client, "PAUSE_S", 0)
    source, back = tmp_path / "model.bin", tmp_path / "back"
    source.write_bytes(bytes(range(64)))
    number = world.allocation.grant.number
    with client.Client(world.type.url, world.token) as madang:
        line = madang._http._transport = Breaking(madang._http._transport, 3)
        assert sum(madang.upload(source, grant=number)) == 64
        assert [request.method for request in line.seen].count("PUT") == 7
        assert sum(madang.upload(source, grant=number)) == 64
        assert [request.method for request in line.seen].count("PUT") == 7
        (kept,) = madang.project_files(number)
        line.breaks, line.seen = 2, []
        assert sum(madang.download(f"/compute/project-files/{kept['id']}/bytes", back)) == 64
        assert back.read_bytes() == source.read_bytes()
        assert [request.headers.get("range") for request in line.seen] == [None, "bytes=7-", "bytes=14-"]
        line.breaks = client.MOST_BREAKS + 1
        with pytest.raises(client.Unreachable):
            list(madang.download(f"/compute/project-files/{kept['id']}/bytes", back))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["back", "model.bin", "train.sh"]


def test_a_file_that_changes_while_it_comes_comes_whole(world, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "PAUSE_S", 0)
    job = world.job()
    compute.wrote(job, model_bin=b"0123456789")
    with client.Client(world.type.url, world.token) as madang:
        madang._http._transport = Breaking(madang._http._transport, 1)
        pieces = madang.cp(str(job.uuid), "model.bin", tmp_path / "got")
        next(pieces)
        compute.wrote(job, model_bin=b"changed since, and longer")
        assert 7 + sum(pieces) == 25
    assert (tmp_path / "got").read_bytes() == b"changed since, and longer"
