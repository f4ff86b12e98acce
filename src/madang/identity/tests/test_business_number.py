import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.identity.business_number import check_digit, digits_of, is_valid


def test_real_numbers_are_valid() -> None:
    assert [is_valid(n) for n in ("2208162517", "1248100998", "1208147521")] == [True, True, True]


def test_dashes_and_blanks_are_the_readers_choice() -> None:
    assert digits_of(" 220-81-62517 ") == digits_of("220 81 62517") == "2208162517"


@given(st.from_regex(r"[0-9]{9}", fullmatch=True), st.integers(0, 8), st.integers(1, 9))
def test_one_digit_typed_wrong_is_found(nine: str, place: int, shift: int) -> None:
    number = nine + check_digit(nine)
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    assert is_valid(number)
    # The carry of the ninth digit lets one other digit in ten pass: that is how the number is made.
    assert not is_valid(wrong) or place == 8


@pytest.mark.parametrize("no", ["", "220816251", "22081625170", "２２０８１６２５１７", "220816251\n7", "abcdefghij"])
def test_what_is_no_number_is_not_valid(no: str) -> None:
    assert not is_valid(no)
