"""Madang from Python: the same words as the pages and the command.

    from madang.client import Client

    with Client("https://madang.example", token="mdg_…") as madang:
        for found in madang.get("/calls/", stage="open")["items"]:
            print(found["call"]["title_ko"])

Every answer that isn't what was asked for is raised as a `Problem`, with the message that a person would have seen.
"""

from __future__ import annotations

import builtins
import hashlib
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote
from uuid import UUID, uuid4

if TYPE_CHECKING:
    import httpx  # where it is used, since half of the command's verbs ask no site

PART = 8 * 1024 * 1024  # bytes of an upload in one request
MOST_BREAKS = 5  # so often a file goes on after the line broke …
PAUSE_S = 0.5  # … each time after so much longer a pause


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


def _node(cluster: str, node: str, verb: str) -> str:
    return f"/compute/nodes/{quote(cluster, safe='')}/{quote(node, safe='')}/{verb}"


class Client:
    """A connection to one site. `token` comes from the page “API tokens”; without one only public things are read."""

    def __init__(self, url: str, token: str | None = None, *, language: str = "en", timeout: float = 60) -> None:
        import httpx

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
        """Write the answer to `to`, by a temporary name beside it; gives the number of bytes as they arrive.

        Where the line breaks, it goes on from there, a few times; a file that changed meanwhile begins anew, and what
        had come of it is given back as a negative number.
        """
        import httpx

        part = to.with_name(f".{uuid4().hex}.part")  # nobody has it, and it is no longer than a name may be
        try:
            with part.open("xb") as file:
                etag, breaks = "", 0
                while True:
                    there = file.tell()
                    headers = {"Range": f"bytes={there}-", "If-Range": etag} if there and etag else {}
                    try:
                        with self._http.stream("GET", path, params=query or None, headers=headers) as answer:
                            if not answer.is_success:
                                answer.read()
                                raise self._problem(answer)
                            if there and answer.status_code != 206:
                                file.seek(0)
                                file.truncate()
                                yield -there
                            etag = answer.headers.get("etag", "")
                            for piece in answer.iter_bytes():
                                file.write(piece)
                                yield len(piece)
                        break
                    except httpx.RequestError:
                        breaks += 1
                        if breaks > MOST_BREAKS or file.tell() == there:  # nothing came at all: nobody is there
                            raise
                        time.sleep(breaks * PAUSE_S)
            part.replace(to)
        except httpx.RequestError as error:
            raise Unreachable(self.url) from error
        finally:
            part.unlink(missing_ok=True)

    def upload(self, source: Path, *, grant: str, path: str | None = None) -> Iterator[int]:
        """Keep a file with a project, under its own name where no `path` is given; gives the number of bytes that are
        there, first those that had come before. What is there already isn't sent again. Where the line breaks, or this
        is begun anew, it goes on from what has come."""
        with source.open("rb") as content:
            size = source.stat().st_size
            body = {
                "grant": grant,
                "path": path or source.name,
                "size": size,
                "sha256": hashlib.file_digest(content, "sha256").hexdigest(),
            }
            file = dict(self.post("/compute/project-files", body))
            yield file["received"]
            breaks = 0
            while not file["ready"]:
                before = file["received"]
                content.seek(before)
                try:
                    file = self._put_part(file, content.read(PART))
                except (Unreachable, Problem) as problem:
                    breaks += 1
                    if problem.status not in (0, 409) or breaks > MOST_BREAKS:
                        raise
                    time.sleep(breaks * PAUSE_S)
                    file = dict(self.get(f"/compute/project-files/{file['id']}"))
                yield file["received"] - before

    def _put_part(self, file: dict[str, Any], data: builtins.bytes) -> dict[str, Any]:
        address, at = f"/compute/project-files/{file['id']}/bytes", {"offset": file["received"]}
        headers = {"Content-Type": "application/octet-stream"}
        return dict(self._said(self._answer("PUT", address, params=at, content=data, headers=headers)))

    def project_files(self, grant: str | None = None) -> list[dict[str, Any]]:
        """The files of your projects, or of the one with this number."""
        return list(self.get("/compute/project-files", grant=grant)["items"])

    def health(self) -> dict[str, Any]:
        """How the clusters are, for operators and stewards: what each last said, and its alarms."""
        return dict(self.get("/compute/health"))

    def balance(self) -> list[dict[str, Any]]:
        """The allocations that jobs can run on now; amounts in GPU-seconds."""
        return list(self.get("/compute/balance")["items"])

    def partitions(self) -> list[dict[str, Any]]:
        """What the site has to run jobs on, whether one may use it or not."""
        return list(self.get("/compute/partitions")["items"])

    def templates(self) -> list[dict[str, Any]]:
        """The scripts to start from, with what each asks for."""
        return list(self.get("/compute/templates")["items"])

    def forecast(self, *, allocation: int, limit_s: int, gpus: int = 1, tasks: int = 1) -> dict[str, Any]:
        """What a job would hold (GPU-seconds), cost (KRW) and wait for; nothing is submitted."""
        return dict(self.get("/compute/forecast", allocation=allocation, limit_s=limit_s, gpus=gpus, tasks=tasks))

    def submit(
        self,
        *,
        allocation: int,
        name: str,
        script: str,
        limit_s: int,
        gpus: int = 1,
        arguments: Sequence[str] = (),
        tasks: int = 1,
        parallel: int = 0,
        parameters: str = "",
        files: Sequence[str] = (),
        requeue: bool = False,
        uuid: UUID | None = None,
    ) -> dict[str, Any]:
        """Submit a job of `tasks` tasks, or of one for each row of `parameters`, a table in CSV. Each finds a copy of
        `files`, named files of the project (see `upload`), where it starts. With `requeue` it is started again where
        its node failed or it was preempted. Without a `uuid` it gets a new one: name your own where it may be submitted
        twice."""
        body = {
            "uuid": str(uuid or uuid4()),
            "allocation": allocation,
            "name": name,
            "script": script,
            "gpus": gpus,
            "limit_s": limit_s,
            "arguments": list(arguments),
            "tasks": tasks,
            "parallel": parallel,
            "parameters": parameters,
            "files": list(files),
            "requeue": requeue,
        }
        return dict(self.post("/compute/jobs", body))

    def submit_each(
        self,
        *,
        allocation: int,
        scripts: Sequence[dict[str, Any]],
        limit_s: int,
        gpus: int = 1,
        arguments: Sequence[str] = (),
        requeue: bool = False,
    ) -> list[dict[str, Any]]:
        """Submit up to 1,000 scripts, a job for each, or none of them. Each has a `name` and a `script`, and a `uuid`
        where it may be submitted twice."""
        body = {
            "allocation": allocation,
            "scripts": [{"uuid": str(uuid4()), **one} for one in scripts],
            "gpus": gpus,
            "limit_s": limit_s,
            "arguments": list(arguments),
            "requeue": requeue,
        }
        return list(self.post("/compute/jobs/each", body)["items"])

    def jobs(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """The jobs of your organization, newest first, page by page: `whose`, `state`, `allocation` as in the API."""
        return self._pages("/compute/jobs", **filters)

    def logs(self, job: str, task: int = 0) -> str:
        """All that a task has written to its log so far."""
        at, text = 0, ""
        while True:
            part = self.get(f"/compute/jobs/{job}/log", offset=at, task=task)
            text += part["text"]
            if part["next"] >= part["size"] or part["next"] == at:
                return text
            at = part["next"]

    def again(self, job: str, **changes: Any) -> dict[str, Any]:
        """Submit a job once more, as a new one: as it was, but for `changes` (as those of `submit`)."""
        return self.submit(**{**self.get(f"/compute/jobs/{job}/request"), **changes})

    def metrics(self, job: str, task: int = 0) -> dict[str, Any]:
        """What the GPUs of a task do: the newest sample of each, and all of them over time."""
        return dict(self.get(f"/compute/jobs/{job}/metrics", task=task))

    def cancel(self, job: str) -> dict[str, Any]:
        return dict(self.post(f"/compute/jobs/{job}/cancel"))

    def site_jobs(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """For operators: what runs or waits, of all organizations, newest first; of a `cluster` or `partition`."""
        return self._pages("/compute/site-jobs", **filters)

    def end_job(self, job: str, *, reason: str) -> dict[str, Any]:
        """For operators: have a job of anybody end. Whose it is reads the `reason`, and is charged for what it used."""
        return dict(self.post(f"/compute/site-jobs/{job}/end", {"reason": reason}))

    def nodes(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """For operators: the machines of the clusters, page by page; of a `cluster`, a `name` or a `state`."""
        return self._pages("/compute/nodes", limit=1000, **filters)

    def drain(self, node: str, *, cluster: str, reason: str) -> dict[str, Any]:
        """Have a node start nothing more; what runs there goes on. The `wish` stands until the cluster did it."""
        return dict(self.post(_node(cluster, node, "drain"), {"reason": reason}))

    def resume(self, node: str, *, cluster: str) -> dict[str, Any]:
        """Have a node take jobs again."""
        return dict(self.post(_node(cluster, node, "resume")))

    def maintenance(self) -> list[dict[str, Any]]:
        """For operators: the maintenance that is to come or goes on, the next one first."""
        return list(self.get("/compute/maintenance")["items"])

    def plan_maintenance(
        self,
        *,
        cluster: str,
        starts_at: datetime,
        ends_at: datetime,
        reason: str,
        partition: str = "",
        nodes: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Announce that these nodes, those of a partition, or all of a cluster are out of service. An instant without a
        zone is Korean time."""
        body = {"cluster": cluster, "partition": partition, "nodes": list(nodes), "reason": reason}
        times = {"starts_at": starts_at.isoformat(), "ends_at": ends_at.isoformat()}
        return dict(self.post("/compute/maintenance", body | times))

    def change_maintenance(
        self,
        id: int,
        *,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
        reason: str | None = None,
    ) -> dict[str, Any]:
        """Move, lengthen or shorten it, or say the reason anew."""
        times = {"starts_at": starts_at and starts_at.isoformat(), "ends_at": ends_at and ends_at.isoformat()}
        return dict(self.patch(f"/compute/maintenance/{id}", {**times, "reason": reason}))

    def withdraw_maintenance(self, id: int) -> dict[str, Any]:
        """It isn't any more, also where it has begun: jobs start again."""
        return dict(self.post(f"/compute/maintenance/{id}/withdraw"))

    def session_kinds(self) -> list[dict[str, Any]]:
        """The programs that the site offers for interactive use."""
        return list(self.get("/compute/session-kinds")["items"])

    def start_session(
        self,
        *,
        kind: str,
        allocation: int,
        limit_s: int,
        gpus: int = 1,
        files: Sequence[str] = (),
        uuid: UUID | None = None,
    ) -> dict[str, Any]:
        """Start an interactive session, with these files of the project in its folder. It is opened in a browser, from
        the page that its `url` names."""
        body = {"uuid": str(uuid or uuid4()), "kind": kind, "allocation": allocation, "gpus": gpus, "limit_s": limit_s}
        return dict(self.post("/compute/sessions", {**body, "files": list(files)}))

    def sessions(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """The sessions of your organization, newest first, page by page; with `state="live"` only live ones."""
        return self._pages("/compute/sessions", **filters)

    def session(self, uuid: str) -> dict[str, Any]:
        return dict(self.get(f"/compute/sessions/{uuid}"))

    def end_session(self, uuid: str) -> dict[str, Any]:
        """End it: what it used is charged, the rest comes back."""
        return dict(self.post(f"/compute/sessions/{uuid}/end"))

    def cp(self, job: str, path: str, to: Path, task: int = 0) -> Iterator[int]:
        """Fetch a file that a task wrote; as `download`."""
        return self.download(f"/compute/jobs/{job}/files/{quote(path)}", to, task=task)

    def _pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """What a list holds, page by page."""
        after = None
        while True:
            page = self.get(path, after=after, **query)
            yield from page["items"]
            if (after := page["next"]) is None:
                return

    def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        import httpx

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
