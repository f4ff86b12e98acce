"""Accounts, budgets and members of a cluster: wanted against observed, in a number of commands that doesn't grow.

A budget is a QOS that doesn't decay, an account stands for a grant, an association pins its members to partitions and
budgets. Nothing is ever removed: in Slurm before 23.11 that can keep the controller from starting for minutes. Only
what says `madang` in its description is touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from madang.engines.base import Diff, Limits, Rejected
from madang.engines.slurm.commands import Commands

OURS = "madang"
FLAGS = ("NoDecay", "DenyOnLimit")
GROUP = 1000  # names in one command
FEW = 20  # so many budgets may be closed at once without a person
SHARE_CLOSED = 0.05  # and so large a part of those that are open
NOT_OURS = "made by somebody else on this cluster: "
Member = tuple[str, str, str]  # account, user, partition


@dataclass
class Observed:
    """What the cluster has. Limits in GPU-minutes, None = none."""

    limits: dict[str, int | None] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)  # budgets that somebody took a flag of FLAGS from
    foreign: set[str] = field(default_factory=set)  # QOS and accounts that somebody else made
    accounts: set[str] = field(default_factory=set)
    shares: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)  # accounts
    members: dict[Member, tuple[frozenset[str], bool]] = field(default_factory=dict)  # budgets, barred


@dataclass
class Wanted:
    limits: dict[str, int | None] = field(default_factory=dict)
    shares: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    members: dict[Member, frozenset[str]] = field(default_factory=dict)


def reconcile(
    commands: Commands, cluster: str, wanted: Sequence[Limits], counted: Mapping[str, int], *, apply: bool
) -> Diff:
    """`counted`: GPU-seconds that Slurm has counted against each budget so far. What is of a name that somebody else
    made is left as it is, and said; the rest is done. Raises Rejected for names that can't be one."""
    target = _target(wanted, counted)
    found = observe(commands, cluster)
    theirs = found.foreign & (target.limits.keys() | target.shares.keys())
    held = f"{NOT_OURS}{', '.join(sorted(theirs)[:5])}" if theirs else ""
    if theirs:
        target = _target([limit for limit in wanted if theirs.isdisjoint((limit.account, limit.budget))], counted)
    before = diff(target, found)
    if not apply or not (before.missing or before.changed):
        return Diff(before.missing, before.changed, before.extra, applied=apply and not held, held=held)
    closing = [b for b, limit in target.limits.items() if limit == 0 and found.limits.get(b, 0) != 0]
    if len(closing) > max(FEW, SHARE_CLOSED * sum(limit != 0 for limit in found.limits.values())):
        return Diff(before.missing, before.changed, before.extra, held=f"would close {len(closing)} budgets at once")
    for command in changes(target, found, cluster):
        commands.write(*command)
    after = diff(target, observe(commands, cluster))
    applied = not (after.missing or after.changed or held)
    return Diff(before.missing, before.changed, before.extra, applied=applied, held=held)


