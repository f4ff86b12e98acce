from typing import Any

import pgtrigger
from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

# Whoever may write a table could else set `pgtrigger.ignore` in a session, and sign what is signed once more.
NEVER_IGNORED = """
CREATE OR REPLACE FUNCTION public._pgtrigger_should_ignore(trigger_name name) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN false; END'
"""


class WorkflowConfig(AppConfig):
    name = "madang.workflow"
    label = "workflow"

    def ready(self) -> None:
        pre_migrate.connect(grant_the_application, sender=self)
        post_migrate.connect(install_triggers, sender=self)


def grant_the_application(*, using: str, **_: Any) -> None:
    """Before the first table is made: what the owner creates, the application's role may read and write.

    A room whose tables are append-only takes the writing away again in its own migration.
    """
    role = settings.APPLICATION_ROLE
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT current_user, EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [role])
        me, there = cursor.fetchone()
        if there and me != role:
            name = connections[using].ops.quote_name(role)
            cursor.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {name}")
            cursor.execute(f"ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO {name}")


def install_triggers(*, using: str, plan: Any = None, **_: Any) -> None:
    """After every run of `migrate`: all triggers, as the models declare them.

    Not as operations of the migrations: each would make Django build the state of all models anew, which made an empty
    site wait four times as long. A flush of the tests sends this signal too, but without a plan.
    """
    if plan is not None:
        pgtrigger.install(database=using)
        with connections[using].cursor() as cursor:
            cursor.execute(NEVER_IGNORED)
