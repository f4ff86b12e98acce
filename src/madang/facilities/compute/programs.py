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

# It only listens at a port: of the sandbox's own loopback, where nobody else is. What comes to the socket is passed on.
_TENSORBOARD = """#!/bin/sh
# $1: tensorboard. It reads what lies in the folder of the session.
case "$1" in /*) PATH="${1%/*}:$PATH" ;; esac
export PATH
cat > /tmp/relay.py <<'END'
import asyncio, os, sys

PORT = 6006

async def copy(source, target):
    try:
        while piece := await source.read(65536):
            target.write(piece)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()

async def pass_on(reader, writer):
    try:
        back, forth = await asyncio.open_connection("127.0.0.1", PORT)
    except OSError:  # it doesn't listen yet
        writer.close()
        return
    await asyncio.gather(copy(reader, forth), copy(back, writer))

async def main():
    program = await asyncio.create_subprocess_exec(*sys.argv[1:], "--host=127.0.0.1", f"--port={PORT}")
    os.umask(0o077)
    await asyncio.start_unix_server(pass_on, "/work/.session")
    sys.exit(await program.wait())

asyncio.run(main())
END
exec python3 /tmp/relay.py "$1" --logdir=/work --reload_multifile=true
"""

SCRIPTS = {Program.JUPYTERLAB: _JUPYTERLAB, Program.TENSORBOARD: _TENSORBOARD}
# Where a program says what runs in it, as Jupyter's list of kernels does. Of others only what people do is seen.
BUSY = {Program.JUPYTERLAB: "/api/kernels"}


def busy(answer: object) -> bool:
    """Whether one of the kernels computes, from Jupyter's list of them. What isn't one says nothing."""
    rows = answer if isinstance(answer, list) else []
    return any(isinstance(row, dict) and row.get("execution_state") == "busy" for row in rows)
