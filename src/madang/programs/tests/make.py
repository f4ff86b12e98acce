"""Programs for tests, added by the verbs that the pages call."""

from __future__ import annotations

from itertools import count
from typing import Any

from madang.identity.tests import make
from madang.programs import actions
from madang.programs.models import Indicator, Program, Source

_number = count(1)


def program(**facts: Any) -> Program:
    number = next(_number)
    actor = facts.pop("actor", None) or make.operator()
    names = {"code": f"program-{number}", "name_ko": f"사업 {number}", "name_en": f"Program {number}"}
    return actions.add_program(actor, **{**names, **facts})


def source(**facts: Any) -> Source:
    number = next(_number)
    actor = facts.pop("actor", None) or make.operator()
    about = {"code": f"source-{number}", "publisher": f"신문 {number}", "published": "2025-08-18"}
    return actions.add_source(actor, **{**about, **facts})


def indicator(program: Program | None = None, measure: str = "gpu_hours_used", **facts: Any) -> Indicator:
    number = next(_number)
    actor = facts.pop("actor", None) or make.operator()
    about = {
        "code": f"indicator-{number}",
        "name_ko": f"지표 {number}",
        "name_en": f"Indicator {number}",
        "definition_ko": "협약 기간에 쓴 GPU-시간의 합",
        "definition_en": "the sum of GPU-hours used while the agreement runs",
        "hide": "I",
        "condition": "compute",
    }
    return actions.add_indicator(actor, program=program, measure=measure, **{**about, **facts})
