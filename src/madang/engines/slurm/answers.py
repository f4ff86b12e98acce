"""What Slurm's answers mean: times, tasks, GPUs, outcomes. Nothing here asks anybody."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from madang.engines.base import Outcome

LIVE_FIELDS = ("%A", "%F", "%K", "%T", "%r", "%V", "%S", "%e", "%l", "%D", "%b", "%N", "%u", "%a", "%q", "%P", "%k")
ENDED_FIELDS = (
    *("DBIndex", "JobID", "JobIDRaw", "Submit", "Start", "End", "ElapsedRaw", "State", "ExitCode", "AllocTRES"),
    *("NodeList", "TimelimitRaw", "Account", "QOS", "User", "Partition", "Comment"),
)
OUTCOMES = {
    "COMPLETED": Outcome.COMPLETED,
    "FAILED": Outcome.FAILED,
    "OUT_OF_MEMORY": Outcome.OUT_OF_MEMORY,
    "TIMEOUT": Outcome.TIMED_OUT,
    "DEADLINE": Outcome.TIMED_OUT,
    "CANCELLED": Outcome.CANCELLED,
    "REVOKED": Outcome.CANCELLED,
    "PREEMPTED": Outcome.PREEMPTED,
    "REQUEUED": Outcome.PREEMPTED,
    "NODE_FAIL": Outcome.NODE_FAILED,
    "BOOT_FAIL": Outcome.NODE_FAILED,
}
AGAIN = ("PREEMPTED", "REQUEUED", "NODE_FAIL", "BOOT_FAIL")  # Slurm starts these again by itself, if it may
LAUNCH_S = 5
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
RUNNING = ("RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")


@dataclass(frozen=True)
class Owner:
    """Who a job belongs to and who pays, as Slurm says, and what its comment claims."""

    slurm_id: int  # of an array: the array's
    submit: int
    user: str
    account: str
    budget: str
    partition: str
    comment: str


@dataclass(frozen=True)
class Live:
    """A row of squeue. `tasks` has one number, or those of an array that still wait; (0,) for a job without tasks."""

    owner: Owner
    own_id: int
    tasks: tuple[int, ...]
    state: str
    reason: str
    start: int | None
    end: int | None
    limit_s: int
    gpus: int
    gpu_type: str
    nodes: str


@dataclass(frozen=True)
class Ended:
    """A row of sacct that has an end. `limit_s` 0 = none; `by_controller`: nobody asked for it to be ended."""

    owner: Owner
    own_id: int
    index: str
    tasks: tuple[int, ...]
    state: str
    start: int | None
    end: int
    elapsed_s: int
    exit_code: int
    limit_s: int
    gpus: int
    gpu_type: str
    nodes: str
    by_controller: bool

    @property
    def given_up(self) -> bool:
        """The controller itself ended it as it was about to start: its node still ran another job of the same number,
        which a killed controller had forgotten. If it left no mark of having started, it hasn't."""
        return self.state == "CANCELLED" and self.by_controller and self.started and self.elapsed_s <= LAUNCH_S

    @property
    def started(self) -> bool:
        return self.start is not None and bool(self.nodes)

    @property
    def counted_s(self) -> int:
        """GPU-seconds as Slurm counts them against the budget."""
        return self.gpus * self.elapsed_s if self.started else 0

    @property
    def billed_s(self) -> int:
        """Seconds of each GPU that somebody pays: what it took beyond its limit is Slurm's own doing."""
        return 0 if not self.started else min(self.elapsed_s, self.limit_s) if self.limit_s else self.elapsed_s


