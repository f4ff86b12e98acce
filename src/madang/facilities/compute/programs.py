"""How each program of a session is started, so that nobody reaches it but through the proxy.

It listens at a Unix socket that only its own user can open. On this machine that is in its run's folder, and the proxy
opens it there: the sandbox has no network. On another machine it is in a folder of that one, and `shipped/door.py`
stands before it. The programs have no token of their own: it would be one more secret in a queue, a log or an address.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from madang.engines.base import SOCKET
from madang.facilities.compute.models import Program

# $1: the program; $socket: where it listens; $own: a folder of this run alone. It serves the folder that it starts in.
_LINES = {
    Program.JUPYTERLAB: """
export JUPYTER_RUNTIME_DIR="$own/jupyter" SHELL=/bin/bash
exec "$1" --no-browser --ServerApp.sock="$socket" --ServerApp.sock_mode=0600 --ServerApp.root_dir="$PWD" \\
  --ServerApp.base_url=/ --IdentityProvider.token= --ServerApp.allow_remote_access=True \\
  --KernelManager.transport=ipc --LabApp.extension_manager=readonly --LabApp.news_url=None
""",
    # It tells whoever is on the machine at which port it is, and has none at a socket.
    Program.TENSORBOARD: """
export TMPDIR="$own"
exec python3 - --host="unix://$socket" --port=0 --logdir="$PWD" --reload_multifile=true <<'PYTHON'
import sys
sys.path[:] = filter(None, sys.path)  # what lies in the folder of the run is nothing of ours
from tensorboard import default, program

class Server(program.WerkzeugServer):
    def get_url(self):
        return "http://session:0/"

board = program.TensorBoard(default.get_plugins(), server_class=Server)
board.configure(sys.argv)
sys.exit(board.main())
PYTHON
""",
}
# On a node others reach each port of this machine, and the debugger of a notebook is at one that asks nobody who they
# are: who comes there runs what they like as its user.
_SHARED = {
    Program.JUPYTERLAB: """
mkdir -p "$own/config/labconfig" "$own/instead/debugpy"
export JUPYTER_CONFIG_PATH="$own/config" PYTHONPATH="$own/instead${PYTHONPATH:+:$PYTHONPATH}"
echo '{"disabledExtensions": {"@jupyterlab/debugger-extension": true}}' > "$own/config/labconfig/page_config.json"
echo 'raise ImportError("other users of this machine could come in by it")' > "$own/instead/debugpy/__init__.py"
""",
}
_BESIDE = """#!/bin/sh
# Terminals and kernels find what stands beside the program.
case "$1" in /*) PATH="${1%/*}:$PATH" ;; esac
export PATH
"""
# Where a program says what runs in it, as Jupyter's list of kernels does. Of others only what people do is seen.
BUSY = {Program.JUPYTERLAB: "/api/kernels"}
# What an open page of it sends by itself: JupyterLab keeps how its windows lie, every ten seconds.
ITSELF = {Program.JUPYTERLAB: "/lab/api/workspaces/"}


def here(program: Program) -> str:
    """The script of a session on this machine. Its argument is the program."""
    return f"{_BESIDE}own=/tmp socket=$PWD/{SOCKET}\n{_LINES[program].lstrip()}"


def elsewhere(program: Program) -> str:
    """The script of a session on another machine. Its arguments are the program and the ports that it may be at."""
    line = (_SHARED.get(program, "") + _LINES[program]).strip().replace("'", "'\\''")
    return f"{_BESIDE}exec python3 -I - \"$2\" '{line}' \"$1\" <<'END'\n{_door()}END\n"


@cache
def _door() -> str:
    return (Path(__file__).parent / "shipped" / "door.py").read_text()


def busy(answer: object) -> bool:
    """Whether one of the kernels computes, from Jupyter's list of them. What isn't one says nothing."""
    rows = answer if isinstance(answer, list) else []
    return any(isinstance(row, dict) and row.get("execution_state") == "busy" for row in rows)


def by_itself(program: str, path: str) -> bool:
    """Whether a page sends this also where nobody looks at it."""
    start = ITSELF.get(Program(program))
    return bool(start and path.startswith(start))
