"""Calls, applications and reviews over HTTP: the same verbs as the pages. Amounts are in the smallest unit."""

from ninja import Router

from madang.calls.api.applications import router as applications
from madang.calls.api.calls import router as calls
from madang.calls.api.reviews import router as reviews
from madang.calls.api.screening import router as screening

router = Router()
# What has a name of its own comes before /{code}.
for part in (applications, screening, reviews, calls):
    router.add_router("", part)
