from __future__ import annotations

import pytest
from django.db.models import Count

from madang.catalog.models import Rate, Resource
from madang.demo import cast, reference
from madang.facilities.compute.models import Cluster, Partition
from madang.identity.models import Organization, Person, RoleGrant
from madang.programs.models import Indicator, Program, Purse, ReferenceFigure, Source, Target

pytestmark = pytest.mark.django_db
BUILT = (Organization, Person, RoleGrant, Program, Purse, Source, ReferenceFigure, Indicator, Target, Resource, Rate,
         Cluster, Partition)  # fmt: skip


def test_the_reference_site_is_built_once_however_often_it_is_built():
    people = reference.build(lambda line: None)
    counted = [model.objects.count() for model in BUILT]
    assert set(people) == set(cast.PEOPLE)
    assert dict(Resource.objects.values_list("kind").annotate(Count("id"))) == {
        "compute": 2, "storage": 1, "instrument": 77, "space": len(reference.facts()["spaces"]),
    }  # fmt: skip
    assert set(Partition.objects.values_list("name", flat=True)) == {"h100", "a100"}
    assert all(Partition.objects.values_list("declared", flat=True))

    # Where two sources disagree, both figures stand, each with its source.
    several = ReferenceFigure.objects.values("key").annotate(n=Count("value", distinct=True)).filter(n__gt=1)
    assert several.exists()
    for row in several:
        figures = ReferenceFigure.objects.filter(key=row["key"])
        assert figures.values("source").distinct().count() == figures.count() > 1

    again = reference.build(lambda line: None)
    assert [model.objects.count() for model in BUILT] == counted
    assert {key: person.pk for key, person in again.items()} == {key: person.pk for key, person in people.items()}
