"""The command `madang`. What works on a site goes through its API; `up`, `demo`, `stop` work on this machine."""

from madang.cli.app import app

__all__ = ["app"]
