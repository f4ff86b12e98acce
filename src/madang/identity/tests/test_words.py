from __future__ import annotations

from django.utils import translation

from madang.identity import words
from madang.workflow.models import LogLine


def test_the_log_says_in_korean_which_evidence_was_read():
    line = LogLine(verb="read", kind="outcomes.outcome", ref=1, detail={"what": "evidence 1"})
    with translation.override("ko"):
        assert words.sentence_of(line)["did"] == "개인정보 열람 (증빙 1)"
