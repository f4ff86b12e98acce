import pytest

from madang.identity.tests import make

pytestmark = pytest.mark.django_db


def test_the_factories_make_what_they_say() -> None:
    assert [make.operator(), make.officer(), make.reviewer(), make.steward(), make.executive(), make.auditor()]
    organization = make.organization()
    assert make.member(organization) != make.lead_of(organization)
    assert make.agency().kind == "agency"
