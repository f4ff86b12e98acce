"""The example in the docstring of the client runs as it is written."""

from __future__ import annotations

import re
import textwrap

import pytest

from madang import client
from madang.calls.tests import make

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_example_of_the_client_runs(world, capsys):
    call = make.published().call
    (example,) = re.findall(r"\n((?:    .*\n|\n)+)", client.__doc__ or "")
    text = textwrap.dedent(example).replace("https://madang.example", world.type.url).replace("mdg_…", world.token)
    exec(compile(text, "madang/client.py", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out == f"{call.title_ko}\n"
