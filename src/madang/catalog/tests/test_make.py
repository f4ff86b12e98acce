import pytest

from madang.catalog.tests import make

pytestmark = pytest.mark.django_db


def test_the_factories_make_what_they_say() -> None:
    resource = make.resource()
    assert resource.unit == "gpu_second"
    assert make.rate(resource).price_of(3601) == 2001
    assert make.resource("storage").unit == "mb_hour"
