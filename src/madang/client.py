"""Madang from Python: the same words as the pages and the command.

    from madang.client import Client

    with Client("https://madang.example", token="mdg_…") as madang:
        for found in madang.get("/calls/", stage="open")["items"]:
            print(found["call"]["title_ko"])

Every answer that isn't what was asked for is raised as a `Problem`, with the message that a person would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx


class Problem(Exception):
    """The site refused: `status` as in HTTP, `title` for people, `where` names the inputs it is about, `errors` says
    what is wrong with each of them.
    """

    def __init__(
        self, status: int, title: str, where: list[str] | None = None, errors: dict[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status, self.title, self.where, self.errors = status, title, where or [], errors or {}


class Unreachable(Problem):
    """Nobody answers at that address."""

    def __init__(self, url: str) -> None:
        super().__init__(0, f"no answer from {url}")


class Client:
    """A connection to one site. `token` comes from the page “API tokens”; without one only public things are read."""

    def __init__(self, url: str, token: str | None = None, *, language: str = "en", timeout: float = 60) -> None:
        headers = {"Accept-Language": language}
        if token:
            if not token.isascii() or not token.isprintable():
                raise Problem(401, "this is not a token")
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        try:
            # A redirect is not followed: the token is for this site and no other.
            self._http = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout, trust_env=False)
        except httpx.InvalidURL as error:
            raise Unreachable(self.url) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._said(self._answer("GET", path, params={k: v for k, v in query.items() if v is not None}))

    def post(self, path: str, body: Any = None, *, files: Any = None, form: Any = None) -> Any:
        """POST `body` as JSON, or `form` and `files` as a form with attachments."""
        alone = files is None and form is None
        return self._said(self._answer("POST", path, json=body if alone else None, files=files, data=form))

    def put(self, path: str, body: Any) -> Any:
        return self._said(self._answer("PUT", path, json=body))

    def patch(self, path: str, body: Any) -> Any:
        return self._said(self._answer("PATCH", path, json=body))

    def delete(self, path: str) -> Any:
        return self._said(self._answer("DELETE", path))

    def bytes(self, path: str, **query: Any) -> bytes:
        return self._answer("GET", path, params=query).content

    def download(self, path: str, to: Path, **query: Any) -> Iterator[int]:
        """Write the answer to `to`, by a temporary name beside it; gives the number of bytes as they arrive."""
        part = to.with_name(f".{uuid4().hex}.part")  # nobody has it, and it is no longer than a name may be
        try:
            with self._http.stream("GET", path, params=query or None) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._problem(answer)
                with part.open("xb") as file:
                    for piece in answer.iter_bytes():
                        file.write(piece)
                        yield len(piece)
            part.replace(to)
        except httpx.RequestError as error:
            raise Unreachable(self.url) from error
        finally:
            part.unlink(missing_ok=True)

    def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **request)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise Unreachable(self.url) from error
        if not answer.is_success:
            raise self._problem(answer)
        return answer

    def _said(self, answer: httpx.Response) -> Any:
        """The answer's JSON, None for an empty one."""
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise Problem(answer.status_code, f"what answers at {self.url} is not Madang") from None

    def _problem(self, answer: httpx.Response) -> Problem:
        if answer.has_redirect_location:
            return Problem(
                answer.status_code, f"{self.url} sends on to {answer.headers['location']}: name that address"
            )
        try:
            said = answer.json()
            return Problem(
                answer.status_code, str(said["title"]), list(said.get("where", [])), dict(said.get("errors", {}))
            )
        except (ValueError, KeyError, TypeError):
            return Problem(answer.status_code, f"the site answered {answer.status_code}")