def live(row: list[str]) -> Live:
    (
        own,
        array,
        task,
        state,
        reason,
        submit,
        start,
        end,
        limit,
        nodes,
        gres,
        names,
        user,
        account,
        qos,
        partition,
        text,
    ) = row
    count, gpu_type = gpus_per_node(gres)
    return Live(
        owner=Owner(int(array), int(submit), user, account, qos, partition, text),
        own_id=int(own),
        tasks=tuple(numbers(task)) or (0,),
        state=state,
        reason="" if reason == "None" else reason,
        start=instant(start),
        end=instant(end),
        limit_s=duration(limit),
        gpus=count * (int(nodes) if nodes.isdigit() else 1),
        gpu_type=gpu_type,
        nodes=names,
    )


def ended(row: list[str], controllers: Container[str] = ("", "0")) -> Ended | None:
    """None for what has not ended, and for orphans of a killed controller: they have no account. `controllers` are the
    ids of users that Slurm names where the controller itself ended a job."""
    index, name, own, submit, start, end, elapsed, state, code, tres, nodes, limit, account, qos, user, part, text = row
    word, _by, who = state.partition(" by ")  # "CANCELLED by 1001"
    word = word.split(" ", 1)[0]
    until = instant(end)
    if word not in OUTCOMES or until is None or not account or not submit.isdigit():
        return None
    array, _dash, task = name.partition("_")
    count, gpu_type = gpus_in_all(tres)
    status, _colon, number = code.partition(":")
    return Ended(
        owner=Owner(int(array), int(submit), user, account, qos, part, text),
        own_id=int(own),
        index=index,
        tasks=tuple(numbers(task.strip("[]"))) or (0,),
        state=word,
        start=instant(start),
        end=until,
        elapsed_s=int(elapsed or 0),
        exit_code=128 + int(number) if number not in ("", "0") else int(status or 0),
        limit_s=int(limit) * 60 if limit.isdigit() else 0,
        gpus=count,
        gpu_type=gpu_type,
        nodes="" if nodes == "None assigned" else nodes,
        by_controller=who in controllers,
    )


def instant(text: str) -> int | None:
    """Seconds since 1970; None for "N/A", "None", "Unknown"."""
    return int(text) if text.isdigit() and int(text) > 0 else None


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def numbers(text: str) -> Iterator[int]:
    """The tasks of "0-3,7%2"; none of "N/A"."""
    for part in text.partition("%")[0].split(","):
        low, _dash, high = part.partition("-")
        if low.isdigit():
            last, _colon, step = high.partition(":")
            yield from range(int(low), int(last or low) + 1, int(step or 1))


def ranges(tasks: list[int]) -> str:
    """Sorted tasks as Slurm reads them: "0-3,7"."""
    parts: list[str] = []
    start = 0
    for at in range(1, len(tasks) + 1):
        if at == len(tasks) or tasks[at] != tasks[at - 1] + 1:
            first, last = tasks[start], tasks[at - 1]
            parts.append(str(first) if first == last else f"{first}-{last}")
            start = at
    return ",".join(parts)


def duration(text: str) -> int:
    """Seconds of "1-02:03:04", "02:03:04" or "3:04"; 0 for UNLIMITED and the like."""
    days, _dash, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in parts) or (days and not days.isdigit()):
        return 0
    total = 0
    for part in parts:
        total = total * 60 + int(part)
    return total + int(days or 0) * 86_400


def gpus_per_node(gres: str) -> tuple[int, str]:
    """GPUs and their type of "gres:gpu:h100:2"; 0 where there is none."""
    found = re.search(r"gpu(?::([A-Za-z0-9._-]*[A-Za-z._-][A-Za-z0-9._-]*))?(?::(\d+))?", gres)
    return (int(found[2] or 1), found[1] or "") if found else (0, "")


def gpus_in_all(tres: str) -> tuple[int, str]:
    """GPUs and their type of "cpu=1,gres/gpu:h100=2,gres/gpu=2"."""
    count = re.search(r"(?:^|,)gres/gpu=(\d+)", tres)
    kind = re.search(r"(?:^|,)gres/gpu:([^=,]+)=", tres)
    return int(count[1]) if count else 0, kind[1] if kind else ""
