"""`python -m madang.server.sessions`: the proxy before interactive sessions, a process beside the web server.

Each session has a host name of its own, so that what is shown there can't script another session or the portal. Nothing
passes but what comes with the cookie of that session, from its own pages: a page of another host is refused also where
the browser would send the cookie along. The program behind it sees neither that cookie nor who asks. It listens at a
Unix socket in its run's folder, or on a node of a cluster: who has the node's port and not the session's certificate is
told nothing.

It also sees when something is done in a session, and asks for the end of one in which nothing is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import resource
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html import escape
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import django
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from madang.engines.base import EngineError, Port, RunKey, Socket

T = TypeVar("T")
LOOK_S = 2.0
TRUST_S = 3.0  # how long an answer to "may they?" holds
MOST_MESSAGE = 64 << 20  # bytes of one WebSocket message
MOST_OPEN = 200  # requests of one session that are answered at a time, its WebSockets included
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
KNOCK = "madang-session"  # the header that `door` wants the token in
# Of one connection and not of the message, or words of a proxy that nobody but us may say.
HOP = {
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade", "expect", "content-length", "forwarded", "x-real-ip", "alt-svc", "via"),
    KNOCK,
}
# Nobody listens there any more, or somebody else does.
ELSEWHERE = (aiohttp.ClientConnectorError, aiohttp.ServerFingerprintMismatch, aiohttp.ConnectionTimeoutError)
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
logger = logging.getLogger(__name__)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Behind:
    """One session's program, where it listens. Good until it is somewhere else."""

    def __init__(self, way: Socket | Port) -> None:
        self.way = way
        connector: aiohttp.BaseConnector
        if isinstance(way, Socket):
            self.url, says = "http://localhost", {}
            connector = aiohttp.UnixConnector(path=f"/proc/self/fd/{way.fd}", limit=0, force_close=True)
        else:
            host = f"[{way.host}]" if ":" in way.host else way.host
            self.url, says = f"https://{host}:{way.port}", {KNOCK: way.token}
            connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=aiohttp.Fingerprint(way.certificate))
        self.http = aiohttp.ClientSession(
            connector=connector,
            headers=says,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=10),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    def address(self, path: str) -> URL:
        return URL(self.url + path, encoded=True)

    async def close(self) -> None:
        await self.http.close()
        _close(self.way)


