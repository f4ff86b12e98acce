"""Reading what runs leave on the disk: the log and the files of the work folder, which only the run itself wrote."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from madang.engines.base import FileEntry, Listing, Missing, RunKey

MAX_LOG_READ = 4 << 20  # bytes
MAX_LISTED = 10_000  # files
MAX_SEEN = 100_000  # files, folders and the rest that one listing looks at
MAX_DEPTH = 100  # levels of folders that a listing enters
MAX_PATH = 4096  # bytes of a path that is listed
LAST_MOMENT = 253_000_000_000  # a job may give its files any time, also one that no calendar has
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
logger = logging.getLogger(__name__)


def has_room(runs: Path, least: int) -> bool:
    """Whether the disk that holds the runs has at least so many bytes free. A folder that isn't there yet has room."""
    return least <= 0 or not runs.exists() or shutil.disk_usage(runs).free >= least


def place(runs: Path, key: RunKey) -> Path:
    """The folder of a run."""
    return runs / str(key.job) / str(key.task) / str(key.attempt)


def walk(
    top: Path, *, deepest: int | None = None, most: int | None = None, at_limit: Callable[[], None] = lambda: None
) -> Iterator[tuple[list[str], str, int]]:
    """Everything below `top` that isn't a folder: the folders on the way to it, its name, and an open descriptor of
    the last of these folders. The list and the descriptor are good until the next one is asked for.

    A job may nest folders deeper than any recursion, path or number of descriptors reaches: this holds two
    descriptors at most, follows no link, and finds its way back by `..`, which must be the folder it came from. Where
    it isn't, as a running job moved it meanwhile, the walk ends. What can't be entered is left out. Where folders lie
    below the `deepest`, or the `most` names have been seen, `at_limit` is called: there may be more than is given.
    """
    try:
        here = os.open(top, FOLDER)
    except OSError:
        return
    left, way = most, list[str]()
    above: list[tuple[tuple[int, int], list[str]]] = []
    try:
        names, folders = _look(here, left)
        while True:
            if left is not None:
                left -= len(names) + len(folders)
            if left == 0 or (folders and deepest is not None and len(way) >= deepest):
                at_limit()
            for name in names:
                yield way, name, here
            folders = sorted(folders, reverse=True) if deepest is None or len(way) < deepest else []
            while (below := _next_below(here, folders)) is None:
                if not above:
                    return
                up = os.open("..", FOLDER, dir_fd=here)
                os.close(here)
                here = up
                known, folders = above.pop()
                way.pop()
                if _identity(os.fstat(here)) != known:
                    return
            name, fd = below
            above.append((_identity(os.fstat(here)), folders))
            way.append(name)
            os.close(here)
            here = fd
            names, folders = _look(here, left)
    except OSError:
        logger.warning("a walk ended early: %s", top)
    finally:
        os.close(here)


