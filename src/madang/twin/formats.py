"""Read a trace: SWF, an export of Slurm's sacct, CSV or Parquet.

A line that can't be read is refused by name and the rest goes on; a file that isn't what it says is refused whole.
"""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from madang.twin.errors import BadInput
from madang.twin.trace import MAX_SIZE, MAX_TIME, UNKNOWN, Raw, Refusal, Trace, canonical

MAX_BYTES = 1 << 30  # of text, after inflation
NAMES = ("user", "account", "program", "partition", "qos", "gpu_type")
COLUMNS = ("id", "submit", "run", "gpus", "limit", "eligible", "start", "end", "wait", *NAMES)
# What others call them. Only these are read unasked; `start` and `end` never, as they may be a simulation's.
ALSO = {
    "id": ("job_id", "jobid", "job"),
    "submit": ("submit_time", "submitted_at", "submission_time", "timestamp", "arrival"),
    "run": ("duration", "run_time", "runtime"),
    "gpus": ("gpu_num", "num_gpus", "gpu_count", "ngpus", "size"),
    "limit": ("time_limit", "timelimit", "walltime", "requested_time"),
    "wait": ("recorded_wait",),
}
SACCT = "JobIDRaw,Submit,Eligible,Start,End,TimelimitRaw,ReqTRES,AllocTRES,Partition,Account,User,QOS,State"
_SACCT_TIMES = ("Submit", "Eligible", "Start", "End")
_NONE = frozenset({"", "none", "unknown", "null", "nan", "nat", "na", "n/a"})
_SWF = re.compile(r"\s*(;|(-?\d+(\.\d+)?[ \t]+){17}-?\d+(\.\d+)?\s*(\n|$))")  # a comment, or 18 numbers
_GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)")
_TYPES = re.compile(r"(?:^|,)gres/gpu:([^=,:]+)[^=,]*=\d+")
_TYPED_GPUS = re.compile(r"(?:^|,)gres/gpu:[^=,]+=(\d+)")


class _Wrong(ValueError):
    """The value of a field; the message says what to do."""


def read(
    path: Path, *, gpus: int | None = None, columns: Mapping[str, str] | None = None, encoding: str = "utf-8"
) -> Trace:
    """The trace in `path`, in canonical form for a machine of `gpus` (where None: of as many as the trace says).

    The format goes by the name (`.swf`, `.parquet`) or by how the text begins: with a ; or with 18 fields, that is SWF;
    with JobIDRaw or JobID and | between the fields, sacct's; else a table. All but Parquet may be gzipped. `columns`
    maps our names to the table's: {"submit": "submit_time"}.

    Raises BadInput.
    """
    if unknown := sorted(set(columns or ()) - set(COLUMNS)):
        raise BadInput(f"--map {unknown[0]!r}: one of {', '.join(COLUMNS)}")
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise BadInput(f"{encoding!r} is no encoding that is known here: utf-8, latin-1, cp949 …") from None
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".toml"):
        raise BadInput(f"{path}: this is a plan or a model, and no trace: `madang twin run` and `sweep` take a model")
    if name.endswith(".parquet"):
        return canonical(_parquet(path, columns or {}), gpus)
    swf = name.endswith(".swf")
    text = _text(path, "latin-1" if swf else encoding)  # of SWF only the numbers and three names of the header are read
    if swf or _SWF.match(text):
        if columns:
            raise BadInput("--map is for tables: the columns of SWF are fixed")
        return canonical(_swf(text), gpus)
    header = text.partition("\n")[0].strip().lstrip("\ufeff")
    if "|" in header and header.lower().startswith("jobid") and not columns:
        return canonical(_sacct(text), gpus)
    return canonical(_csv(text, columns or {}), gpus)


def _text(path: Path, encoding: str) -> str:
    try:
        # Once, as it may be a pipe.
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        if data[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(data), "rb") as unzipped:
                data = unzipped.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{path}: the gzip file is broken or cut off ({error}): fetch it again") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise BadInput(f"{path}: more than {MAX_BYTES >> 20:,} MiB of text: cut it into months")
    if not data.strip():
        raise BadInput(f"{path}: the file is empty")
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\0" in data[:65536] and "16" not in encoding and "32" not in encoding:
        raise BadInput(f"{path}: this is no text; SWF, a sacct export, CSV or Parquet (.parquet) can be read")
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise BadInput(
            f"{path}, line {line}: not {encoding}: say which it is, e.g. --encoding latin-1 or cp949"
        ) from None
    return text if "\n" in text else text.replace("\r", "\n")


