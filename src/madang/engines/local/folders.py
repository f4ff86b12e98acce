"""Reading what runs leave on the disk: the log and the files of the work folder, which only the run itself wrote."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from madang.engines.base import FileEntry, Missing, RunKey

MAX_LOG_READ = 4 << 20  # bytes
MAX_LISTED = 10_000  # files


def place(runs: Path, key: RunKey) -> Path:
    """The folder of a run."""
    return runs / str(key.job) / str(key.task) / str(key.attempt)


class RunFolders:
    """The runs below one folder; a run that isn't there has an empty log and no files."""

    def __init__(self, runs: Path) -> None:
        self.runs = Path(runs).absolute()

    def log(self, run: RunKey, offset: int, size: int) -> bytes:
        """At most `size` bytes (and 4 MiB) from `offset` on; empty where nothing is written yet."""
        try:
            with (place(self.runs, run) / "out.log").open("rb") as file:
                file.seek(max(0, offset))
                return file.read(max(0, min(size, MAX_LOG_READ)))
        except (FileNotFoundError, OverflowError):
            return b""

    def log_size(self, run: RunKey) -> int:
        """Bytes of the log so far."""
        try:
            return (place(self.runs, run) / "out.log").stat().st_size
        except FileNotFoundError:
            return 0

    def files(self, run: RunKey) -> list[FileEntry]:
        """The regular files in the run's work folder by path: what it was given and what it wrote; 10,000 at most."""
        found: list[FileEntry] = []
        root = place(self.runs, run) / "work"
        for folder, folders, names, fd in os.fwalk(root, follow_symlinks=False):
            folders.sort()
            for name in sorted(names):
                path = os.path.relpath(os.path.join(folder, name), root)
                try:
                    path.encode()
                    facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except (UnicodeEncodeError, FileNotFoundError):
                    continue
                if stat.S_ISREG(facts.st_mode):
                    found.append(FileEntry(path, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC)))
                if len(found) >= MAX_LISTED:
                    return found
        return sorted(found, key=lambda entry: entry.path)

    def open_file(self, run: RunKey, path: str) -> BinaryIO:
        """A file of the work folder for reading. No link is followed, whatever the job made of its folder."""
        parts = path.split("/")
        if "\0" in path or not path or any(part in ("", ".", "..") for part in parts):
            raise Missing("no_file", f"no such file: {path[:200]!r}")
        here = -1
        try:
            here = os.open(place(self.runs, run) / "work", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            for part in parts[:-1]:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                os.close(here)
                here = below
            fd = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise Missing("no_file", f"not a file: {path[:200]!r}")
            return os.fdopen(fd, "rb")
        except (OSError, UnicodeEncodeError) as error:
            raise Missing("no_file", f"no such file: {path[:200]!r}") from error
        finally:
            if here >= 0:
                os.close(here)
