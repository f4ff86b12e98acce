"""Maintenance: who may announce it and what is refused, what the engine is told and when, and whom it concerns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from madang.engines.base import NodeState, Rejected
from madang.identity.tests import make as people
from madang.jobs import maintenance, nodes, poller, queries
from madang.jobs.models import Maintenance, Watch
from madang.jobs.tests import make
from madang.workflow.errors import NotAllowed, Refused, Stale
from madang.workflow.models import LogLine
from madang.workflow.moment import now

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("paper")]
HOUR = timedelta(hours=1)


def announce(begins: timedelta = HOUR, length: timedelta = HOUR, actor: Any = None, **more: Any) -> Maintenance:
    start = now() + begins
    given = {"engine": "paper", "starts_at": start, "ends_at": start + length, "reason": "new fans", **more}
    return maintenance.announce(actor or people.operator(), **given)


def has_nodes() -> None:
    """Two of h100, of which one is also of a100, and one of a100 alone."""
    places = {"n1": ("h100",), "n2": ("h100", "a100"), "n3": ("a100",)}
    nodes.keep("paper", [NodeState(name, "idle", "", of, "h100", 8, 0) for name, of in places.items()])


def begun(window: Maintenance, since: timedelta = HOUR) -> Maintenance:
    Maintenance.objects.filter(pk=window.pk).update(starts_at=window.starts_at - HOUR - since)
    window.refresh_from_db()
    return window


def test_what_is_announced_is_told_once_and_again_when_it_changes_or_is_withdrawn(paper, django_assert_num_queries):
    poller.look()
    assert paper.told == [[]]  # what another database left on the cluster goes
    boss = people.operator()
    window = announce(reason=" new\n fans ", actor=boss)
    poller.look()
    (told,) = paper.told[1]
    assert (told.key, told.starts_at, told.ends_at) == (str(window.pk), window.starts_at, window.ends_at)
    assert (told.reason, told.partition, told.nodes) == ("new fans", "", ())
    window.refresh_from_db()
    assert window.taken_at
    watch = Watch.objects.get()
    with django_assert_num_queries(1):
        maintenance.tell(watch, paper)
    poller.look()
    assert len(paper.told) == 2
    maintenance.change(
        boss, window=window, starts_at=window.starts_at, ends_at=window.ends_at + HOUR, reason="new fans"
    )
    assert Maintenance.objects.get().taken_at is None
    poller.look()
    assert paper.told[2][0].ends_at == told.ends_at + HOUR
    maintenance.withdraw(boss, window=window)
    poller.look()
    assert paper.told[3:] == [[]]
    lines = LogLine.objects.filter(kind="jobs.maintenance").order_by("id")
    assert [(line.verb, line.reason, line.actor_id) for line in lines] == [
        ("announce", "new fans", boss.pk),
        ("change", "new fans", boss.pk),
        ("withdraw", "", boss.pk),
    ]


def test_a_window_that_is_over_is_taken_from_the_engine(paper):
    window = announce()
    poller.look()
    Maintenance.objects.filter(pk=window.pk).update(starts_at=now() - 2 * HOUR, ends_at=now() - HOUR)
    poller.look()
    assert [len(told) for told in paper.told] == [1, 0]


def test_what_an_engine_lost_it_is_told_again_and_why_it_refuses_is_kept(paper):
    announce()
    paper.held = "Duplicate reservation name"
    poller.look()
    poller.look()  # not at every look
    watch = Watch.objects.get()
    assert (len(paper.told), watch.windows_held, Maintenance.objects.get().taken_at) == (1, paper.held, None)
    paper.held = ""
    Watch.objects.update(windows_at=now() - timedelta(seconds=11))
    poller.look()
    assert (len(paper.told), Watch.objects.get().windows_held) == (2, "")
    assert Maintenance.objects.get().taken_at
    Watch.objects.update(windows_at=now() - timedelta(minutes=6))
    poller.look()
    assert len(paper.told) == 3


def test_an_engine_that_refuses_keeps_nobody_from_the_rest(paper):
    announce()
    paper.fail, paper.error = {"maintain"}, lambda: Rejected("no_node", "there is none")
    poller.look()
    watch = Watch.objects.get()
    assert (watch.windows_held, watch.error) == ("there is none", "")


def test_an_engine_is_told_while_its_accounting_is_away(paper):
    window = announce()
    paper.fail = {"usage"}
    poller.look()
    watch = Watch.objects.get()
    assert ([told.key for told in paper.told[-1]], watch.error, watch.answered_at) == (
        *([str(window.pk)], ""),
        watch.asked_at,
    )


@pytest.mark.parametrize(
    ("facts", "fields"),
    [
        ({"length": timedelta()}, ["ends_at"]),
        ({"length": -HOUR}, ["ends_at"]),
        ({"begins": -HOUR, "length": 2 * HOUR}, ["starts_at"]),
        ({"begins": -2 * HOUR}, ["ends_at", "starts_at"]),
        ({"begins": timedelta(days=367)}, ["starts_at"]),
        ({"length": timedelta(days=60, minutes=1)}, ["ends_at"]),
        ({"reason": " \n"}, ["reason"]),
        ({"engine": "other"}, ["engine"]),
        ({"partition": "v100"}, ["partition"]),
        ({"nodes": ["n1", "n9"]}, ["nodes"]),
        ({"nodes": ["n[1-3]"]}, ["nodes"]),
        ({"nodes": ["n3"], "partition": "h100"}, ["nodes"]),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(facts, fields):
    has_nodes()
    with pytest.raises(Refused) as told:
        announce(**facts)
    assert sorted(told.value.errors) == fields
    assert Maintenance.objects.count() == 0


def test_from_now_on_is_no_past_and_nodes_of_a_partition_are_the_narrower_place(paper):
    has_nodes()
    row = announce(begins=-timedelta(minutes=2), nodes=["n2", "n2"], partition="h100")
    assert (row.partition, row.nodes) == ("", ["n2"])
    assert announce(begins=3 * HOUR, nodes=["n3", "n2", "n1"]).nodes == []  # all there are
    poller.look()
    assert [told.nodes for told in paper.told[0]] == [("n2",), ()]


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ({}, {}, True),
        ({}, {"nodes": ["n1"]}, True),
        ({"partition": "h100"}, {}, True),
        ({"partition": "h100"}, {"partition": "h100"}, True),
        ({"partition": "h100"}, {"partition": "a100"}, True),  # n2 is of both
        ({"partition": "a100"}, {"nodes": ["n1"]}, False),
        ({"partition": "a100"}, {"nodes": ["n2"]}, True),
        ({"nodes": ["n1"]}, {"nodes": ["n3"]}, False),
        ({"nodes": ["n1", "n2"]}, {"nodes": ["n2", "n3"]}, True),
    ],
)
def test_a_node_is_announced_once_for_a_time(one, other, meet):
    has_nodes()
    first = announce(**one)
    if meet:
        with pytest.raises(Refused, match="new fans") as told:
            announce(begins=1.5 * HOUR, **other)
        assert list(told.value.errors) == ["starts_at"]
        maintenance.withdraw(people.operator(), window=first)
    announce(begins=1.5 * HOUR, **other)
    announce(begins=3 * HOUR, **one)  # another time


def test_one_that_has_begun_keeps_its_beginning_and_one_that_is_over_stays():
    boss = people.operator()
    window = begun(announce(length=3 * HOUR))
    for starts_at in (window.starts_at + HOUR, now() + HOUR):
        with pytest.raises(Refused) as told:
            maintenance.change(boss, window=window, starts_at=starts_at, ends_at=window.ends_at, reason="x")
        assert list(told.value.errors) == ["starts_at"]
    with pytest.raises(Refused) as told:
        maintenance.change(
            boss, window=window, starts_at=window.starts_at, ends_at=now() - timedelta(minutes=1), reason="x"
        )
    assert list(told.value.errors) == ["ends_at"]
    end = (now() + timedelta(minutes=5)).replace(second=0, microsecond=0)
    maintenance.change(boss, window=window, starts_at=window.starts_at, ends_at=end, reason="sooner")
    row = Maintenance.objects.get()
    assert (row.ends_at, row.reason) == (end, "sooner")
    Maintenance.objects.update(ends_at=now() - timedelta(minutes=1))
    with pytest.raises(Stale):
        maintenance.withdraw(boss, window=row)
    other = announce()
    maintenance.withdraw(boss, window=other)
    with pytest.raises(Stale):
        maintenance.withdraw(boss, window=other)
    with pytest.raises(Stale):
        maintenance.change(boss, window=other, starts_at=other.starts_at, ends_at=other.ends_at, reason="x")


def test_one_is_not_moved_into_another():
    first, second = announce(), announce(begins=3 * HOUR)
    boss = people.operator()
    with pytest.raises(Refused, match="new fans"):
        maintenance.change(
            boss, window=second, starts_at=first.ends_at - HOUR / 2, ends_at=second.ends_at, reason="later"
        )
    assert Maintenance.objects.get(pk=second.pk).starts_at == second.starts_at
    maintenance.change(boss, window=second, starts_at=first.ends_at, ends_at=second.ends_at, reason="at once")


def test_only_operators_announce_change_and_withdraw():
    window = announce()
    member = make.holder(make.allocation())
    for person in (member, people.person(), people.steward(), people.officer(), people.auditor()):
        with pytest.raises(NotAllowed):
            announce(begins=9 * HOUR, actor=person)
        with pytest.raises(NotAllowed):
            maintenance.change(person, window=window, starts_at=now(), ends_at=now() + HOUR, reason="mine")
        with pytest.raises(NotAllowed):
            maintenance.withdraw(person, window=window)
    row = Maintenance.objects.get()
    assert (row.reason, row.withdrawn_at, row.ends_at) == ("new fans", None, window.ends_at)


def test_a_partition_sees_the_windows_of_its_nodes_and_no_others(django_assert_num_queries):
    has_nodes()
    announce(begins=4 * HOUR)
    announce(begins=1 * HOUR, length=HOUR / 2, nodes=["n1"])
    announce(begins=2 * HOUR, length=HOUR / 2, partition="h100")
    maintenance.withdraw(people.operator(), window=announce(begins=8 * HOUR))
    nodes.keep("other", [NodeState("n1", "idle", "", ("a100",), "h100", 8, 0)])
    with django_assert_num_queries(1):
        watch = queries.watches()["paper"]
    seen = {
        name: [(reach.out, reach.there, reach.whole) for reach in maintenance.reaching(watch, name)]
        for name in ("h100", "a100", "v100")
    }
    whole = (0, 0, True)
    assert seen == {"h100": [(1, 2, False), whole, whole], "a100": [(1, 2, False), whole], "v100": [whole]}
    assert [window.reason for window in maintenance.windows_of(watch)] == ["new fans"] * 3


def test_a_partition_of_an_engine_whose_node_names_none_is_its_own_place():
    nodes.keep("paper", [NodeState("paper", "idle", "", (), "h100", 8, 0)])
    announce(partition="h100")
    watch = queries.watches()["paper"]
    assert [len(maintenance.reaching(watch, name)) for name in ("h100", "a100")] == [1, 0]


def at(hour: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + hour * HOUR


@pytest.mark.parametrize(
    ("begin", "hours", "into", "earliest"),
    [
        (0, 2, None, 0),  # ends as the first one begins
        (0, 2.5, 0, 8),
        (1, 1.5, 0, 3),
        (2.5, 0.1, 0, 3),
        (3, 2, None, 3),
        (0, 3, 0, 8),  # between the two there is no room for it
        (6, 1, 1, 8),
        (8, 99, None, 8),
    ],
)
def test_a_run_begins_where_its_limit_reaches_into_no_window(begin, hours, into, earliest):
    windows = [
        maintenance.Window(n, at(start), at(end), "", "", (), None) for n, (start, end) in enumerate([(2, 3), (5, 8)])
    ]
    reaches = [maintenance.Reach(window, 0, 0) for window in windows]
    part = maintenance.Reach(maintenance.Window(9, at(0), at(20), "", "", ("n1",), {}), 1, 2)
    found, start = maintenance.run_into([part, *reaches], at(begin), hours * HOUR)
    assert (found.window.id if found else None, start) == (into, at(earliest))
    found, start = maintenance.run_into([part], at(begin), hours * HOUR, few=True)
    assert (found, start) == (part, at(20))
