"""Files that a page and the API answer with, in the same way."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from madang.insight import focus


def focus_file(person: Any, month: date, format: str) -> HttpResponseBase:
    """The FOCUS table of a month, as "csv" (in a stream) or "parquet"."""
    rows = focus.rows(person, month)
    answer: HttpResponseBase
    if format == "parquet":
        answer = HttpResponse(focus.parquet_bytes(rows), content_type="application/vnd.apache.parquet")
    else:
        answer = StreamingHttpResponse(focus.csv_lines(rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="focus-{month:%Y-%m}.{format}"'
    return answer
