"""The example in the docstring of the client runs as it is written."""

from __future__ import annotations

import re
import textwrap

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
