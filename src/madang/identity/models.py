from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from madang.web.bilingual import said
from madang.web.days import LONG_AGO, days, instants
from madang.workflow.history import tracked


class PersonManager(BaseUserManager["Person"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> Person:
        person = self.model(email=self.normalize_email(email).lower(), **fields)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def get_by_natural_key(self, username: str | None) -> Person:
        return self.get(email=(username or "").lower())


@tracked(exclude=("password", "last_login"))
class Person(AbstractBaseUser):
    """Somebody who logs in. There is no superuser: whoever may do more holds a role, from a day, for a reason."""

    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=80)
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField(db_default=Now())

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["name"]
    objects = PersonManager()

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        return self.name


class OrganizationKind(models.TextChoices):
    SME = "sme", _("SME")
    UNIVERSITY = "university", _("university")
    PUBLIC_BODY = "public_body", _("public body")
    INSTITUTE = "institute", _("research institute")
    ASSOCIATION = "association", _("association")
    AGENCY = "agency", _("managing agency")


class Region(models.TextChoices):
    """The 17 upper-level local governments, by the two-letter codes of ISO 3166-2:KR."""

    SEOUL = "11", _("Seoul")
    BUSAN = "26", _("Busan")
    DAEGU = "27", _("Daegu")
    INCHEON = "28", _("Incheon")
    GWANGJU = "29", _("Gwangju")
    DAEJEON = "30", _("Daejeon")
    ULSAN = "31", _("Ulsan")
    GYEONGGI = "41", _("Gyeonggi")
    GANGWON = "42", _("Gangwon")
    CHUNGBUK = "43", _("Chungbuk")
    CHUNGNAM = "44", _("Chungnam")
    JEONBUK = "45", _("Jeonbuk")
    JEONNAM = "46", _("Jeonnam")
    GYEONGBUK = "47", _("Gyeongbuk")
    GYEONGNAM = "48", _("Gyeongnam")
    JEJU = "49", _("Jeju")
    SEJONG = "50", _("Sejong")


@tracked()
class Organization(models.Model):
    """A company, a university, a public body … that applies, or the agency itself. One per business number."""

    name_ko = models.CharField(_("name (Korean)"), max_length=120)
    name_en = models.CharField(_("name (English)"), max_length=120, blank=True)
    kind = models.CharField(_("kind"), max_length=20, choices=OrganizationKind)
    business_number = models.CharField(
        _("business registration number"), max_length=10, unique=True, validators=[RegexValidator(r"^\d{10}$")]
    )
    representative = models.CharField(_("representative"), max_length=80, blank=True)
    region = models.CharField(_("region of the head office"), max_length=2, choices=Region)
    founded_on = models.DateField(_("founded on"), null=True, blank=True)
    is_youth_startup = models.BooleanField(_("youth start-up"), default=False)
    registered_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="business_number_is_ten_digits", condition=models.Q(business_number__regex=r"^[0-9]{10}$")
            ),
            models.CheckConstraint(
                name="organization_kind_known", condition=models.Q(kind__in=OrganizationKind.values)
            ),
            models.CheckConstraint(name="founded_in_our_time", condition=days("founded_on", since=LONG_AGO)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return said(self, "name")

    @property
    def business_number_written(self) -> str:
        n = self.business_number
        return f"{n[:3]}-{n[3:5]}-{n[5:]}"


class TenantRole(models.TextChoices):
    LEAD = "lead", _("tenant lead")
    MEMBER = "member", _("tenant member")


@tracked()
class Membership(models.Model):
    """A person belongs to an organization from a day until a day. Ended memberships stay: they explain the past."""

    person = models.ForeignKey(Person, models.PROTECT, related_name="memberships")
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="memberships")
    role = models.CharField(_("role"), max_length=10, choices=TenantRole)
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "organization"], condition=models.Q(until=None), name="one_membership_at_a_time"
            ),
            models.CheckConstraint(name="tenant_role_known", condition=models.Q(role__in=TenantRole.values)),
            models.CheckConstraint(name="membership_in_our_time", condition=instants("since", "until")),
        ]


@tracked(exclude=("digest",))
class Invitation(models.Model):
    """A lead asks somebody, by e-mail, to join. The letter holds a secret; only its digest is kept here."""

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=10, choices=TenantRole)
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(Person, models.PROTECT, related_name="+")
    invited_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)


class Role(models.TextChoices):
    OPERATOR = "operator", _("operator of the site")
    OFFICER = "officer", _("officer")
    REVIEWER = "reviewer", _("reviewer")
    STEWARD = "steward", _("steward")
    EXECUTIVE = "executive", _("executive")
    AUDITOR = "auditor", _("auditor")


class Scope(models.TextChoices):
    SITE = "site", _("whole site")
    PROGRAM = "program", _("program")
    RESOURCE = "resource", _("resource")


@tracked()
class RoleGrant(models.Model):
    """A role, for one person, over one thing: the whole site, a program, a resource. Its id is opaque here."""

    person = models.ForeignKey(Person, models.PROTECT, related_name="roles")
    role = models.CharField(_("role"), max_length=12, choices=Role)
    scope = models.CharField(_("scope"), max_length=12, choices=Scope, default=Scope.SITE)
    scope_id = models.BigIntegerField(default=0)
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    given_by = models.ForeignKey(Person, models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "role", "scope", "scope_id"],
                condition=models.Q(until=None),
                name="one_role_at_a_time",
            ),
            models.CheckConstraint(name="role_known", condition=models.Q(role__in=Role.values)),
            models.CheckConstraint(name="role_in_our_time", condition=instants("since", "until")),
            models.CheckConstraint(
                name="site_scope_has_no_id", condition=~models.Q(scope="site") | models.Q(scope_id=0)
            ),
        ]


@tracked(exclude=("digest",))
class ApiToken(models.Model):
    """A key for programs. Shown once; only its digest is kept."""

    person = models.ForeignKey(Person, models.PROTECT, related_name="tokens")
    name = models.CharField(_("name"), max_length=80)
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=12)
    made_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    @property
    def expired(self) -> bool:
        """For the eye only: whether a token is let in is decided by the database's clock."""
        return self.expires_at <= timezone.now()
