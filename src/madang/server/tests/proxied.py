"""The proxy before sessions, in a thread of the test, and a browser that asks it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Self, TypeVar
from uuid import uuid4

import aiohttp
from django.db import connections
from django.test import Client

from madang.facilities.compute import sessions
from madang.facilities.compute.models import Session
from madang.identity.models import Person

T = TypeVar("T")


class Running:
    """The proxy at a free port, for the time of a test. `url`: what a proxy in front of it is known as, if one is."""

    def __init__(self, settings: Any, url: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings.SESSIONS_URL = url or f"http://sessions.localhost:{self.port}"

    def __enter__(self) -> Self:
        from madang.server.sessions import Proxy

        started = threading.Event()
        self.proxy: Any = None

        async def serve() -> None:
            self.loop, self.proxy = asyncio.get_running_loop(), Proxy("http://portal")
            asyncio.get_running_loop().call_later(0.3, started.set)
            await self.proxy.serve("127.0.0.1", self.port)

        self.thread = threading.Thread(target=lambda: asyncio.run(serve()))
        self.thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: Any) -> None:
        self.loop.call_soon_threadsafe(self.proxy.stop.set)
        self.thread.join(20)
        connections.close_all()

    def look(self) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.look(), self.loop).result(20)

    def until(self, true: Callable[[], Any], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it didn't come to that"
            time.sleep(0.1)


def waited(work: Coroutine[Any, Any, T]) -> T:
    """What it gives. In a thread of its own, as a browser that other tests drive keeps a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@dataclass
class Answer:
    status: int
    headers: Any
    text: str


@dataclass
class Browser:
    """What asks the proxy for a host, with the headers that a browser sends from pages of that host."""

    port: int
    host: str
    cookies: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def ask(self, method: str, path: str, data: Any = None, **headers: str) -> Answer:
        return waited(self._ask(method, path, data, headers))

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        sent = {"Host": self.host, "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return {name: value for name, value in (sent | named).items() if value}

    async def _ask(self, method: str, path: str, data: Any, headers: dict[str, str]) -> Answer:
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.request(
                method,
                f"http://127.0.0.1:{self.port}{path}",
                data=data,
                headers=self._headers(headers),
                allow_redirects=False,
            ) as answer,
        ):
            for line in answer.headers.getall("Set-Cookie", []):
                self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
            return Answer(answer.status, answer.headers, (await answer.read()).decode(errors="replace"))

    def run(self, code: str, seconds: float = 60) -> str:
        """What a cell prints, in a new kernel of a notebook server, over its WebSocket."""
        return waited(asyncio.wait_for(self._run(code), seconds))

    async def _run(self, code: str) -> str:
        xsrf = {"X-XSRFToken": self.cookies.get("_xsrf", ""), "Origin": self.origin}
        said = await self._ask("POST", "/api/kernels", b"{}", {**xsrf, "Content-Type": "application/json"})
        assert said.status == 201, said
        kernel = json.loads(said.text)["id"]
        header = {
            "msg_id": uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": "s",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.ws_connect(
                f"http://127.0.0.1:{self.port}/api/kernels/{kernel}/channels",
                headers=self._headers({"Origin": self.origin}),
            ) as ws,
        ):
            await ws.send_str(json.dumps(request))
            printed = ""
            async for message in ws:
                said_ = json.loads(message.data)
                if said_["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                if said_["msg_type"] in ("stream", "error"):
                    printed += said_["content"].get("text") or "\n".join(said_["content"]["traceback"])
                if said_["msg_type"] == "status" and said_["content"]["execution_state"] == "idle":
                    return printed
            raise AssertionError(f"closed ({ws.close_code}): {printed}")


def browser(proxy: Running, person: Person, session: Session) -> Browser:
    """Somebody who logged in at the portal and opened a session there."""
    client = Client()
    client.force_login(person)
    way = sessions.let_in(person, session=session, login=client.session.session_key or "")
    scheme = sessions.origin_of(session.job.uuid).partition(":")[0]
    made = Browser(proxy.port, sessions.host_of(session.job.uuid), scheme=scheme)
    made.portal = client  # type: ignore[attr-defined]
    answer = made.get(way.removeprefix(made.origin))
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    return made
