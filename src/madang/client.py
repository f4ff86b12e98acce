"""Madang from Python: the same words as the pages and the command.

    from madang.client import Client

    with Client("https://madang.example", token="mdg_…") as madang:
        for call in madang.get("/calls/"):
            print(call["title_ko"])

Every answer that isn't what was asked for is raised as a `Problem`, with the message that a person would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx


class Problem(Exception):
    """The site refused: `status` as in HTTP, `title` for people, `where` names the inputs it is about."""

    def __init__(self, status: int, title: str, where: list[str] | None = None) -> None:
        super().__init__(title)
        self.status, self.title, self.where = status, title, where or []


class Unreachable(Problem):
    """Nobody answers at that address."""

    def __init__(self, url: str) -> None:
        super().__init__(0, f"no answer from {url}")


class Client:
    """A connection to one site. `token` comes from the page “API tokens”; without one only public things can be read."""

    def __init__(self, url: str, token: str | None = None, *, language: str = "en", timeout: float = 60) -> None:
        headers = {"Accept-Language": language}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._answer("GET", path, params={k: v for k, v in query.items() if v is not None}).json()

    def post(self, path: str, body: Any = None, *, files: Any = None, form: Any = None) -> Any:
        """POST `body` as JSON, or `form` and `files` as a form with attachments."""
        answer = self._answer("POST", path, json=body if files is None and form is None else None, files=files, data=form)
        return answer.json() if answer.content else None

    def put(self, path: str, body: Any) -> Any:
        return self._answer("PUT", path, json=body).json()

    def patch(self, path: str, body: Any) -> Any:
        return self._answer("PATCH", path, json=body).json()

    def delete(self, path: str) -> Any:
        answer = self._answer("DELETE", path)
        return answer.json() if answer.content else None

    def bytes(self, path: str, **query: Any) -> bytes:
        return self._answer("GET", path, params=query).content

    def download(self, path: str, to: Path) -> Iterator[int]:
        """Write the answer to `to`, by a temporary name beside it; gives the number of bytes as they arrive."""
        part = to.with_name(to.name + ".part")
        with self._http.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
                raise self._problem(answer)
            with part.open("wb") as file:
                for piece in answer.iter_bytes():
                    file.write(piece)
                    yield len(piece)
        part.replace(to)

    def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise Unreachable(self.url) from error
        if answer.is_error:
            raise self._problem(answer)
        return answer

    @staticmethod
    def _problem(answer: httpx.Response) -> Problem:
        try:
            said = answer.json()
            return Problem(answer.status_code, str(said["title"]), list(said.get("where", [])))
        except (ValueError, KeyError, TypeError):
            return Problem(answer.status_code, f"the site answered {answer.status_code}")
