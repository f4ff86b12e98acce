from __future__ import annotations

from datetime import date, timedelta

import pytest

from madang.catalog import actions, offers, queries
from madang.catalog.models import Rate, Resource
from madang.catalog.tests import make
from madang.identity.tests import make as people
from madang.ledger.models import Account, Commodity
from madang.workflow.errors import Missing, NotAllowed, Refused, Stale

pytestmark = pytest.mark.django_db


def test_the_factories_make_what_they_say() -> None:
    resource = make.resource()
    assert resource.unit == "gpu_second"
    assert make.rate(resource).price_of(3601) == 2001
    assert make.resource("storage").unit == "mb_hour"


def test_a_resource_comes_with_what_its_use_is_counted_in() -> None:
    one = make.resource(resource_class="h100")
    same = make.resource(resource_class="h100")
    other = make.resource(resource_class="a100")
    assert one.commodity == same.commodity != other.commodity
    assert Commodity.objects.get(pk=one.commodity).code == "gpu_second:h100"
    assert set(Account.objects.filter(commodity=one.commodity).values_list("role", flat=True)) == {
        "pool",
        "consumed",
        "overrun",
    }
    disk = make.resource("storage", code="lustre")
    assert Commodity.objects.get(pk=disk.commodity).code == "mb_hour:lustre"


def test_a_code_is_taken_once() -> None:
    make.resource(code="h100")
    with pytest.raises(Refused) as refused:
        make.resource(code="h100")
    assert "code" in refused.value.errors
    with pytest.raises(Refused):
        make.resource(code="new")
    assert Resource.objects.count() == 1


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"kind": "rocket"}, "kind"),
        ({"name_ko": "가" * 161}, "name_ko"),
        ({"name_en": "a\x00b"}, "name_en"),
        ({"code": "with blank"}, "code"),
        ({"sector": "space"}, "sector"),
        ({"capacity_per_hour": 2**63}, "capacity_per_hour"),
    ],
)
def test_what_cant_be_kept_is_refused_at_its_field(facts: dict, field: str) -> None:
    owner = people.agency()
    with pytest.raises(Refused) as refused:
        make.resource(**{"kind": "storage", "owner": owner, **facts})
    assert list(refused.value.errors) == [field]
    assert Resource.objects.count() == 0


def test_a_rate_holds_until_the_next_one_starts() -> None:
    resource = make.resource()
    tomorrow = actions.today() + timedelta(days=1)
    first = make.rate(resource, 2000)
    second = make.rate(resource, 3000, starts_on=tomorrow)
    first.refresh_from_db()
    assert first.days.upper == tomorrow
    assert queries.rates_on([resource.pk], actions.today()) == {resource.pk: first}
    assert queries.rates_on([resource.pk], tomorrow) == {resource.pk: second}
    assert queries.rates_on([resource.pk], date(2024, 12, 31)) == {}


def test_rates_never_overlap_and_never_rewrite_the_past() -> None:
    resource = make.resource()
    later = actions.today() + timedelta(days=30)
    make.rate(resource)
    make.rate(resource, starts_on=later)
    for starts_on in (date(2025, 1, 1), later, later - timedelta(days=1), date(2024, 1, 1)):
        with pytest.raises(Refused) as refused:
            make.rate(resource, 1, starts_on=starts_on)
        assert refused.value.field == "starts_on"
    old = make.resource()
    make.rate(old)
    with pytest.raises(Refused):
        make.rate(old, 1, starts_on=actions.today() - timedelta(days=1))
    assert Rate.objects.count() == 3


@pytest.mark.parametrize(("price", "per"), [(-1, 3600), (1, 0), (1, -5), (2**63, 1)])
def test_a_price_is_a_whole_number_of_won(price: int, per: int) -> None:
    resource = make.resource()
    with pytest.raises(Refused):
        make.rate(resource, price, per)
    assert Rate.objects.count() == 0


def test_who_keeps_the_catalog() -> None:
    mine, other = make.resource(), make.resource()
    may = {}
    for who, person in {
        "operator": people.operator(),
        "officer": people.officer(),
        "steward": people.steward("resource", mine.pk),
        "steward of another": people.steward("resource", other.pk),
        "auditor": people.auditor(),
        "executive": people.executive(),
        "reviewer": people.reviewer(),
        "tenant": people.lead_of(people.organization()),
    }.items():
        for verb, do in {
            "edit": lambda p: actions.edit_resource(p, resource=mine, name_en="changed"),
            "add": lambda p: make.resource(actor=p, owner=mine.owner),
        }.items():
            try:
                do(person)
                may.setdefault(who, []).append(verb)
            except NotAllowed:
                may.setdefault(who, [])
    assert may == {
        "operator": ["edit", "add"],
        "officer": ["edit", "add"],
        "steward": ["edit"],
        "steward of another": [],
        "auditor": [],
        "executive": [],
        "reviewer": [],
        "tenant": [],
    }


def test_what_a_resource_is_counted_in_stays() -> None:
    resource = make.resource()
    for facts in ({"kind": "storage"}, {"code": "x"}, {"resource_class": "a100"}, {"state": "retired"}):
        with pytest.raises(Refused):
            actions.edit_resource(people.operator(), resource=resource, **facts)


def test_a_resource_is_paused_resumed_and_retired_for_a_reason() -> None:
    resource, operator = make.resource(), people.operator()
    with pytest.raises(Refused) as refused:
        actions.pause(operator, resource=resource, reason=" ")
    assert refused.value.field == "reason"
    actions.pause(operator, resource=resource, reason="정기 점검")
    with pytest.raises(Stale):
        actions.pause(operator, resource=resource, reason="정기 점검")
    actions.resume(operator, resource=resource, reason="점검 끝")
    actions.retire(operator, resource=resource, reason="내용연수 경과")
    with pytest.raises(Stale):
        actions.resume(operator, resource=resource, reason="다시")
    assert queries.resources().rows == []
    assert queries.resource(resource.code).state == "retired"


def test_the_list_goes_on_where_it_ended() -> None:
    made = [make.resource("storage") for _n in range(5)]
    first = queries.resources(limit=2)
    second = queries.resources(limit=2, after=first.after)
    third = queries.resources(limit=2, after=second.after)
    assert [row.pk for row in first.rows + second.rows + third.rows] == [row.pk for row in made]
    assert third.after is None


def test_resources_are_found_by_kind_sector_and_words() -> None:
    car = make.resource(
        "instrument", name_ko="초대형 드라이빙 시뮬레이터", name_en="driving simulator", sector="automotive"
    )
    heart = make.resource("instrument", name_ko="심전도 분석기", sector="healthcare")
    disk = make.resource("storage")
    found = [
        queries.resources(search="시뮬레이터 드라이빙").rows,
        queries.resources(search="SIMULATOR").rows,
        queries.resources(kind="instrument").rows,
        queries.resources(sector="healthcare").rows,
        queries.resources(sector="").rows,
        queries.resources(search="100%").rows,
    ]
    assert found == [[car], [car], [car, heart], [heart], [disk], []]
    with pytest.raises(Missing):
        queries.resource("nothing")


def test_rooms_above_tell_which_calls_offer_a_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "_answers", [])
    offers.tell(lambda resource: [offers.Offer(f"call for {resource}", "/calls/x/")])
    assert [offer.title for offer in offers.of(7)] == ["call for 7"]