class Proxy:
    """`portal`: the address to send people to who may not come in (yet)."""

    def __init__(self, portal: str) -> None:
        from madang.facilities.compute import programs, sessions

        self.sessions, self.portal, self.by_itself = sessions, portal, programs.by_itself
        self.origin_is_secure = sessions.origin_of(UUID(int=0)).startswith("https://")
        self.cookie = "__Host-madang" if self.origin_is_secure else "madang"
        self.pool = ThreadPoolExecutor(4, "database")
        self.doors: dict[str, ThreadPoolExecutor] = {}  # by engine: one that doesn't answer keeps no other waiting
        self.behind: dict[UUID, Behind] = {}
        self.finding: dict[UUID, asyncio.Task[Behind | None]] = {}
        self.found_at: dict[UUID, float] = {}
        self.trying: dict[UUID, asyncio.Task[None]] = {}
        self.live: dict[UUID, Any] = {}
        self.trusted: dict[tuple[UUID, str], tuple[float, bool]] = {}
        self.used: set[UUID] = set()
        self.open: set[tuple[UUID, str, asyncio.Task[Any]]] = set()
        self.stop = asyncio.Event()

    async def ask(self, question: Callable[..., T], *args: Any, pool: ThreadPoolExecutor | None = None) -> T:
        """A question to the database, in a thread that gives its connection back."""

        def asked() -> T:
            from django.db import connection

            try:
                return question(*args)
            finally:
                connection.close()

        return await asyncio.get_running_loop().run_in_executor(pool or self.pool, asked)

    # -- who comes in --------------------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        uuid = self.sessions.uuid_of(hosts[0].lower()) if len(hosts) == 1 else None
        if uuid is None:
            return _page(404, "There is no such session.", "그런 세션이 없습니다.")
        if request.method not in METHODS or not request.raw_path.startswith("/"):
            return _page(400, "This can't be asked here.", "여기에서 할 수 없는 요청입니다.")
        if request.path == "/.madang/enter":
            return await self._enter(request, uuid)
        if not self._from_itself(request, uuid):
            return _page(403, "Only the session's own pages may ask this.", "세션 자신의 페이지만 요청할 수 있습니다.")
        cookies, others = _cookies(request, self.cookie)
        if len(cookies) != 1 or not await self._admitted(uuid, cookies[0]):
            return _page(
                403,
                "This session isn't open to you, or has ended.",
                "이 세션은 열려 있지 않거나 종료되었습니다.",
                f"{self.portal}/compute/sessions/{uuid}/",
            )
        behind = await self._behind(uuid)
        if behind is None:
            return _page(503, "The session doesn't answer yet.", "세션이 아직 응답하지 않습니다.")
        headers = _passed(request.headers, without={"cookie", *_named(request.headers)})
        if others:
            headers["Cookie"] = others
        if sum(where == uuid for where, _cookie, _task in self.open) >= MOST_OPEN:
            return _page(503, "Too much is asked of this session at once.", "이 세션에 요청이 한꺼번에 너무 많습니다.")
        task = asyncio.current_task()
        assert task
        mine = (uuid, cookies[0], task)
        self.open.add(mine)
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._talk(request, uuid, behind, headers)
            return await self._pass(request, uuid, behind, headers)
        except aiohttp.ClientError as error:
            if isinstance(error, ELSEWHERE):
                await self._forget(uuid, behind)
            return _page(502, "The session doesn't answer.", "세션이 응답하지 않습니다.")
        finally:
            self.open.discard(mine)

    async def _enter(self, request: web.BaseRequest, uuid: UUID) -> web.StreamResponse:
        """The ticket becomes the cookie. Nothing of the address goes on: not to the program, not as a referrer."""
        from madang.workflow.errors import Refused

        ticket = request.query.get("ticket", "")
        try:
            if request.method != "GET" or not TOKEN.fullmatch(ticket):
                raise LookupError
            secret = await self.ask(self.sessions.enter, uuid, ticket)
        except (Refused, LookupError):
            return _page(
                403,
                "This way in has been used or is too old.",
                "이미 사용했거나 유효 시간이 지난 주소입니다.",
                f"{self.portal}/compute/sessions/{uuid}/",
            )
        answer = web.Response(status=303, headers={"Location": "/", **_PRIVATE})
        answer.set_cookie(self.cookie, secret, path="/", httponly=True, samesite="Lax", secure=self.origin_is_secure)
        return answer

    def _from_itself(self, request: web.BaseRequest, uuid: UUID) -> bool:
        """Sessions are one site to a browser, which sends the cookie of one with what a page of another asks of it."""
        own, said = self.sessions.origin_of(uuid), request.headers.getall("Origin", [])
        socket = request.headers.get("Upgrade", "").lower() == "websocket"
        if said != [own] and (said or socket):
            return False
        if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
            return True
        arrives = request.headers.get("Sec-Fetch-Mode") == "navigate", request.headers.get("Sec-Fetch-Dest")
        return request.method == "GET" and not socket and arrives == (True, "document")

    async def _admitted(self, uuid: UUID, cookie: str) -> bool:
        if not TOKEN.fullmatch(cookie):
            return False
        known = self.trusted.get((uuid, cookie))
        if known is None or known[0] < time.monotonic():
            good = await self.ask(self.sessions.admitted, uuid, cookie)
            if len(self.trusted) > 10_000:
                self.trusted.clear()
            known = self.trusted[uuid, cookie] = time.monotonic() + TRUST_S, good
        return known[1]

    # -- what passes ---------------------------------------------------------------------------------------------

    async def _behind(self, uuid: UUID) -> Behind | None:
        """Where a session is. Its engine is asked once for all who want to know, and no more often than we look: a job
        may say any time that it is somewhere else."""
        if (known := self.behind.get(uuid)) is not None:
            return known
        live = self.live.get(uuid)
        if live is None or (uuid not in self.finding and time.monotonic() < self.found_at.get(uuid, 0.0) + LOOK_S):
            return None
        if uuid not in self.finding:
            self.finding[uuid] = asyncio.create_task(self._find(uuid, live.engine))
        return await asyncio.shield(self.finding[uuid])

    async def _find(self, uuid: UUID, engine: str) -> Behind | None:
        try:
            pool = self.doors.setdefault(engine, ThreadPoolExecutor(4, "doors"))  # without a thread until it is used
            way = await self.ask(_way_in, uuid, engine, pool=pool)
            if way is None:
                return None
            self.behind[uuid] = Behind(way)
            return self.behind[uuid]
        finally:
            self.found_at[uuid] = time.monotonic()
            del self.finding[uuid]

    async def _forget(self, uuid: UUID, behind: Behind | None = None) -> None:
        if (known := self.behind.get(uuid)) and behind in (None, known):
            del self.behind[uuid]
            await known.close()

    async def _pass(
        self, request: web.BaseRequest, uuid: UUID, behind: Behind, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        does = request.method not in ("GET", "HEAD", "OPTIONS") or request.headers.get("Sec-Fetch-Mode") == "navigate"
        if does and (live := self.live.get(uuid)) and not self.by_itself(live.program, request.path):
            self.used.add(uuid)
        if request.content_length is not None:
            headers["Content-Length"] = str(request.content_length)
        url = behind.address(request.raw_path)
        body = request.content if request.body_exists else None
        async with behind.http.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            if not 200 <= answer.status < 600:  # also 101: nobody asked for another protocol
                return _page(502, "The session doesn't answer.", "세션이 응답하지 않습니다.")
            back = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in _passed(answer.headers, without=_named(answer.headers)).items():
                if name.lower() != "set-cookie":
                    back.headers.add(name, value)
                elif self._own_cookie(value):  # the program hears nothing of HTTPS, and can't say it itself
                    back.headers.add(name, f"{value}; Secure" if self.origin_is_secure else value)
            for name, value in _APART.items():
                back.headers.add(name, value)
            if (length := answer.headers.get("Content-Length")) is not None:
                back.headers["Content-Length"] = length
            try:
                await back.prepare(request)
                async for piece in answer.content.iter_any():
                    await back.write(piece)
                await back.write_eof()
            except (aiohttp.ClientError, ConnectionError):  # half is sent: only its end can say so
                if request.transport:
                    request.transport.abort()
            return back

    def _own_cookie(self, said: str) -> bool:
        """Whether a cookie of the program stays on its host, and isn't ours."""
        name = said.partition("=")[0].strip()
        return name != self.cookie and not re.search(r";\s*domain\s*=", said, re.IGNORECASE)

    async def _talk(
        self, request: web.BaseRequest, uuid: UUID, behind: Behind, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        protocols = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
        for name in [name for name in headers if name.lower().startswith("sec-websocket-")]:
            headers.popall(name, None)
        url = behind.address(request.raw_path)
        try:
            inner = await behind.http.ws_connect(
                url, protocols=protocols, headers=headers, max_msg_size=MOST_MESSAGE, autoclose=False
            )
        except aiohttp.WSServerHandshakeError as error:
            status = error.status if 400 <= error.status < 600 else 502
            return _page(status, "The session refuses this connection.", "세션이 연결을 거부했습니다.")
        async with inner:
            outer = web.WebSocketResponse(
                protocols=[inner.protocol] if inner.protocol else [], max_msg_size=MOST_MESSAGE, heartbeat=30
            )
            await outer.prepare(request)
            ways = [
                asyncio.create_task(_relay(outer, inner, lambda: self.used.add(uuid))),
                asyncio.create_task(_relay(inner, outer, lambda: None)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                with suppress(ConnectionError, RuntimeError):
                    await outer.close()
            return outer

    # -- what is looked after ------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Once: which sessions run, which answer, which are used, which aren't, and who has to leave. What a program or
        an engine takes long to answer is seen by a later look: it keeps nobody else in or out."""
        known = self.live
        self.live = {row.uuid: row for row in await self.ask(self.sessions.running)}
        for uuid in [uuid for uuid in self.behind if uuid not in self.live]:
            await self._forget(uuid)
        for uuid in [uuid for uuid in self.found_at if uuid not in self.live]:
            del self.found_at[uuid]
        # Nobody could come in while we didn't look: that time isn't idle.
        used = {uuid for uuid, row in self.live.items() if row.ready and (uuid in self.used or uuid not in known)}
        self.used = set()
        if used:
            await self.ask(self.sessions.was_used, [self.live[uuid].pk for uuid in used])
        for row in self.live.values():
            idle = row.ready and row.idle_s >= row.most_idle_s and row.uuid not in used
            if (idle or not row.ready) and row.uuid not in self.trying:
                self.trying[row.uuid] = asyncio.create_task(self._alone(row, self._idle if idle else self._try))
        if self.trying:
            await asyncio.wait(self.trying.values(), timeout=LOOK_S)
        for uuid, cookie, task in list(self.open):
            if uuid not in self.live or not await self._admitted(uuid, cookie):
                task.cancel()

    async def _alone(self, row: Any, what: Callable[[Any], Awaitable[None]]) -> None:
        """Whatever comes of one session is no reason to look after the others less."""
        try:
            await what(row)
        except Exception as error:
            logger.warning("session %s: %r", row.uuid, error)
        finally:
            del self.trying[row.uuid]

    async def _try(self, row: Any) -> None:
        if await self._get(row.uuid, "/") is not None:
            await self.ask(self.sessions.answered, row.pk)

    async def _idle(self, row: Any) -> None:
        """Ask the program itself before it is ended: one that computes isn't idle, whoever looks on."""
        from madang.facilities.compute import programs

        path = programs.BUSY.get(row.program)
        answer = await self._get(row.uuid, path) if path else None
        with suppress(ValueError):
            if answer and programs.busy(json.loads(answer)):
                await self.ask(self.sessions.was_used, [row.pk])
                return
        await self.ask(self.sessions.end_idle, row.pk)

    async def _get(self, uuid: UUID, path: str) -> bytes | None:
        """The first megabyte of what the program answers; None where it doesn't."""
        try:
            if (behind := await self._behind(uuid)) is None:
                return None
            patience = aiohttp.ClientTimeout(total=5, sock_connect=4)
            async with behind.http.get(behind.address(path), timeout=patience, allow_redirects=False) as answer:
                return await answer.content.read(1 << 20)
        except (aiohttp.ClientError, TimeoutError) as error:
            if isinstance(error, ELSEWHERE):
                await self._forget(uuid)
            return None

    async def watch(self) -> None:
        while not self.stop.is_set():
            try:
                await self.look()
            except Exception:  # the database may be gone for a while
                logger.exception("the sessions could not be looked at")
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), LOOK_S)

    async def serve(self, host: str, port: int) -> None:
        """Until `stop` is set."""
        runner = web.ServerRunner(
            web.Server(
                self.handle, handler_cancellation=True, auto_decompress=False, access_log=None, max_field_size=32_768
            ),
            shutdown_timeout=2,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            await self.watch()
        finally:
            await runner.cleanup()
            for uuid in list(self.behind):
                await self._forget(uuid)
            for task in [*self.trying.values(), *self.finding.values()]:
                task.cancel()
            self.pool.shutdown()
            for pool in self.doors.values():
                pool.shutdown(wait=False, cancel_futures=True)


def _way_in(uuid: UUID, engine: str) -> Socket | Port | None:
    from madang.jobs.engines import engine_named

    try:
        return engine_named(engine).way_in(RunKey(uuid))
    except EngineError as error:  # it isn't there yet, or the cluster doesn't answer
        logger.debug("session %s: %s", uuid, error)
        return None


def _close(way: Socket | Port) -> None:
    if isinstance(way, Socket):
        os.close(way.fd)


def _cookies(request: web.BaseRequest, name: str) -> tuple[list[str], str]:
    """(the values of our cookie, all others as they were): a page may try to send two of ours."""
    pairs = [pair.strip() for line in request.headers.getall("Cookie", []) for pair in line.split(";")]
    ours = [pair.partition("=")[2].strip() for pair in pairs if pair.partition("=")[0].strip() == name]
    return ours, "; ".join(pair for pair in pairs if pair and pair.partition("=")[0].strip() != name)


def _named(headers: Any) -> set[str]:
    """What a message itself calls words of its connection."""
    return {name.strip().lower() for line in headers.getall("Connection", []) for name in line.split(",")}


def _passed(headers: Any, *, without: Iterable[str] = ()) -> CIMultiDict[str]:
    left_out = HOP | set(without)
    kept = ((k, v) for k, v in headers.items() if k.lower() not in left_out and not k.lower().startswith("x-forwarded"))
    return CIMultiDict(kept)


async def _relay(source: Any, target: Any, seen: Callable[[], object]) -> None:
    """Messages one way, until it is closed."""
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
        else:
            return
        seen()


# No other page may frame what is shown, hold its window or load it. A program's own words on this count as well.
_APART = {
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}


def _page(status: int, english: str, korean: str, back: str = "") -> web.Response:
    link = f'<p><a href="{escape(back)}" rel="noreferrer">세션 페이지 · the page of the session</a></p>' if back else ""
    text = (
        f'<!doctype html><html lang="ko"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{status}</title><style>body{{font:1.1rem/1.6 system-ui;margin:15vh auto;max-width:32rem;"
        f'padding:0 1rem}}</style><h1>{korean}</h1><p lang="en">{english}</p>{link}</html>'
    )
    headers = {**_PRIVATE, "Content-Security-Policy": POLICY}
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)


async def _run(listen: str) -> None:
    from django.conf import settings

    host, _colon, port = listen.rpartition(":")
    proxy = Proxy(settings.PUBLIC_URL)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, proxy.stop.set)
    await proxy.serve(host.strip("[]"), int(port))


def main() -> None:
    django.setup()
    from django.conf import settings

    if not settings.SESSIONS_URL:
        raise SystemExit("MADANG_SESSIONS_URL isn't set: see docs/operator/sessions.md")
    url = urlsplit(settings.SESSIONS_URL)
    local = url.hostname == "localhost" or (url.hostname or "").endswith(".localhost")
    if url.scheme != "https" and not (url.scheme == "http" and local):
        # Only then do browsers say whose page asks, and keep a cookie from being set by another session.
        raise SystemExit("MADANG_SESSIONS_URL must be https://…, or http:// and a name below localhost")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each that is open takes two descriptors
    asyncio.run(_run(settings.SESSIONS_LISTEN))


if __name__ == "__main__":
    main()
