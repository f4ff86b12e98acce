"""What can be wrong with what the twin is given."""

from __future__ import annotations


class BadInput(Exception):
    """Can't be simulated as it is; the message says where, what stands there, and what to do."""