# --- values -------------------------------------------------------------------------------------------------------


def whole(value: Any, most: int = MAX_TIME) -> int:
    """A whole number from what a table holds; -1 for what says that nothing is known.

    >>> whole("66.0"), whole(" 12"), whole("nan"), whole(None)
    (66, 12, -1, -1)
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in _NONE:
            return UNKNOWN
        try:
            number: int | float = int(value) if "_" not in value else float("x")
        except ValueError:
            number = _decimal(value)
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _Wrong("not a number")
    else:
        number = float(value) if isinstance(value, Decimal) else value
    if isinstance(number, float):
        if number != number:
            return UNKNOWN
        if abs(number) <= most and not number.is_integer():
            raise _Wrong("a part of a second or GPU: round it first")
    if abs(number) > most:
        raise _Wrong(f"above {most:,}: in seconds, not in milliseconds?" if most == MAX_TIME else f"above {most:,}")
    return int(number)


def _decimal(text: str) -> float:
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        raise _Wrong("a comma for a point: write whole seconds")
    try:
        return float(text) if "_" not in text else float("x")
    except ValueError:
        raise _Wrong("not a number") from None


class _Clock:
    """Instants as seconds: numbers as they are, dates as UTC. One file holds one kind."""

    def __init__(self) -> None:
        self.kind = ""

    def __call__(self, value: Any) -> int:
        if isinstance(value, date) and not isinstance(value, datetime):
            raise _Wrong("a date without a time")
        if isinstance(value, str) and re.match(r"\s*\d{4}-\d\d?-\d", value):
            try:
                value = datetime.fromisoformat(value.strip())
            except ValueError:
                raise _Wrong("no date and time like 2026-11-27T09:30:00+09:00") from None
        if isinstance(value, datetime):
            self._is("dates with a zone" if value.tzinfo else "dates without a zone")
            seconds = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
            return whole(seconds)
        seconds = whole(value)
        if seconds != UNKNOWN:
            self._is("seconds")
        return seconds

    def _is(self, kind: str) -> None:
        if self.kind and kind != self.kind:
            raise _Wrong(f"{kind} after {self.kind}: write all in one way")
        self.kind = kind

    def note(self, raw: Raw) -> None:
        if self.kind == "dates without a zone":
            raw.notes.append(
                "dates without a zone are read as UTC; an hour that a clock change repeats can't be told apart"
            )


# --- SWF ----------------------------------------------------------------------------------------------------------


def _swf(text: str) -> Raw:
    """Standard Workload Format 2.2 (cs.huji.ac.il/labs/parallel/workload/swf.html): 18 fields, -1 is unknown."""
    raw = Raw(more={"user": []})
    header: dict[str, int] = {}
    add = (raw.id.append, raw.submit.append, raw.run.append, raw.gpus.append, raw.limit.append, raw.wait.append)
    add_id, add_submit, add_run, add_gpus, add_limit, add_wait = add
    add_user = raw.more["user"].append
    for number, line in enumerate(text.split("\n"), 1):
        part = line.split()
        if not part:
            continue
        if part[0][0] == ";":
            if found := re.match(r";\s*(MaxProcs|MaxNodes|UnixStartTime)\s*:\s*(\d+)", line):
                header[found[1]] = _counted(found[2])
            continue
        try:
            if len(part) != 18 or "_" in line:  # int() reads 1_000, nobody else does
                raise _Wrong
            submit, wait, run, used, asked, limit = (
                int(part[1]), int(part[2]), int(part[3]), int(part[4]), int(part[7]), int(part[8])
            )  # fmt: skip
            size = asked if asked > 0 else used
            if max(submit, run, limit, wait) > MAX_TIME or size > MAX_SIZE:
                raise _Wrong
        except ValueError:
            slow = _swf_slowly(number, part)
            if isinstance(slow, Refusal):
                raw.refused.append(slow)
                continue
            submit, wait, run, used, asked, limit = slow
            size = asked if asked > 0 else used
        add_id(part[0])
        add_submit(submit)
        add_run(run)
        add_gpus(size)
        add_limit(limit if limit > 0 else UNKNOWN)
        add_wait(wait if wait >= 0 else UNKNOWN)
        add_user(part[11])
    raw.machine_gpus = header.get("MaxProcs") or header.get("MaxNodes")
    if raw.machine_gpus and raw.machine_gpus > MAX_SIZE:
        raise BadInput(f"MaxProcs is above {MAX_SIZE:,}: no machine is so large")
    raw.clock = header.get("UnixStartTime", 0)
    if raw.clock > MAX_TIME:
        raise BadInput("UnixStartTime is beyond all years: it is in seconds since 1970")
    return raw


def _swf_slowly(line: int, part: list[str]) -> Refusal | list[int]:
    if len(part) != 18:
        return Refusal(line, "fields", str(len(part)), "SWF has 18 in a line, with blanks between")
    names = (
        (1, "submit time"),
        (2, "wait time"),
        (3, "run time"),
        (4, "processors"),
        (7, "requested processors"),
        (8, "requested time"),
    )
    values = []
    for place, name in names:
        try:
            values.append(whole(part[place], MAX_SIZE if "processors" in name else MAX_TIME))
        except _Wrong as wrong:
            return Refusal(line, f"field {place + 1} ({name})", part[place][:40], str(wrong))
    return values


# --- Slurm --------------------------------------------------------------------------------------------------------


def _sacct(text: str) -> Raw:
    raw = Raw(more={name: [] for name in ("partition", "account", "user", "qos", "gpu_type")})
    lines = text.split("\n")
    header = [name.strip() for name in lines[0].lstrip("\ufeff").rstrip("\r").rstrip("|").split("|")]
    place = {name: header.index(name) for name in header}
    if "JobID" in place:
        place.setdefault("JobIDRaw", place["JobID"])
    if missing := [name for name in SACCT.split(",")[:8] if name not in place and name not in ("Eligible", "ReqTRES")]:
        raise BadInput(
            f"the sacct export lacks {', '.join(missing)}:"
            f" SLURM_TIME_FORMAT=%s sacct -X -P --duplicates -o {SACCT},Restarts"
        )
    clock = _Clock()
    for number, line in enumerate(lines[1:], 2):
        part = line.rstrip("\r").split("|")
        if not line.strip():
            continue
        if len(part) not in (len(header), len(header) + 1):
            raw.refused.append(Refusal(number, "fields", str(len(part)), f"the header has {len(header)}"))
            continue
        row = {name: part[at].strip() for name, at in place.items()}
        if "." in row["JobIDRaw"]:
            raw.count("step")
            continue
        refusal = _sacct_row(raw, number, row, clock)
        if refusal:
            raw.refused.append(refusal)
    clock.note(raw)
    return raw


def _sacct_row(raw: Raw, line: int, row: Mapping[str, str], clock: Callable[[Any], int]) -> Refusal | None:
    times = {}
    for name in _SACCT_TIMES:
        value = row.get(name, "")
        try:
            times[name] = clock(value)
        except _Wrong as wrong:
            return Refusal(line, name, value[:40], str(wrong))
    if times["Submit"] == UNKNOWN:
        return Refusal(line, "Submit", row["Submit"], "a job needs one")
    start, end = times["Start"], times["End"]
    if start != UNKNOWN and end != UNKNOWN and end < start:
        return Refusal(line, "End", row["End"], f"before its start {row['Start']}")
    try:
        minutes = _minutes(row["TimelimitRaw"])
    except _Wrong as wrong:
        return Refusal(line, "TimelimitRaw", row["TimelimitRaw"][:40], str(wrong))
    arrival = max(times["Submit"], times["Eligible"])
    if start != UNKNOWN and arrival > start:  # an eligible time that a requeue wrote anew
        arrival = min(times["Submit"], start)
    size = tres_gpus(row["AllocTRES"]) or tres_gpus(row.get("ReqTRES", ""))
    if size > MAX_SIZE:
        return Refusal(line, "AllocTRES", row["AllocTRES"][:40], f"above {MAX_SIZE:,} GPUs")
    raw.count("later eligible", arrival > times["Submit"])
    raw.id.append(row["JobIDRaw"])
    raw.submit.append(arrival)
    raw.run.append(end - start if UNKNOWN not in (start, end) else UNKNOWN)
    raw.gpus.append(size or UNKNOWN)
    raw.limit.append(minutes * 60 if minutes > 0 else UNKNOWN)
    raw.wait.append(start - arrival if start != UNKNOWN else UNKNOWN)
    for name, column in (("partition", "Partition"), ("account", "Account"), ("user", "User"), ("qos", "QOS")):
        raw.more[name].append(row.get(column, ""))
    raw.more["gpu_type"].append(tres_type(row["AllocTRES"]) or tres_type(row.get("ReqTRES", "")))
    return None


def _minutes(value: str) -> int:
    return UNKNOWN if value.lower() in ("unlimited", "partition_limit", "invalid") else whole(value, MAX_TIME // 60)


def tres_gpus(tres: str) -> int:
    """The GPUs in a list of Slurm's trackable resources: the total, else the sum of the types.

    >>> [tres_gpus(tres) for tres in ("gres/gpu=8,gres/gpu:h100=8", "gres/gpu:a100=2,gres/gpu:h100=1", "cpu=4")]
    [8, 3, 0]
    """
    if found := _GPUS.search(tres):
        return _counted(found[1])
    return sum(map(_counted, _TYPED_GPUS.findall(tres)))


def _counted(digits: str) -> int:
    """Python refuses to read thousands of digits."""
    return int(digits) if len(digits) <= 12 else MAX_TIME + 1


def tres_type(tres: str) -> str:
    """The one type of GPU in a list of trackable resources; empty where there are none or several.

    >>> [tres_type(tres) for tres in ("gres/gpu=8,gres/gpu:h100=8", "gres/gpu:a100=2,gres/gpu:h100=1", "cpu=4")]
    ['h100', '', '']
    """
    found = set(_TYPES.findall(tres))
    return found.pop() if len(found) == 1 else ""


# --- tables -------------------------------------------------------------------------------------------------------


def parse_map(text: str) -> dict[str, str]:
    """`submit=submit_time,run=duration` as a mapping of our columns to a table's. Raises BadInput.

    >>> parse_map("submit=submit_time, run=duration")
    {'submit': 'submit_time', 'run': 'duration'}
    """
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        ours, sign, theirs = (piece.strip() for piece in pair.partition("="))
        if not sign or not theirs:
            raise BadInput(f"--map {pair!r}: write ours=theirs, like submit=submit_time")
        if ours not in COLUMNS:
            raise BadInput(f"--map {ours!r}: one of {', '.join(COLUMNS)}")
        if ours in found:
            raise BadInput(f"--map names {ours!r} twice")
        found[ours] = theirs
    return found


def _csv(text: str, columns: Mapping[str, str]) -> Raw:
    text = text.lstrip("\ufeff")
    first = text.partition("\n")[0]
    mark = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=mark, strict=True)
    try:
        header = next(reader)

        def rows() -> Iterator[tuple[int, Sequence[Any] | csv.Error]]:
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:  # the reader goes on with the next line
                    yield reader.line_num, error
                    continue
                if row and any(cell.strip() for cell in row):
                    yield reader.line_num, row

        return _table([name.strip() for name in header], rows(), columns)
    except csv.Error as error:
        raise BadInput(f"line {reader.line_num}: {error}") from None


def _parquet(path: Path, columns: Mapping[str, str]) -> Raw:
    try:
        import duckdb
    except ImportError:
        raise BadInput("Parquet needs the extra “data”: pip install 'madang[data]'") from None
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file")
    try:
        with duckdb.connect() as db:
            found = db.execute("SELECT * FROM read_parquet(?)", [glob.escape(str(path))])
            header = [column[0] for column in found.description or ()]
            return _table(header, enumerate(iter(found.fetchone, None), 1), columns)
    except duckdb.Error as error:
        raise BadInput(f"{path}: {str(error).splitlines()[0]}") from None


def _table(header: Sequence[str], rows: Iterable[tuple[int, Any]], columns: Mapping[str, str]) -> Raw:
    raw = Raw()
    place = _places(header, columns, raw)
    names = [name for name in NAMES if name in place]
    raw.more = {name: [] for name in names}
    clock = _Clock()
    how: dict[str, Callable[[Any], int]] = {
        **dict.fromkeys(("submit", "eligible", "start", "end"), clock),
        **dict.fromkeys(("run", "limit", "wait"), whole),
        "gpus": _sized,
    }
    get = [(name, place[name], read) for name, read in how.items() if name in place]
    width = len(header)
    for line, row in rows:
        if isinstance(row, csv.Error):
            raw.refused.append(Refusal(line, "quotes", "", str(row)))
            continue
        if len(row) != width:
            raw.refused.append(Refusal(line, "fields", str(len(row)), f"the header has {width}"))
            continue
        value = dict.fromkeys(how, UNKNOWN)
        try:
            for name, at, read in get:
                value[name] = read(row[at])
        except _Wrong as wrong:
            raw.refused.append(Refusal(line, header[at], str(row[at])[:40], str(wrong)))
            continue
        start, end, submit = value["start"], value["end"], value["submit"]
        if UNKNOWN not in (start, end) and end < start:
            raw.refused.append(Refusal(line, header[place["end"]], str(row[place["end"]])[:40], "before its start"))
            continue
        if submit == UNKNOWN and not _is_number(row[place["submit"]]):
            raw.refused.append(
                Refusal(line, header[place["submit"]], str(row[place["submit"]])[:40], "a job needs one")
            )
            continue
        run = value["run"]
        if "run" not in place and UNKNOWN not in (start, end):
            run = end - start
        arrival = submit if value["eligible"] == UNKNOWN else max(submit, value["eligible"])
        raw.count("later eligible", arrival > submit)
        wait = value["wait"]
        if "wait" not in place and start != UNKNOWN:
            wait = start - arrival
        raw.submit.append(arrival)
        raw.run.append(run)
        raw.gpus.append(value["gpus"])
        raw.limit.append(value["limit"] if value["limit"] > 0 else UNKNOWN)
        raw.wait.append(wait)
        if "id" in place:
            raw.id.append(str(row[place["id"]]).strip())
        for name in names:
            raw.more[name].append("" if row[place[name]] is None else str(row[place[name]]).strip())
    clock.note(raw)
    return raw


def _is_number(value: Any) -> bool:
    return str(value).strip().lower() not in _NONE


def _sized(value: Any) -> int:
    return whole(value, MAX_SIZE)


def _places(header: Sequence[str], columns: Mapping[str, str], raw: Raw) -> dict[str, int]:
    """Where each of our columns stands in the table."""
    lower = [name.lower() for name in header]
    place: dict[str, int] = {}
    for ours, theirs in columns.items():
        if theirs not in header:
            raise BadInput(f"--map {ours}={theirs}: the table has {', '.join(header)[:300]}")
        if header.count(theirs) > 1:
            raise BadInput(f"two columns are called {theirs!r}: which is meant?")
        place[ours] = header.index(theirs)
    for ours in COLUMNS:
        if ours in place or ours in ("start", "end"):
            continue
        for name in (ours, *ALSO.get(ours, ())):
            if name in lower:
                place[ours] = lower.index(name)
                if lower.count(name) > 1:
                    raise BadInput(f"two columns are called {name!r}: which is meant?")
                if name != ours:
                    raw.notes.append(f"{ours} is read from the column {header[place[ours]]}")
                break
    lacking = [name for name in ("submit", "gpus") if name not in place]
    if "run" not in place and not {"start", "end"} <= set(place):
        lacking.append("run")
    if lacking:
        raise BadInput(
            f"which column is {' and '.join(lacking)}? The table has {', '.join(header)[:300]};"
            f" say it with --map {','.join(f'{name}=…' for name in lacking)}"
        )
    if "id" not in place:
        raw.notes.append("the table names no id: jobs are numbered by row, from 1")
    return place
