"""What a session starts with where it runs on another machine than the proxy: the door to its program.

    python3 -I - <first>-<last> <line of sh> <word> ...        # this file at the standard input

The program listens at the socket $socket, in a folder of this machine ($own) that only its user can enter. Here, at a
port of that range, comes in who knows the token, over TLS under a certificate that is made for this session; what they
say is passed on. The port, the token and the certificate's digest are written into the run's folder, which is closed to
others as well: so nobody who finds the port can come in, and nobody who takes it can be taken for the session.

It runs on the cluster's nodes: nothing but the standard library of Python 3.7, and openssl.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import os
import random
import secrets
import signal
import ssl
import subprocess
import sys
import tempfile

TOKEN = b"madang-session:"
HEAD = 1 << 17  # bytes of the first lines of a request
PATIENCE_S = 10
CERTIFICATE = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "90",
    "-subj",
    "/CN=session",
]


def certificate(own):
    """Make one, with its key: (what serves under it, the SHA-256 of it in hexadecimal)."""
    made, key = own + "/certificate", own + "/key"
    command = ["openssl", "req", "-x509", *CERTIFICATE, "-keyout", key, "-out", made]
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except OSError as lacking:
        sys.exit(f"openssl can't be started on this machine: {lacking.strerror}")
    except subprocess.CalledProcessError as wrong:
        sys.exit(f"openssl makes no certificate on this machine: {wrong.stderr.decode(errors='replace')[-300:]}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    with open(made) as file:
        return context, hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()


async def copy(source, target):
    try:
        while True:
            piece = await source.read(65536)
            if not piece:
                break
            target.write(piece)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()


def passed(head, token):
    """What of the first lines goes on; None where they don't have the token, once."""
    lines = head.split(b"\r\n")
    said = [line for line in lines if line.lower().startswith(TOKEN)]
    known = len(said) == 1 and hmac.compare_digest(said[0].partition(b":")[2].strip(), token)
    return b"\r\n".join(line for line in lines if line not in said) if known else None


async def answer(reader, writer, socket, token):
    """One connection is one request: the proxy opens another for the next."""
    try:
        head = passed(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S), token)
        if head is None:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return writer.close()
        back, forth = await asyncio.open_unix_connection(socket)
    # The last is that the program doesn't listen yet. (Before 3.11 there are two kinds of TimeoutError.)
    except (asyncio.TimeoutError, EOFError, asyncio.LimitOverrunError, OSError):  # noqa: UP041
        return writer.close()
    forth.write(head)
    await asyncio.gather(copy(reader, forth), copy(back, writer))


async def listen(allowed, context, answered):
    first, last = map(int, allowed.split("-"))
    ports = list(range(first, last + 1))
    random.shuffle(ports)
    for port in ports:
        try:
            server = asyncio.start_server(
                answered, None, port, limit=HEAD, ssl=context, ssl_handshake_timeout=PATIENCE_S
            )
            return await server, port
        except OSError:  # somebody else's
            continue
    sys.exit(f"no port from {first} to {last} is free on this machine")


def say(path, facts):
    """Whole or not at all: it is read at any time."""
    with os.fdopen(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(facts, file)
    os.replace(path + ".new", path)


async def main(own, ports, line, words):
    socket, token = own + "/socket", secrets.token_urlsafe(32)
    context, digest = certificate(own)

    def answered(reader, writer):
        return answer(reader, writer, socket, token.encode())

    _server, port = await listen(ports, context, answered)
    program = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", line, "sh", *words,
        env=dict(os.environ, own=own, socket=socket), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)  # the program is told, too, and ends
    say("../door", {"port": port, "token": token, "certificate": digest})
    return await program.wait()


if __name__ == "__main__":
    os.umask(0o077)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # who knocks in vain shall not fill the session's log
    with tempfile.TemporaryDirectory(prefix="session-", dir="/tmp") as folder:
        code = asyncio.run(main(folder, sys.argv[1], sys.argv[2], sys.argv[3:]))
    sys.exit(code if code >= 0 else 128 - code)
