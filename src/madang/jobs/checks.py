"""What can be said about a job before anything is asked of the database. All problems at once, each at its field."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from madang.engines.base import MAX_LIMIT_S, MAX_TASKS, usable_path
from madang.jobs.engines import Input
from madang.web.forms import unusable
from madang.workflow.errors import Refused

MOST_SCRIPT_BYTES = 200_000
MOST_ARGUMENTS = 100
MOST_ARGUMENT = 1000  # characters
MOST_INPUTS = 200
OURS = ".madang"  # the folder of a run that is ours to write


def clean_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def clean_script(script: str) -> str:
    """The script as it is kept and run: Unix line ends, one at its end. What a browser does to it is undone here."""
    return script.replace("\r\n", "\n").replace("\r", "\n").rstrip() + "\n"


def check(
    *, name: str, script: str, arguments: Sequence[str], gpus: int, limit_s: int, tasks: int = 1, parallel: int = 0
) -> None:
    """Raises Refused with every field that is wrong. `name` and `script` as cleaned above."""
    errors: dict[str, Any] = {
        "name": _name(name),
        "script": _script(script),
        "arguments": _arguments(arguments),
        "gpus": "" if 1 <= gpus <= 1024 else _("From 1 to 1,024 GPUs."),
        "tasks": "" if 1 <= tasks <= MAX_TASKS else _("From 1 to 10,000 tasks."),
        "parallel": "" if 0 <= parallel <= MAX_TASKS else _("From 0 to 10,000 at once; 0 is as many as fit."),
        "limit_s": "" if 1 <= limit_s <= MAX_LIMIT_S else _("A time limit is from 1 second to 90 days."),
    }
    errors = {field: message for field, message in errors.items() if message}
    if errors:
        raise Refused(" ".join(errors.values()), errors=errors)


def input_problem(path: str) -> str:
    """Why a file of a job can't be called so; empty where it can."""
    if not usable_path(path):
        return _(
            "“%(path)s” can't name a file: at most 100 characters, 85 Korean letters between two “/”, "
            "no empty part, no “..”."
        ) % {"path": path[:100]}
    if path.split("/")[0] == OURS:
        return _("Names beginning with .madang/ are taken.")
    return ""


def check_inputs(inputs: Sequence[Input]) -> None:
    """Raises Refused where one name can't be used, or two can't be beside each other in a folder."""
    paths = [entry.path for entry in inputs]
    folders = {path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"}
    problems = [problem for path in paths if (problem := input_problem(path))]
    if clash := next((path for path in paths if path in folders or paths.count(path) > 1), None):
        problems.append(_("“%(path)s” is there twice.") % {"path": clash})
    if len(paths) > MOST_INPUTS:
        problems.append(_("A job is given at most %(most)s files.") % {"most": MOST_INPUTS})
    if problems:
        raise Refused(problems[0], field="files")


def _name(name: str) -> str:
    if not name:
        return _("A job needs a name.")
    if len(name) > 80:
        return _("A job's name has at most 80 characters.")
    if sign := unusable(name):
        return _("This holds a sign that can't be used here (%(sign)s).") % {"sign": sign}
    return ""


def _script(script: str) -> str:
    if len(script) > MOST_SCRIPT_BYTES or len(script.encode(errors="replace")) > MOST_SCRIPT_BYTES:
        return _("A script has at most 200 kB. Larger things belong into a dataset.")
    if "\x00" in script or any("\ud800" <= sign <= "\udfff" for sign in script):
        return _("The script holds a NUL or a broken character. Is it a text file?")
    if not script.startswith("#!"):
        return _("The first line of a script names the program that runs it, for example: #!/usr/bin/env python3")
    return ""


def _arguments(arguments: Sequence[str]) -> str:
    if len(arguments) > MOST_ARGUMENTS:
        return _("At most 100 arguments.")
    for argument in arguments:
        if len(argument) > MOST_ARGUMENT:
            return _("An argument has at most 1,000 characters.")
        if sign := unusable(argument):
            return _("This holds a sign that can't be used here (%(sign)s).") % {"sign": sign}
    return ""
