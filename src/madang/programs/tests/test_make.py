import pytest

from madang.programs.tests import make

pytestmark = pytest.mark.django_db


def test_the_factories_make_what_they_say() -> None:
    program = make.program()
    assert make.program(parent=program).parent == program
    assert make.indicator(program).program == program
    assert make.source().publisher
