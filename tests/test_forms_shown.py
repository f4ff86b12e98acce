"""Nobody is shown a form that would be refused to them: a page is as closed to reading as it is to sending."""

from __future__ import annotations

import pytest

from tests.addresses import page_addresses, plausible
from tests.asking import Visitor
from tests.forms_seen import SeenForm, forms_of, sent
from tests.world import World

pytestmark = [pytest.mark.xdist_group("input")]


def own_forms(visitor: Visitor, path: str) -> list[SeenForm]:
    """The forms of a page that are sent to the page itself."""
    answer = visitor.ask("GET", path)
    found = forms_of(path, answer.body) if answer.status == 200 else []
    return [form for form in found if form.action.partition("?")[0] == path]


@pytest.mark.parametrize("who", ["lead", "member", "officer", "steward", "reviewer", "stranger"])
def test_whom_a_form_would_be_refused_is_not_shown_it(fresh: World, who: str) -> None:
    visitor = Visitor(fresh.stranger if who == "stranger" else getattr(fresh.a, who))
    known, problems, seen = plausible(fresh.a), [], 0
    paths = [a.path for a in page_addresses(fresh.a) if not a.name.startswith(("account_", "mfa_"))]
    for form in [form for path in paths for form in own_forms(visitor, path)]:
        seen += 1
        status = visitor.ask("POST", form.page, sent(form, known)[0]).status
        # Asked again: what was sent before may have closed it since.
        if status in (403, 404, 409) and own_forms(visitor, form.page):
            problems.append(f"{form.page} is shown to the {who}, and answers {status}")
    assert seen
    assert not problems, "\n".join(problems)
