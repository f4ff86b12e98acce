"""What every engine keeps of a job in PostgreSQL, and how it gets there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Any

import psycopg

from madang.engines.base import JobSpec, Unavailable

Connect = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]


@contextmanager
def answering(connect: Connect) -> Iterator[psycopg.Connection[Any]]:
    """A connection; a database that doesn't answer is an engine that doesn't."""
    try:
        with connect() as conn:
            yield conn
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unavailable("no_database", f"the queue's database does not answer: {error}") from error


def digest(spec: JobSpec) -> str:
    """The same for two specs exactly when they ask for the same."""
    said = described(spec)
    said["files"] = [
        [f.path, hashlib.sha256(f.content).hexdigest() if f.content is not None else None, str(f.source)]
        for f in sorted(spec.files, key=lambda f: f.path)
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def described(spec: JobSpec) -> dict[str, Any]:
    """The spec as JSON, without its files."""
    said = {**asdict(spec), "job": str(spec.job), "environment": dict(spec.environment), "argv": list(spec.argv)}
    del said["files"]
    return said
