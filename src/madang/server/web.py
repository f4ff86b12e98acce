"""What the web server's workers load: the site, in a process that does not outlive the server that started it.

A worker that did would go on holding the port, with nobody to tell it to stop.
"""

from __future__ import annotations

import os
import signal

from madang.server.processes import ends_with_parent

ends_with_parent(signal.SIGKILL)
if os.getppid() == 1:  # its server was gone before it could say so
    raise SystemExit("the web server that started this worker is gone")

from madang.wsgi import application  # noqa: E402

__all__ = ["application"]