def _identity(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino


def _look(fd: int, most: int | None = None) -> tuple[list[str], list[str]]:
    """The names in an open folder: what isn't a folder, and the folders. No more than `most` of them."""
    names: list[str] = []
    folders: list[str] = []
    with os.scandir(fd) as entries:
        for entry in islice(entries, most):
            try:
                (folders if entry.is_dir(follow_symlinks=False) else names).append(entry.name)
            except OSError:
                continue
    return names, folders


def _next_below(here: int, folders: list[str]) -> tuple[str, int] | None:
    """The next of the folders that can be entered and left again, opened."""
    while folders:
        name = folders.pop()
        try:
            fd = os.open(name, FOLDER, dir_fd=here)
        except OSError:
            continue
        try:
            if _identity(os.stat("..", dir_fd=fd)) == _identity(os.fstat(here)):
                return name, fd
        except OSError:
            pass
        os.close(fd)
    return None


def size(top: Path) -> int:
    """Bytes on the disk of every file below `top`, however deep; no link is followed, what can't be read is nothing."""
    total = 0
    for _way, name, fd in walk(top):
        try:
            facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(facts.st_mode):
            total += facts.st_blocks * 512
    return total


def remove(top: Path) -> None:
    """Remove a folder with all below it, however deep and also where a job locked it. Raises OSError where some stays.

    Every folder below is first moved to the top, so that nothing deeper than one level is ever handled. One that is
    cut short has made the tree flatter, and the next one goes on from there.
    """
    try:
        parent = os.open(top.parent, FOLDER)
    except FileNotFoundError:
        return
    try:
        here = _unlocked(parent, top.name)
        try:
            _empty(here)
        finally:
            os.close(here)
        os.rmdir(top.name, dir_fd=parent)
    except FileNotFoundError:
        return  # another one was faster
    finally:
        os.close(parent)


def _empty(top: int) -> None:
    mark, numbers = uuid4().hex, count()
    todo = _clear(top)
    while todo:
        name = todo.pop()
        try:
            here = _unlocked(top, name)
            try:
                for below in _clear(here):
                    moved = f"{mark}-{next(numbers)}"
                    try:
                        os.close(_unlocked(here, below))  # only a folder that may be written can be moved
                        os.rename(below, moved, src_dir_fd=here, dst_dir_fd=top)
                        todo.append(moved)
                    except OSError as error:
                        logger.warning("a folder could not be moved: %s", error)
            finally:
                os.close(here)
            os.rmdir(name, dir_fd=top)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("a folder could not be removed: %s", error)


def _clear(fd: int) -> list[str]:
    """Remove all from an open folder that isn't a folder. The folders in it."""
    names, folders = _look(fd)
    for name in names:
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("a file could not be removed: %s", error)
    return folders


def _unlocked(parent: int, name: str) -> int:
    """A folder opened, after its owner may list, enter and change it: a job may have left it without."""
    path = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(path).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{path}", 0o700)
    finally:
        os.close(path)
    return os.open(name, FOLDER, dir_fd=parent)


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

    def files(self, run: RunKey) -> Listing[FileEntry]:
        """The regular files in the run's work folder by path: what it was given and what it wrote; 10,000 at most, and
        none deeper than 100 folders. Names are as the job made them: signs that aren't text are surrogates."""
        found: Listing[FileEntry] = Listing()

        def cut() -> None:
            found.truncated = True

        for way, name, fd in walk(place(self.runs, run) / "work", deepest=MAX_DEPTH, most=MAX_SEEN, at_limit=cut):
            path = "/".join([*way, name])
            try:
                facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                continue
            if not stat.S_ISREG(facts.st_mode):
                continue
            if len(found) == MAX_LISTED:
                cut()
                break
            if len(os.fsencode(path)) > MAX_PATH:
                cut()
                continue
            changed = max(0, min(int(facts.st_mtime), LAST_MOMENT))
            found.append(FileEntry(path, facts.st_size, datetime.fromtimestamp(changed, UTC)))
        found.sort(key=lambda entry: entry.path)
        return found

    def open_file(self, run: RunKey, path: str) -> BinaryIO:
        """A file of the work folder for reading. No link is followed, whatever the job made of its folder."""
        fd = self._opened(run, path, os.O_RDONLY | os.O_NONBLOCK, stat.S_ISREG)
        return os.fdopen(fd, "rb")

    def _opened(self, run: RunKey, path: str, how: int, wanted: Callable[[int], bool]) -> int:
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
            fd = os.open(parts[-1], how | os.O_NOFOLLOW, dir_fd=here)
            if not wanted(os.fstat(fd).st_mode):
                os.close(fd)
                raise Missing("no_file", f"not a file: {path[:200]!r}")
            return fd
        except (OSError, UnicodeEncodeError) as error:
            raise Missing("no_file", f"no such file: {path[:200]!r}") from error
        finally:
            if here >= 0:
                os.close(here)
