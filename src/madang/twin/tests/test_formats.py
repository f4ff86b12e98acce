"""What is read, what is changed and counted, and what is refused with the line, the field, the value and what to do."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from madang.twin import BadInput, read
from madang.twin.calibrate import gaps
from madang.twin.formats import SACCT, parse_map

SWF = "; MaxProcs: 8\n; UnixStartTime: 0\n"
LINE = "{id} {submit} {wait} {run} {used} -1 -1 {asked} {limit} -1 1 {user} 1 1 1 1 -1 -1\n"


def swf(**fields: object) -> str:
    given = {"id": 1, "submit": 0, "wait": -1, "run": 60, "used": 1, "asked": 1, "limit": 100, "user": 7}
    return LINE.format(**{**given, **fields})


@pytest.fixture
def write(tmp_path):
    def to(name: str, text: str | bytes) -> Path:
        path = tmp_path / name
        data = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return to


def test_the_clock_of_swf_begins_where_its_header_says(write):
    start = 1_767_657_600  # 2026-01-06
    trace = read(write("t.swf", f"; UnixStartTime: {start}\n" + swf(submit=50, wait=9) + swf(id=2, submit=99, wait=9)))
    assert (trace.offset, trace.clock, trace.begins) == (50, start, start + 50)
    (month,), _all = gaps(trace, [0, 0], UTC)
    assert (month.month, month.jobs) == ("2026-01", 2)
    assert read(write("t.swf", swf())).clock == 0
    with pytest.raises(BadInput, match="UnixStartTime is beyond all years"):
        read(write("t.swf", f"; UnixStartTime: {start * 1_000}\n" + swf()))


def test_swf_is_brought_into_its_canonical_form_and_every_change_is_counted(write):
    text = SWF + "".join(
        (
            swf(id=1, submit=100, used=4, asked=-1),
            swf(id=2, submit=50, run=0),
            swf(id=3, submit=100, run=300),
            swf(id=4, submit=120, limit=-1),
            swf(id=5, used=-1, asked=-1),
            swf(id=6, run=-1),
            swf(id=7, submit=-1),
            swf(id=8, asked=9),
            "\n",
        )
    )
    trace = read(write("t.swf.gz", text), gpus=8)
    assert (list(trace.id), trace.offset, trace.machine_gpus) == (["2", "1", "3", "4"], 50, 8)
    assert list(trace.submit) == [0, 50, 50, 70]
    assert list(trace.run) == [1, 60, 100, 60]
    assert list(trace.limit) == [100, 100, 100, 60]
    assert list(trace.gpus) == [1, 4, 1, 1]
    assert list(trace.row) == [1, 0, 2, 3]
    assert trace.more == {"user": ["7"] * 4}
    assert trace.changes == {
        "no size": 1,
        "no run": 1,
        "negative submit": 1,
        "too large": 1,
        "reordered": 1,
        "run raised": 1,
        "run cut": 1,
        "limit unknown": 1,
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 2 3\n", "line 3, fields '3': SWF has 18 in a line, with blanks between"),
        (swf(submit="12.5"), "line 3, field 2 (submit time) '12.5': a part of a second or GPU: round it first"),
        (swf(submit="12,5"), "line 3, field 2 (submit time) '12,5': a comma for a point: write whole seconds"),
        (swf(run="long"), "line 3, field 4 (run time) 'long': not a number"),
        (swf(limit="1_000"), "line 3, field 9 (requested time) '1_000': not a number"),
        (swf(submit=1 << 63), "line 3, field 2 (submit time) '9223372036854775808': above 1,099,511,627,776:"
         " in seconds, not in milliseconds?"),
        (swf(run="inf"), "line 3, field 4 (run time) 'inf': above 1,099,511,627,776: in seconds, not in milliseconds?"),
        (swf(asked=1 << 40), "line 3, field 8 (requested processors) '1099511627776': above 2,147,483,648"),
    ],
)  # fmt: skip
def test_a_line_of_swf_that_can_not_be_read_is_refused_and_the_rest_goes_on(write, line, said):
    trace = read(write("t.swf", SWF + line + swf(id=2, submit="5.0")))
    assert (list(trace.id), trace.offset) == (["2"], 5)
    assert [str(refusal) for refusal in trace.refused] == [said]


def test_a_table_is_read_by_the_usual_names_or_by_a_mapping(write):
    usual = read(write("t.csv", "vc,num_gpus,timestamp,duration\r\n6214e9,2,2017-10-09 07:01:55,66.0\r\n\r\n"))
    assert (list(usual.id), usual.offset, list(usual.run), list(usual.gpus)) == (["1"], 1_507_532_515, [66], [2])
    assert usual.notes == (
        "submit is read from the column timestamp",
        "run is read from the column duration",
        "gpus is read from the column num_gpus",
        "the table names no id: jobs are numbered by row, from 1",
        "dates without a zone are read as UTC; an hour that a clock change repeats can't be told apart",
    )
    mapped = read(
        write("m.csv", "was;n;begin;until;who\n3;1;10;40;6214e9\n"),
        columns=parse_map("submit=was,gpus=n,start=begin,end=until,user=who"),
    )
    assert (list(mapped.run), list(mapped.wait), mapped.more) == ([30], [7], {"user": ["6214e9"]})


def test_the_order_of_rows_decides_among_equal_submits_and_equal_ids_are_counted(write):
    trace = read(write("t.csv", "id,submit,run,gpus\nb,5,1,1\na,5,1,1\nb,4,1,1\n"))
    assert (list(trace.id), trace.changes["same id"], trace.changes["reordered"]) == (["b", "b", "a"], 1, 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,nan,5,1", "line 2, submit 'nan': a job needs one"),
        ("1,,5,1", "line 2, submit '': a job needs one"),
        ("1,0,5", "line 2, fields '3': the header has 4"),
        ("1,0,5,1.5", "line 2, gpus '1.5': a part of a second or GPU: round it first"),
        ('1,0,"5,5",1', "line 2, run '5,5': a comma for a point: write whole seconds"),
        ("1,2026-02-30 00:00:00,5,1", "line 2, submit '2026-02-30 00:00:00': no date and time like"
         " 2026-11-27T09:30:00+09:00"),
    ],
)  # fmt: skip
def test_a_row_that_can_not_be_read_is_refused(write, row, said):
    trace = read(write("t.csv", f"id,submit,run,gpus\n{row}\n2,0,5,1\n"))
    assert [str(refusal) for refusal in trace.refused] == [said]
    assert list(trace.id) == ["2"]


def test_dates_with_and_without_a_zone_do_not_mix_and_an_end_is_not_before_its_start(write):
    text = "id,submit,start,end,gpus\n1,2026-01-01T00:00:00+09:00,,,1\n2,2026-01-01 00:00:00,,,1\n"
    text += "3,2026-01-01T09:00:00+09:00,2026-01-01T09:00:09+09:00,2026-01-01T09:00:08+09:00,1\n"
    text += "4,2026-01-01T00:00:00Z,2026-01-01T00:00:10Z,2026-01-01T00:01:00Z,1\n"
    trace = read(write("t.csv", text), columns={"start": "start", "end": "end"})
    assert [str(refusal) for refusal in trace.refused] == [
        "line 3, submit '2026-01-01 00:00:00': dates without a zone after dates with a zone: write all in one way",
        "line 4, end '2026-01-01T09:00:08+09:00': before its start",
    ]
    assert (list(trace.id), list(trace.run), list(trace.wait)) == (["4"], [50], [10])
    assert trace.changes == {"no run": 1, "limit unknown": 1}


def test_an_export_of_sacct_counts_waits_from_eligible_and_a_gpu_once(write):
    rows = [
        "7|100|130|150|250|10|gres/gpu=8,gres/gpu:h100=8|billing=8,gres/gpu=8,gres/gpu:h100=8|h100|g7|kim|m1|COMPLETED",
        "8|101|101|None|Unknown|UNLIMITED|gres/gpu:h100=2||h100|g7|kim|m1|CANCELLED by 1001",
        "9|102|Unknown|160|190|Partition_Limit|gres/gpu:a100=2,gres/gpu:h100=1|gres/gpu:a100=2,gres/gpu:h100=1|h100|g8|lee|m2|FAILED",
        "9|102|102|200|190|5|gres/gpu=1|gres/gpu=1|h100|g8|lee|m2|FAILED",
        "9.batch|102|102|200|210|5|gres/gpu=1|gres/gpu=1|h100|g8|lee|m2|FAILED",
        "10|103|103|200|260|5|cpu=4|cpu=4|cpu|g8|lee|m2|COMPLETED",
    ]
    trace = read(write("export.txt", SACCT.replace(",", "|") + "\n" + "\n".join(rows) + "\n"))
    assert (list(trace.id), trace.offset) == (["9", "7"], 102)
    assert (list(trace.submit), list(trace.run), list(trace.gpus)) == ([0, 28], [30, 100], [3, 8])
    assert (list(trace.limit), list(trace.wait)) == ([30, 600], [58, 20])
    assert trace.more["account"] == ["g8", "g7"]
    assert trace.changes == {
        "later eligible": 1,
        "step": 1,
        "no size": 1,
        "no run": 1,
        "reordered": 1,
        "limit unknown": 1,
    }
    assert [str(refusal) for refusal in trace.refused] == ["line 5, End '190': before its start 200"]


def test_parquet_is_read_like_a_table(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "t.parquet"
    duckdb.sql("SELECT 'a' AS id, TIMESTAMPTZ '2026-01-01 00:00:00Z' AS submit, 5.0 AS run, 2 AS gpus").write_parquet(
        str(path)
    )
    trace = read(path)
    assert (list(trace.id), trace.offset, list(trace.run), list(trace.gpus)) == (["a"], 1_767_225_600, [5], [2])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.swf", b"", "t.swf: the file is empty"),
        ("t.swf", b"; MaxProcs: 4\n", "the trace holds no job"),
        ("t.csv", b"id,submit,run,gpus\n", "the trace holds no job"),
        ("t.csv", b"id,submit,run,gpus\nx,0,nope,1\n", "no job can be read; line 2, run 'nope': not a number"),
        ("t.csv", b"id,submit,run,gpus\nx,0,1,0\n", "no job is left to simulate: 1 dropped, it says no number of GPUs"),
        ("t.csv", b"id,when,run\nx,0,1\n", "which column is submit and gpus? The table has id, when, run; say it with"
         " --map submit=…,gpus=…"),
        ("t.csv", b"id,submit,run,gpus\nM\xfcller,0,1,1\n", "t.csv, line 2: not utf-8: say which it is, e.g. --encoding"
         " latin-1 or cp949"),
        ("t.csv", b"\x7fELF\0", "t.csv: this is no text; SWF, a sacct export, CSV or Parquet (.parquet) can be read"),
        ("t.csv", b'id,submit,run,gpus\n"x,0,1,1\n', "no job can be read; line 2, quotes '': unexpected end of data"),
        ("t.txt", b"JobID|Submit\n1|2\n", "the sacct export lacks Start, End, TimelimitRaw, AllocTRES:"
         f" SLURM_TIME_FORMAT=%s sacct -X -P --duplicates -o {SACCT},Restarts"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_read_is_refused_whole(write, name, content, said):
    path = write(name, content)
    with pytest.raises(BadInput) as told:
        read(path)
    assert str(told.value).removeprefix(f"{path.parent}/") == said


def test_a_gzip_file_that_is_cut_off_or_far_larger_than_it_looks_is_refused(write, tmp_path, monkeypatch):
    whole = gzip.compress((SWF + swf() * 5000).encode())
    (tmp_path / "cut.swf.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="the gzip file is broken or cut off"):
        read(tmp_path / "cut.swf.gz")
    monkeypatch.setattr("madang.twin.formats.MAX_BYTES", 1 << 20)
    with pytest.raises(BadInput, match="more than 1 MiB of text: cut it into months"):
        read(write("bomb.swf.gz", b"\n" * (2 << 20)))
    with pytest.raises(BadInput, match="there is no such file"):
        read(tmp_path / "none.swf")


def test_swf_is_known_by_how_it_begins(write):
    assert read(write("a.txt", SWF + swf())).machine_gpus == 8
    assert list(read(write("b.log.gz", swf(id=9))).id) == ["9"]
    wide = ", ".join(["id", "submit", "run", "gpus", *(f"c{number}" for number in range(14))])
    assert list(read(write("wide.csv", f"{wide}\na, 0, 5, 1{', x' * 14}\n")).id) == ["a"]


def test_one_job_and_all_at_one_instant_are_traces_too(write):
    assert len(read(write("one.swf", SWF + swf()))) == 1
    assert list(read(write("all.swf", SWF + swf(submit=9) * 3)).submit) == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("submit", "--map 'submit': write ours=theirs, like submit=submit_time"),
        ("when=x", "--map 'when': one of id, submit, run, gpus, limit, eligible, start, end, wait, user, account,"
         " program, partition, qos, gpu_type"),
        ("run=a,run=b", "--map names 'run' twice"),
    ],
)  # fmt: skip
def test_a_mapping_that_can_not_be_is_said(text, said):
    with pytest.raises(BadInput) as told:
        parse_map(text)
    assert str(told.value) == said


def test_a_mapping_to_a_column_that_is_not_there_names_those_that_are(write):
    with pytest.raises(BadInput, match="--map run=length: the table has id, submit, run, gpus"):
        read(write("t.csv", "id,submit,run,gpus\n1,0,1,1\n"), columns={"run": "length"})


def test_a_stray_quote_refuses_its_line_and_the_rest_goes_on(write):
    trace = read(write("t.csv", 'id,submit,run,gpus,user\na,0,1,1,x\nb,1,1,1,"bob" x\nc,2,1,1,y\n'))
    assert list(trace.id) == ["a", "c"]
    assert [str(refusal) for refusal in trace.refused] == ["line 3, quotes '': ',' expected after '\"'"]


@pytest.mark.parametrize(
    ("name", "data", "encoding"),
    [
        ("t.csv", "submit,run,gpus\n0,5,2\n".encode("utf-16"), "utf-16"),
        ("t.csv", "\ufeffsubmit,run,gpus\r\n0,5,2\r\n".encode(), "utf-8"),
        ("t.csv", b"submit,run,gpus\r0,5,2\r", "utf-8"),
        ("t.swf", ("\ufeff" + SWF + swf(run=5, asked=2)).encode(), "utf-8"),
        ("t.txt", ("\ufeff" + SWF + swf(run=5, asked=2)).encode(), "utf-8"),
    ],
)
def test_marks_of_an_encoding_and_ends_of_lines_are_no_matter(write, name, data, encoding):
    trace = read(write(name, data), encoding=encoding)
    assert (list(trace.run), list(trace.gpus)) == ([5], [2])
    assert trace.machine_gpus == (8 if "csv" not in name else None)


def test_who_was_submitted_before_the_clock_began_is_not_taken_for_who_became_eligible_later(write):
    assert read(write("t.csv", "submit,run,gpus\n-100,2,3\n5,2,3\n")).changes == {
        "negative submit": 1,
        "limit unknown": 1,
    }


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.swf", "; MaxProcs: " + "9" * 5000 + "\n" + swf(), "MaxProcs is above 2,147,483,648"),
        ("t.swf", SWF + swf(wait="9" * 20), "field 3 (wait time)"),
        ("t.csv", "submit,run,gpus,gpus\n0,1,1,2\n", "two columns are called 'gpus'"),
        ("t.txt", f"{SACCT}\n1,".replace(",", "|") + "0|0|0|1|1||gres/gpu=" + "9" * 5000 + "|||||\n",
         "above 2,147,483,648 GPUs"),
    ],
)  # fmt: skip
def test_figures_that_no_machine_has_are_said(write, name, text, said):
    with pytest.raises(BadInput) as told:
        read(write(name, text))
    assert said in str(told.value)


def test_the_name_of_a_parquet_file_is_no_pattern(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    for name in ("g?", "ga"):
        duckdb.sql("SELECT 0 AS submit, 10 AS run, 1 AS gpus").write_parquet(str(tmp_path / f"{name}.parquet"))
    assert len(read(tmp_path / "g?.parquet")) == 1


def test_columns_and_encodings_that_are_not_known_are_said(write):
    path = write("t.swf", SWF + swf())
    for options in ({"columns": {"sbumit": "x"}}, {"encoding": "nonsense"}):
        with pytest.raises(BadInput):
            read(path, **options)


def test_one_bad_line_changes_nothing_of_the_others(write):
    text = SWF + "".join(
        swf(
            id=n,
            submit=n * 7 % 50,
            wait=n % 3 - 1,
            run=n % 9 - 1,
            used=n % 5,
            asked=n % 4 - 1,
            limit=n % 6 - 1,
            user=n % 2,
        )
        for n in range(200)
    )
    good, also = read(write("a.swf", text), gpus=8), read(write("b.swf", text + "1 2 3\n"), gpus=8)
    assert len(also.refused) == 1
    assert replace(also, refused=()) == good