def _target(wanted: Sequence[Limits], counted: Mapping[str, int]) -> Wanted:
    target = Wanted()
    open_accounts: set[str] = set()
    budgets: dict[Member, set[str]] = defaultdict(set)
    for limit in wanted:
        for name in (limit.account, limit.budget):
            if name != name.lower():
                raise Rejected("bad_word", f"Slurm knows names in small letters only: {name}")
        seconds = limit.gpu_seconds
        minutes = None if seconds is None else max(0, -(-(seconds + counted.get(limit.budget, 0)) // 60))
        target.limits[limit.budget] = minutes if limit.open else 0
        target.shares[limit.account] = limit.share
        if limit.open:
            open_accounts.add(limit.account)
        for user in limit.members:
            for partition in limit.partitions or ("",):
                budgets[limit.account, user, partition].add(limit.budget)
    target.closed = target.shares.keys() - open_accounts
    target.members = {member: frozenset(names) for member, names in budgets.items()}
    return target


def observe(commands: Commands, cluster: str) -> Observed:
    """Three questions, whatever the cluster has."""
    found = Observed()
    fields = "format=Name,Flags,GrpTRESMins,Description"
    for line in commands.read("sacctmgr", "-nP", "show", "qos", fields).splitlines():
        name, flags, minutes, description = line.split("|", 3)
        if description == OURS:
            found.limits[name] = _gpu_minutes(minutes)
            if not set(FLAGS) <= set(flags.split(",")):
                found.loose.add(name)
        else:
            found.foreign.add(name)
    said = commands.read("sacctmgr", "-nP", "show", "account", "format=Account,Description")
    for line in said.splitlines():
        name, description = line.split("|", 1)
        (found.accounts if description == OURS else found.foreign).add(name)
    fields = "format=Account,User,Partition,Share,QOS,GrpSubmitJobs,MaxSubmitJobs"
    said = commands.read("sacctmgr", "-nP", "show", "assoc", f"cluster={cluster}", fields)
    for line in said.splitlines():
        account, user, partition, share, budgets, group, most = line.split("|")
        if account not in found.accounts:
            continue
        if user:
            found.members[account, user, partition] = (frozenset(filter(None, budgets.split(","))), most == "0")
        else:
            found.shares[account] = int(share) if share.isdigit() else 1
            if group == "0":
                found.closed.add(account)
    return found


def _gpu_minutes(text: str) -> int | None:
    for part in text.split(","):
        name, _equals, value = part.partition("=")
        if name == "gres/gpu" and value.isdigit():
            return int(value)
    return None


def diff(target: Wanted, found: Observed) -> Diff:
    """By budget, with `account:` and `member:` before what isn't one."""
    missing = {b for b in target.limits if b not in found.limits}
    missing |= {f"account:{a}" for a in target.shares if a not in found.accounts or a not in found.shares}
    missing |= {_said(member) for member in target.members if member not in found.members}
    changed = {b for b, limit in target.limits.items() if b in found.limits and found.limits[b] != limit}
    changed |= found.loose & target.limits.keys()
    for account, share in target.shares.items():
        if account in found.shares and (
            found.shares[account] != share or (account in found.closed) != (account in target.closed)
        ):
            changed.add(f"account:{account}")
    changed |= {
        _said(m) for m, names in target.members.items() if found.members.get(m, (names, False)) != (names, False)
    }
    changed |= {_said(m) for m in _leavers(target, found)}
    extra = found.limits.keys() - target.limits.keys()
    return Diff(tuple(sorted(missing)), tuple(sorted(changed)), tuple(sorted(extra)))


def _said(member: Member) -> str:
    return "member:" + "/".join(part for part in member if part)


def _leavers(target: Wanted, found: Observed) -> list[Member]:
    """Members of accounts that are ours to say who belongs to, who don't any more and may still submit."""
    named = {account for account, _user, _partition in target.members}
    return [
        member
        for member, (_budgets, barred) in found.members.items()
        if member[0] in named and member not in target.members and not barred
    ]


def changes(target: Wanted, found: Observed, cluster: str) -> list[list[str]]:
    """The commands that lead from what is found to what is wanted: one for each group of equal settings."""
    done: list[list[str]] = []
    add, modify = ["sacctmgr", "-iQ", "add"], ["sacctmgr", "-iQ", "modify"]
    for names in _groups(b for b in target.limits if b not in found.limits):
        flags = f"Flags={','.join(FLAGS)}"
        done.append([*add, "qos", names, flags, "GrpTRESMins=gres/gpu=0", f"Description={OURS}"])
    for names in _groups(found.loose & target.limits.keys()):
        done.append([*modify, "qos", "where", f"name={names}", "set", f"Flags+={','.join(FLAGS)}"])
    limits: dict[int | None, list[str]] = defaultdict(list)
    for budget, minutes in target.limits.items():
        if found.limits.get(budget, 0) != minutes:
            limits[minutes].append(budget)
    for minutes, budgets in limits.items():
        for names in _groups(budgets):
            value = -1 if minutes is None else minutes
            done.append([*modify, "qos", "where", f"name={names}", "set", f"GrpTRESMins=gres/gpu={value}"])
    done += _account_changes(target, found, cluster, add, modify)
    members: dict[tuple[str, str, frozenset[str], str], list[str]] = defaultdict(list)
    for (account, user, partition), names_of in target.members.items():
        now = found.members.get((account, user, partition))
        if now != (names_of, False):
            members[account, partition, names_of, "change" if now else "add"].append(user)
    for (account, partition, budgets_of, verb), users in members.items():
        where = [f"Account={account}", f"Cluster={cluster}", *([f"Partition={partition}"] if partition else [])]
        setting = [f"QosLevel={','.join(sorted(budgets_of))}", f"DefaultQOS={min(budgets_of)}"]
        for names in _groups(users):
            if verb == "add":
                done.append([*add, "user", names, *where, *setting])
            else:
                done.append([*modify, "user", "where", f"name={names}", *where, "set", *setting, "MaxSubmitJobs=-1"])
    barred: dict[tuple[str, str], list[str]] = defaultdict(list)
    for account, user, partition in _leavers(target, found):
        barred[account, partition].append(user)
    for (account, partition), users in barred.items():
        where = [f"Account={account}", f"Cluster={cluster}", *([f"Partition={partition}"] if partition else [])]
        for names in _groups(users):
            done.append([*modify, "user", "where", f"name={names}", *where, "set", "MaxSubmitJobs=0"])
    return done


def _account_changes(
    target: Wanted, found: Observed, cluster: str, add: list[str], modify: list[str]
) -> list[list[str]]:
    done: list[list[str]] = []
    fresh: dict[int, list[str]] = defaultdict(list)
    shares: dict[int, list[str]] = defaultdict(list)
    submits: dict[int, list[str]] = defaultdict(list)
    for account, share in target.shares.items():
        if account not in found.accounts or account not in found.shares:
            fresh[share].append(account)
        elif found.shares[account] != share:
            shares[share].append(account)
        if (account in target.closed) != (account in found.closed):
            submits[0 if account in target.closed else -1].append(account)
    about = [f"Description={OURS}", f"Organization={OURS}"]
    for share, accounts in fresh.items():
        for names in _groups(accounts):
            done.append([*add, "account", names, f"Cluster={cluster}", *about, f"Fairshare={share}"])
    for setting, groups in (("Fairshare", shares), ("GrpSubmitJobs", submits)):
        for value, accounts in groups.items():
            for names in _groups(accounts):
                done.append(
                    [*modify, "account", "where", f"name={names}", f"Cluster={cluster}", "set", f"{setting}={value}"]
                )
    return done


def _groups(names: Iterable[str]) -> list[str]:
    ordered = sorted(names)
    return [",".join(ordered[at : at + GROUP]) for at in range(0, len(ordered), GROUP)]
