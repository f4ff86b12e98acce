from __future__ import annotations

import pytest
from django.utils import translation

from madang.grants import words


@pytest.mark.parametrize(("said", "shown"), [("run", "작업 실행"), ("storage held", "저장공간 보유"), ("추경", "추경")])
def test_a_statement_says_in_korean_what_an_entry_was_for(said, shown):
    with translation.override("ko"):
        assert str(words.use(said)) == shown
