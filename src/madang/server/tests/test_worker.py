"""The worker that `madang up` starts, killed while it works."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from django.core import mail
from django.db import connection
from procrastinate.contrib.django.models import ProcrastinateJob

from madang.identity.tests import make
from madang.web import tasks
from madang.web.tests.worker import work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_other_tasks(db):
    """The end of a test doesn't empty these tables, so another one may have left something, too."""
    forget_tasks()
    yield
    forget_tasks()


def forget_tasks() -> None:
    with connection.cursor() as cursor:
        for table in ("events", "periodic_defers", "jobs", "workers"):
            cursor.execute(f"DELETE FROM procrastinate_{table}")


def letters() -> list[str]:
    return list(ProcrastinateJob.objects.filter(task_name="web.send_letter").values_list("status", flat=True))


def test_a_letter_whose_worker_was_killed_is_sent_by_the_next():
    person = make.person()
    tasks.send_letter.defer(person=person.pk, subject="선정", text="축하합니다")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes letters and never says a word
        known = connection.settings_dict
        place = known["HOST"] or known["OPTIONS"].get("host", "")
        address = f"postgresql://{known['USER']}@/{known['NAME']}?host={place}"
        worker = subprocess.Popen(
            [sys.executable, "-m", "django", "procrastinate", "worker"],
            env={**os.environ, "DATABASE_URL": address, "DATABASE_OWNER_URL": address,
                 "MADANG_SMTP": f"smtp://127.0.0.1:{silent.getsockname()[1]}"},
        )  # fmt: skip
        silent.settimeout(60)
        silent.accept()
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    work()
    assert (mail.outbox, letters()) == ([], ["doing"])
    with connection.cursor() as cursor:  # the killed worker was last heard of a minute ago
        cursor.execute("UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 minute'")
    tasks.do_again.defer(timestamp=0)
    work()
    assert [(letter.to, letter.body) for letter in mail.outbox] == [([person.email], "축하합니다")]
    assert letters() == ["succeeded"]
