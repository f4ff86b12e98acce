"""The command `madang`. What works on a site goes through its API; `up`, `demo`, `stop` work on this machine.

Exit codes, for scripts: 0 done · 1 refused by the site · 2 wrong use · 3 not logged in, or not allowed · 4 not there ·
5 no answer · 10 the job did not complete.
"""

from madang.cli.app import app

__all__ = ["app"]
