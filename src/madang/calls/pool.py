"""Who may be asked to review."""

from __future__ import annotations

from django.db.models import Q

from madang.calls.models import Call
from madang.identity.models import Person, Role, RoleGrant, Scope


def pool(call: Call) -> list[Person]:
    """Whoever holds the role of a reviewer for the program of the call."""
    over = Q(scope=Scope.SITE) | Q(scope=Scope.PROGRAM, scope_id=call.program_id)
    held = RoleGrant.objects.filter(over, role=Role.REVIEWER, until=None)
    return list(Person.objects.filter(is_active=True, pk__in=held.values("person")).order_by("pk"))
