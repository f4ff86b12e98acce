"""The folder of a Slurm job while it is filled: nobody can lead us elsewhere from inside it."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from madang.engines.base import DOOR, InputFile, JobSpec, Missing, RunKey
from madang.engines.local.folders import LAST_MOMENT, place
from madang.engines.slurm.handing import SharedRunFolders, marks, prepare, wrapper

KEY = RunKey(UUID(int=7))


def test_a_folder_is_given_to_its_owner_only_when_nothing_in_it_is_still_to_be_given(tmp_path, monkeypatch):
    """Whoever owns a folder may put a link into it: a path below it that is given away then may be any other."""
    given: list[Path] = []

    def chown(path: Path, _uid: int, _gid: int, *, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        assert not [above for above in given if above in path.parents], f"{path} is below what was given away before"
        inside = next((above for above in path.parents if above.name.endswith(".new")), None)
        assert inside is None or inside.stat().st_mode & 0o777 == 0o700, "its owner-to-be can look inside"
        given.append(path)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    files = (InputFile("data/deep/a", b"1"), InputFile("b", b"2"))
    spec = JobSpec(job=uuid4(), script="#!/bin/sh\n", gpu_type="h100", limit_s=60, files=files)
    prepare(tmp_path, spec, 1, 1, pwd.getpwuid(0))
    names = {str(path.relative_to(tmp_path / str(spec.job))) for path in given}
    assert {"given.1.new", "given.1.new/files/data/deep/a", "given.1.new/script", "given.1.send", "0/1"} <= names


SAYS = "#!/bin/sh\nenv | grep -E '^(MADANG_(GPU|CPU|MEM|LIM)|OMP)' | sort\nexit 5\n"


def test_a_warning_that_comes_before_the_script_runs_does_not_end_it_and_it_finds_what_it_was_given(tmp_path):
    """Slurm warns a job of a minute as it starts, and one whose files are copied for long: USR1 kills a bare bash."""
    spec = JobSpec(job=uuid4(), script=SAYS, gpu_type="h100", gpus_per_node=2, cpus=4, memory_mb=2048, limit_s=60)
    prepare(tmp_path, spec, 1, 1, pwd.getpwuid(os.geteuid()))
    (tmp_path / "bin").mkdir()
    copy = tmp_path / "bin" / "cp"
    copy.write_text('#!/bin/sh\nkill -USR1 $PPID\nexec /bin/cp "$@"\n')
    copy.chmod(0o755)
    said = wrapper(spec, 1, 1, tmp_path, "/usr/bin:/bin")
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash"], input=said, env=environment, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 5
    assert (tmp_path / str(spec.job) / "0" / "1" / "out.log").read_text().split() == [
        *("MADANG_CPUS=4", "MADANG_GPUS=2", "MADANG_GPU_TYPE=h100", "MADANG_LIMIT_S=60", "MADANG_MEMORY_MB=2048"),
        "OMP_NUM_THREADS=4",
    ]


@pytest.fixture
def run(tmp_path):
    """The folder of a run of one submission that started."""
    folder = place(tmp_path, KEY)
    folder.mkdir(parents=True)
    (folder / "started.1.0").write_text("7 node 0")
    return folder


def test_whatever_a_job_puts_in_the_place_of_its_marks_the_others_are_still_accounted(tmp_path, run):
    """A look at the cluster that fails on one job's marks would fail on them for ever."""
    ended = run / "ended.1.0"
    ended.mkdir()
    assert marks(tmp_path, KEY, 1).exit_code is None
    ended.rmdir()
    os.mkfifo(ended)
    held = os.open(ended, os.O_RDWR)
    assert marks(tmp_path, KEY, 1).exit_code is None
    os.close(held)
    ended.unlink()
    for said in ("9" * 90, "\u00b2", "-1", "", "x"):
        ended.write_text(said)
        assert marks(tmp_path, KEY, 1).exit_code is None
    ended.write_text("3 0")
    for start in ("\u00b2", "\u0661", "9" * 90, "", "-1"):
        (run / f"started.1.{start}").touch()
    assert marks(tmp_path, KEY, 1).exit_code == 3


def test_a_mark_of_a_day_that_no_calendar_has_is_one_of_the_last_that_has():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as runs:  # a file system that keeps such a day
        mark = place(Path(runs), KEY) / "started.1.0"
        mark.parent.mkdir(parents=True)
        mark.touch()
        os.utime(mark, (0, 2**62))
        assert mark.stat().st_mtime > LAST_MOMENT
        assert marks(Path(runs), KEY, 1).started == LAST_MOMENT


def test_a_folder_where_a_file_is_read_again_and_again_leaves_nothing_open(tmp_path, run):
    """The proxy and the pages of all tenants have these descriptors together."""
    folders = SharedRunFolders(tmp_path)
    (run / DOOR).mkdir()
    (run / "out.log").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert folders.log(KEY, 0, 100) == b""
        with pytest.raises(Missing):
            folders.door(KEY)
    assert len(os.listdir("/proc/self/fd")) == before
