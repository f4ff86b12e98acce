"""What is written to people about their accounts, in Korean and English: by verbs of this room, and by allauth."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from madang.identity.models import Organization, Person
from madang.web import letters


def added(actor: Person, person: Person) -> None:
    """To somebody whom the operator added. Call it inside the transaction of the verb."""

    def write() -> tuple[str, str]:
        return _("You have an account at Madang"), _(
            "%(name)s made an account for you at Madang with this e-mail address.\n\n"
            "Choose your password first:\n%(choose)s\n\nThen log in:\n%(login)s"
        ) % {
            "name": actor.name,
            "choose": letters.link(reverse("account_reset_password")),
            "login": letters.link(reverse("account_login")),
        }

    letters.later([person.pk], write)


def invitation(actor: Person, organization: Organization, secret: str) -> tuple[str, str]:
    """Its secret stands nowhere else, so that this letter is never kept by a task."""

    def write() -> tuple[str, str]:
        facts = {"name": actor.name, "organization": organization.name, "link": letters.link(f"/invitations/{secret}/")}
        return _("Invitation to %(organization)s") % facts, _(
            "%(name)s invites you to join %(organization)s.\n\n"
            "Open this link within 14 days and log in, or sign up, with this e-mail address:\n%(link)s\n\n"
            "If you don't know why you were invited, ignore this letter."
        ) % facts

    return letters.both(write)


def of_account(kind: str, facts: dict[str, Any]) -> tuple[str, str]:
    """The letter that allauth asks for by the last part of the name of its template."""

    def write() -> tuple[str, str]:
        match kind:
            case "email_confirmation" | "email_confirmation_signup":
                return _("Confirm your e-mail address"), _(
                    "To confirm your e-mail address for Madang, enter this code on the page that is open:\n\n"
                    "%(code)s\n\n"
                    "If you didn't ask for it, ignore this letter."
                ) % {"code": facts["code"]}
            case "account_already_exists":
                return _("You have an account already"), _(
                    "Somebody tried to sign up at Madang with this e-mail address, which has an account already. "
                    "If it was you, log in, or choose a new password:\n\n%(link)s\n\n"
                    "If it wasn't, ignore this letter."
                ) % {"link": facts["password_reset_url"]}
            case "password_reset_key":
                return _("Choose a new password"), _(
                    "Choose a new password for Madang:\n\n%(link)s\n\n"
                    "If you didn't ask for it, ignore this letter: your password stays as it is."
                ) % {"link": facts["password_reset_url"]}
            case "unknown_account":
                return _("This e-mail address has no account"), _(
                    "Somebody asked for a new password at Madang with this e-mail address, which has no account. "
                    "If it was you, sign up:\n\n%(link)s\n\nIf it wasn't, ignore this letter."
                ) % {"link": facts["signup_url"]}
        raise LookupError(kind)

    return letters.both(write)
