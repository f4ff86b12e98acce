"""How each program of a session is started: it listens at a socket in its folder, as the sandbox has no network.

The folder is the run's own and closed to other users, so whoever reaches the socket came through the proxy: a token of
the program's own would only be one more secret in a queue, a log or an address.
"""

from __future__ import annotations

from madang.facilities.compute.models import Program

SOCKET = ".session"  # in the work folder

_JUPYTERLAB = """#!/bin/sh
# $1: jupyter-lab. Terminals and kernels find what stands beside it.
case "$1" in /*) PATH="${1%/*}:$PATH" ;; esac
export PATH JUPYTER_RUNTIME_DIR=/tmp/jupyter SHELL=/bin/bash
exec "$1" --no-browser --ServerApp.sock=/work/.session --ServerApp.sock_mode=0600 --ServerApp.root_dir=/work \\
  --ServerApp.base_url=/ --IdentityProvider.token= --ServerApp.allow_remote_access=True \\
  --LabApp.extension_manager=readonly --LabApp.news_url=None
"""

SCRIPTS = {Program.JUPYTERLAB: _JUPYTERLAB}
# Where a program says what runs in it, as Jupyter's list of kernels does. Of others only what people do is seen.
BUSY = {Program.JUPYTERLAB: "/api/kernels"}


def busy(answer: object) -> bool:
    """Whether one of the kernels computes, from Jupyter's list of them. What isn't one says nothing."""
    rows = answer if isinstance(answer, list) else []
    return any(isinstance(row, dict) and row.get("execution_state") == "busy" for row in rows)
