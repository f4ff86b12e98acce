"""A sweep: one job whose tasks differ by the row of a table that each of them gets as environment variables.

The table is CSV: its first line names the variables, every further line is one task. The engine gives the table to each
task as a file, as it knows one environment per job; a small wrapper takes the task's own row out of it, removes the
table and becomes the script. A column MADANG_TASK gives a task that number instead of its place in the table: this is
how tasks that failed are run again under the numbers that they had.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from madang.engines.base import MAX_TASKS, VARIABLE, InputFile
from madang.web.forms import unusable
from madang.workflow.errors import Refused

if TYPE_CHECKING:
    from madang.jobs.models import Job

MOST_TABLE = 1_000_000  # characters
MOST_VARIABLES = 100
MOST_VALUE = 1000  # characters
NUMBER = "MADANG_TASK"
OURS = (".madang/parameters", ".madang/script")  # what the wrapper finds in the work folder

# Every value is quoted before it gets here (see `files`), so that the row can only set variables.
WRAPPER = """#!/bin/sh
# Gives a task of a sweep its row of the table as environment variables, and becomes the script.
set -e
row=$(sed -n "$((MADANG_TASK + 1))p" .madang/parameters)
rm .madang/parameters
chmod u+x .madang/script
eval "$row"
exec ./.madang/script "$@"
"""


@dataclass(frozen=True)
class Sweep:
    """The tasks of a job: the names of the variables, and for each task their values."""

    variables: list[str]
    rows: list[list[str]]

    @property
    def tasks(self) -> int:
        return len(self.rows)


def read(table: str, *, tasks: int = 1) -> Sweep:
    """The sweep of a table; without one, `tasks` tasks without parameters. Refused at `parameters` or `tasks`."""
    if not table.strip():
        return Sweep([], [[] for _number in range(tasks)])
    if len(table) > MOST_TABLE:
        raise _wrong(_("A parameter table has at most 1,000,000 characters."))
    try:
        lines = [line for line in csv.reader(io.StringIO(table.lstrip("\ufeff")), strict=True) if line]
    except csv.Error as error:
        raise _wrong(_("This isn't a table in CSV: a quotation mark isn't closed or stands inside a value.")) from error
    names, rows = [name.strip() for name in lines[0]], lines[1:]
    _check_names(names)
    if not 1 <= len(rows) <= MAX_TASKS:
        raise _wrong(_("A parameter table has from 1 to 10,000 rows below its header."))
    for number, row in enumerate(rows, 1):
        _check_row(number, row, names)
    if tasks not in (1, len(rows)):
        raise Refused(_("The table has %(rows)s rows: that many tasks there are.") % {"rows": len(rows)}, field="tasks")
    return Sweep(names, rows)


def _wrong(message: str) -> Refused:
    return Refused(message, field="parameters")


def _check_names(names: list[str]) -> None:
    if len(names) > MOST_VARIABLES:
        raise _wrong(_("A parameter table has at most 100 columns."))
    for name in names:
        if not VARIABLE.fullmatch(name) or (name.startswith("MADANG_") and name != NUMBER):
            raise _wrong(
                _("“%(name)s” can't name a variable: letters, digits and _, not beginning with a digit or MADANG_.")
                % {"name": name[:100]}
            )
    if len(set(names)) < len(names):
        raise _wrong(_("Two columns of the table have the same name."))


def _check_row(number: int, row: list[str], names: list[str]) -> None:
    if len(row) != len(names):
        raise _wrong(
            _("Row %(row)s has %(has)s values, and the header names %(names)s.")
            % {"row": number, "has": len(row), "names": len(names)}
        )
    for name, value in zip(names, row, strict=True):
        if len(value) > MOST_VALUE:
            raise _wrong(_("Row %(row)s: a value has at most 1,000 characters.") % {"row": number})
        if sign := unusable(value):
            raise _wrong(
                _("Row %(row)s holds a sign that can't be used here (%(sign)s).") % {"row": number, "sign": sign}
            )
        if name == NUMBER and not (value.isascii() and value.isdigit() and len(value) <= 5):
            raise _wrong(_("Row %(row)s: MADANG_TASK is a number.") % {"row": number})


def of(job: Job) -> Sweep:
    """The sweep of a job as it was submitted."""
    if not job.variables:
        return Sweep([], [[] for _number in range(job.tasks)])
    return Sweep(job.variables, list(job.task_rows.order_by("number").values_list("parameters", flat=True)))


def files(script: str, sweep: Sweep) -> tuple[InputFile, ...]:
    """What the wrapper needs: the script, and a table in which line n sets the variables of task n."""
    rows = (
        "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in zip(sweep.variables, row, strict=True))
        for row in sweep.rows
    )
    table = "".join(f"{row}\n" for row in rows)
    return (
        InputFile(OURS[0], content=table.encode()),
        InputFile(OURS[1], content=script.encode()),
    )


def table_of(variables: list[str], tasks: Iterable[tuple[int, list[str]]]) -> str:
    """These tasks (number, values) as a table that runs them under the same numbers."""
    if NUMBER in variables:
        return csv_of(variables, (values for _number, values in tasks))
    return csv_of([NUMBER, *variables], ([str(number), *values] for number, values in tasks))


def csv_of(variables: list[str], rows: Iterable[list[str]]) -> str:
    """A table as `read` reads it."""
    out = io.StringIO()
    # A row of one empty value would be an empty line, which is no row: it is quoted.
    csv.writer(out, lineterminator="\n").writerows([variables, *rows])
    return out.getvalue()
