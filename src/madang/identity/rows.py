"""Writing a row: every verb checks what it was given against the model, whoever called it."""

from __future__ import annotations

from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _

from madang.web.forms import unusable
from madang.workflow.errors import Refused, Stale

Row = TypeVar("Row", bound=models.Model)


def write(row: Row, **facts: Any) -> Row:
    """Put `facts` on the row and save it, once the model and its constraints agree. Raises Refused with the fields."""
    for name, given in facts.items():
        value = given
        if isinstance(value, str):
            value = given.strip()
            lines = isinstance(row._meta.get_field(name), models.TextField)
            if sign := unusable(value, lines=lines):
                raise Refused(_("This holds a sign that can't be used here (%(sign)s).") % {"sign": sign}, field=name)
        setattr(row, name, value)
    empty = [field.name for field in row._meta.concrete_fields if _may_be_empty(row, field)]
    try:
        # The database checks the constraints as it writes. Only what it refuses is put into words, a question for each.
        row.full_clean(exclude=empty, validate_constraints=False)
        with transaction.atomic():
            if row._state.adding:
                row.save()
            else:
                row.save(update_fields=list(facts))
    except (ValidationError, IntegrityError):
        try:
            row.full_clean(exclude=empty)
        except ValidationError as error:
            raise refused(error) from None
        raise Stale(_("Somebody was faster: see how it stands now.")) from None
    return row


def lock(row: models.Model) -> None:
    """Take the row FOR UPDATE and read it again. Call it inside a transaction."""
    row.refresh_from_db(from_queryset=row._meta.base_manager.select_for_update(of=("self",)))


def refused(error: ValidationError) -> Refused:
    """What the model says of each field, as the answer of a verb."""
    errors = {field: " ".join(_said(one) for one in found) for field, found in error.error_dict.items()}
    general = errors.pop("__all__", "")
    return Refused(general or next(iter(errors.values())), errors=errors)


def _said(error: ValidationError) -> str:
    # Django's own words for these name the model as the code does.
    if error.code == "unique":
        return _("This is taken already. Choose another one.")
    if error.code == "unique_together":
        return _("This is recorded already.")
    return " ".join(error.messages)


def _may_be_empty(row: models.Model, field: Any) -> bool:
    """Columns that the database fills by itself, or that stay empty until a later verb: nothing to check."""
    if row._state.adding and field.has_db_default():
        return True
    return bool(field.null and not field.blank and getattr(row, field.attname) is None)
