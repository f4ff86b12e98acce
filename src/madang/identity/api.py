"""Identity over HTTP: who asks, their organizations, their tokens; people and roles for the operator."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from ninja.errors import AuthenticationError
from ninja.security import HttpBearer, SessionAuth

from madang.identity import tokens


class Token(HttpBearer):
    """`Authorization: Bearer mdg_…`. A token that isn't valid is an error, never a reason to look for a session."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        person = tokens.person_of(token)
        if person is None:
            raise AuthenticationError
        request.user = person
        return person


session = SessionAuth(csrf=True)
auth = [Token(), session]
router = Router()
