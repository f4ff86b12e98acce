"""One company's story, from the call to the board, played over the API and the command, each step's result checked."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.timezone import localdate

from madang.calls.models import Call
from madang.client import Client, Problem
from madang.demo.cast import FOUNDERS
from madang.demo.reference import HOUR, TB, facts
from madang.identity import actions as identity
from madang.identity.models import Organization, Person

TRAIN = Path(__file__).with_name("train.py")
OPEN = "gpu-open"  # the call that is left open
ENDED_WITHIN_S = 420
logger = logging.getLogger(__name__)

# Made up: the numbers have a right check digit and a beginning that is given to nobody.
COMPANY: dict[str, Any] = {
    "name_ko": "무등비전 주식회사", "name_en": "Mudeung Vision", "kind": "sme", "business_number": "999-81-00015",
    "representative": "서무등", "region": "29", "founded_on": "2024-03-04", "is_youth_startup": True,
}  # fmt: skip
LATE_COMPANY: dict[str, Any] = {
    "name_ko": "늦봄데이터 주식회사", "name_en": "Late Spring Data", "kind": "sme", "business_number": "999-81-00029",
    "representative": "임늦봄", "region": "11", "founded_on": "2021-05-20", "is_youth_startup": False,
}  # fmt: skip
FORM = [
    {"code": "summary", "type": "text", "label_ko": "과제 개요", "label_en": "Summary", "required": True, "most": 2000,
     "hint_ko": "무엇을 만들고 어디에 쓰는지 적어 주십시오.", "hint_en": "What you build and what it is for."},
    {"code": "stage", "type": "choice", "label_ko": "개발 단계", "label_en": "Stage", "required": True, "choices": [
        {"value": "idea", "label_ko": "구상", "label_en": "idea"},
        {"value": "prototype", "label_ko": "시제품", "label_en": "prototype"},
        {"value": "service", "label_ko": "서비스 중", "label_en": "in service"}]},
    {"code": "users", "type": "number", "label_ko": "현재 이용자 수", "label_en": "Users today", "required": True,
     "least": 0, "most": 100_000_000, "shown_if": {"field": "stage", "in": ["service"]}},
    {"code": "data", "type": "yes", "label_ko": "개인정보를 사용합니까?", "label_en": "Do you use personal data?"},
    {"code": "plan", "type": "file", "label_ko": "사업계획서", "label_en": "Project plan", "required": True,
     "identity": True},
]  # fmt: skip
CRITERIA = [
    {"code": "impact", "name_ko": "파급효과", "name_en": "Impact", "points": 30},
    {"code": "excellence", "name_ko": "기술 우수성", "name_en": "Technical merit", "points": 40, "least": 20},
    {"code": "feasibility", "name_ko": "실현 가능성", "name_en": "Feasibility", "points": 30},
]
PLAN = (  # an empty page
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


class WentWrong(Exception):
    """A step's result is not what the story says."""


@dataclass
class Step:
    title: str
    play: Callable[[], tuple[str, str]]


class Story:
    """Plays all steps in order and stops at the first whose result is wrong. A second story on the same site works."""

    def __init__(
        self, url: str, staff: dict[str, Person], say: Callable[[str], None], watch: Callable[[], None]
    ) -> None:
        self.url, self.say, self.watch = url, say, watch
        self.people: dict[str, Person] = dict(staff)
        self.known = facts()["call"]
        self.tokens: dict[str, str] = {}
        self.clients: dict[str, Client] = {}
        self.code = self.grant = self.job = ""
        self.application = self.assignments = 0
        self.steps = [
            Step("The officer publishes the call", self.publish),
            Step("A company registers and applies", self.apply),
            Step("The officer screens, two reviewers score blind", self.evaluate),
            Step("The officer decides and announces", self.decide),
            Step("The company accepts the agreement", self.accept),
            Step("A member runs a real training job", self.run),
            Step("The company reports an outcome, the officer verifies", self.report),
            Step("The board shows it", self.board),
        ]
        self.LENGTH = len(self.steps)

    def play(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        try:
            for number, step in enumerate(self.steps, 1):
                self.say(f"{number}/{self.LENGTH} {step.title}")
                began = time.monotonic()
                try:
                    what, link = step.play()
                    ok = True
                except (WentWrong, Problem) as wrong:
                    what, link, ok = f"{type(wrong).__name__}: {wrong}", "/", False
                except Exception as wrong:  # an answer in another shape than the story expects is a wrong result, too
                    logger.exception("the step %r", step.title)
                    what, link, ok = f"{type(wrong).__name__}: {wrong}", "/", False
                seconds = round(time.monotonic() - began, 1)
                told.append({"step": step.title, "what": what, "seconds": seconds, "link": link, "ok": ok})
                if not ok:
                    break
        finally:
            for client in self.clients.values():
                client.__exit__(None, None, None)
        return told

    # --- the steps ----------------------------------------------------------------------------------------------------

    def publish(self) -> tuple[str, str]:
        officer = self.as_("officer")
        self.code = self._free_code()
        opens, began = self._clock(officer), time.monotonic()
        closes = _full_minute(opens + timedelta(minutes=2))
        self._write_call(officer, self.code, opens, closes)
        # To the minute, as calls do, and no sooner than the applications can be written at the speed seen so far.
        room = timedelta(seconds=max(10.0, 6 * (time.monotonic() - began)))
        closes = _full_minute(self._clock(officer) + room)
        dates = {"closes_at": closes.isoformat(), "announces_at": (closes + timedelta(days=14)).isoformat()}
        officer.patch(f"/calls/{self.code}", dates)
        call = officer.post(f"/calls/{self.code}/publish")
        self._check(call["stage"] == "open", f"the call is {call['stage']}, not open")
        self._check(not call["problems"], f"problems: {call['problems']}")
        self.closes = closes
        return (
            f"{self.known['title']['ko']}, until {closes.astimezone(_seoul()):%Y-%m-%d %H:%M}",
            f"/calls/{self.code}/",
        )

    def apply(self) -> tuple[str, str]:
        lead = self.newcomer("tenant lead")
        organization = self._organization(lead, COMPANY)
        late = self.newcomer("late applicant")
        late_application = self._draft(late, self._organization(late, LATE_COMPANY), "늦은 봄의 데이터")
        self.application = self._draft(lead, organization, "무등산 산불 조기 감지 모델")
        receipt = lead.post(f"/calls/applications/{self.application}/submit", {})
        self._check(receipt["number"].endswith("-0001"), f"receipt number {receipt['number']}")
        self._wait_until(self.closes, "the deadline, to the minute")
        refused = self._refused(lambda: late.post(f"/calls/applications/{late_application}/submit", {}))
        deadline = f"{self.closes.astimezone(_seoul()):%Y-%m-%d %H:%M}"
        self._check(refused.status == 422 and deadline in refused.title, f"the late one was answered: {refused.title}")
        return f"receipt {receipt['number']}; one second late is refused", f"/applications/{self.application}/"

    def evaluate(self) -> tuple[str, str]:
        officer = self.as_("officer")
        officer.post(f"/calls/{self.code}/evaluate")
        screened = officer.post(f"/calls/applications/{self.application}/check")
        answers = [rule["answer"] for rule in screened["rules"]]
        self._check(answers == ["pass", "pass"], f"the rules say {answers}")
        officer.post(f"/calls/applications/{self.application}/find_eligible", {"reason": "요건을 모두 갖추었습니다."})
        officer.post(f"/calls/{self.code}/assign")
        scored = 0
        for key, points in (("reviewer-1", (26, 34, 25)), ("reviewer-2", (24, 32, 27))):
            reviewer = self.as_(key)
            for row in reviewer.get("/calls/reviews", limit=200)["items"]:
                if row["call"] != self.code or row["state"] != "assigned":
                    continue
                page = reviewer.get(f"/calls/reviews/{row['id']}")
                for secret in (COMPANY["name_ko"], COMPANY["name_en"], "999-81-00015", "9998100015", "서무등"):
                    self._check(str(secret) not in json.dumps(page, ensure_ascii=False), f"a reviewer sees {secret}")
                scores = dict(zip(("impact", "excellence", "feasibility"), points, strict=True))
                reviewer.post(f"/calls/reviews/{row['id']}", {"scores": scores, "comment": "실현 가능성이 높습니다."})
                scored += 1
        self._check(scored == 2, f"{scored} reviews instead of 2")
        return "eligible by 2 rules; 2 blind reviews", f"/applications/{self.application}/screening/"

    def decide(self) -> tuple[str, str]:
        officer = self.as_("officer")
        asked = {
            line["resource"]: line for line in officer.get(f"/calls/applications/{self.application}/screening")["lines"]
        }
        amounts = {str(asked["h100"]["application_line"]): 100 * HOUR,  # scaled down from 200
                   str(asked["project-storage"]["application_line"]): asked["project-storage"]["amount"]}  # fmt: skip
        too_much = {**amounts, str(asked["h100"]["application_line"]): 201 * HOUR}
        decision = f"/calls/applications/{self.application}/decision"
        why = "기술성과 실현 가능성이 우수합니다. GPU는 요청량의 절반을 지원합니다."
        refused = self._refused(
            lambda: officer.post(decision, {"outcome": "selected", "amounts": too_much, "reason": why})
        )
        self._check(refused.status == 422, "more than was asked for was awarded")
        officer.post(decision, {"outcome": "selected", "amounts": amounts, "reason": why})
        sheet = officer.get(f"/calls/{self.code}/decisions")
        grants = officer.post(f"/grants/announce/{self.code}")
        self._check(len(grants) == 1, f"{len(grants)} grants instead of 1")
        self.grant = grants[0]["number"]
        left = sheet["left_krw"]
        return (
            f"selected, GPU hours scaled down to 100; ₩{left:,} of the budget left",
            f"/calls/{self.code}/manage/decisions/",
        )

    def accept(self) -> tuple[str, str]:
        lead = self.as_("tenant lead")
        agreement = lead.get(f"/grants/{self.grant}/agreement")
        signed = {
            "version": agreement["version"],
            "digest": agreement["digest"],
            "signed_as": "무등비전 주식회사 대표 서무등",
        }
        grant = lead.post(f"/grants/{self.grant}/accept", signed)
        self._check(grant["state"] == "active", f"the grant is {grant['state']}")
        compute = next(a for a in grant["allocations"] if a["kind"] == "compute")
        self._check(compute["meter"]["left"] == 100 * HOUR, f"the ledger holds {compute['meter']}")
        names = ("list_krw", "reduction_krw", "own_share_krw")
        prices = [sum(line[name] for line in grant["allocations"]) for name in names]
        self._check(prices[0] == sum(prices[1:]) and prices[1] * 2 == prices[0], f"prices {prices}")
        return "list price ₩{:,}, reduction ₩{:,}, own share ₩{:,}".format(*prices), f"/grants/{self.grant}/"

    def run(self) -> tuple[str, str]:
        lead = self.as_("tenant lead")
        self._join(lead)
        before = self._balance()
        answer = self._command("submit", str(TRAIN), "--gpus", "1", "--time", "00:10:00", "--name", "digits", "--json")
        self.job = json.loads(answer)["uuid"]
        self._check(self._balance()["held"] == 600, "ten minutes of one GPU are not held")
        log = self._command("logs", "-f", self.job, each=lambda line: self._passing(6, f"job: {line}"))
        job = json.loads(self._command("job", self.job, "--json"))
        self._check(job["outcome"] == "completed", f"the job ended: {job['outcome']} {job['why']}")
        accuracy = [line for line in log.splitlines() if "accuracy" in line.lower()]
        self._check(bool(accuracy), "the log says no accuracy")
        after = self._balance()
        self._check(after["held"] == 0 and 0 < job["used"] <= 600, f"used {job['used']}, held {after['held']}")
        self._check(after["left"] == before["left"] - job["used"], f"left {after['left']} of {before['left']}")
        files = json.loads(self._command("files", self.job, "--json"))
        self._check(bool(files), "the job wrote no files")
        said = f"{accuracy[-1].strip()}; 600 GPU-seconds held, {job['used']} used"
        if not self._sandboxed(job["partition"]):
            self._only_the_shipped_job(job["allocation"])
            said += "; without a sandbox, so any other script is refused"
        return said, f"/compute/jobs/{self.job}/"

    def report(self) -> tuple[str, str]:
        lead, officer = self.as_("tenant lead"), self.as_("officer")
        outcome = lead.post(f"/outcomes/report/{self.grant}", form={
            "kind": "hire", "amount": "2", "occurred_on": localdate().isoformat(), "title": "연구원 2명 채용",
            "text": "영상 인식 모델을 운영할 연구원을 채용했습니다.", "share_percent": "100",
        }, files=[("evidence", ("재직증명.txt", "재직증명서 2부 (시연용)\n".encode(), "text/plain"))])  # fmt: skip
        self._check(outcome["state"] == "reported", f"the outcome is {outcome['state']}")
        verified = officer.post(
            f"/outcomes/{outcome['id']}/verify", {"level": "2_evidence", "reason": "재직증명을 확인했습니다."}
        )
        self._check(verified["state"] == "verified", f"the outcome is {verified['state']}")
        return "2 hires, evidence checked", f"/outcomes/{outcome['id']}/"

    def board(self) -> tuple[str, str]:
        mayor = self.as_("executive")
        lines = {line["code"]: line for line in mayor.get("/board/")["lines"]}
        self._check(lines["hires"]["actual"] >= 2, f"hires on the board: {lines['hires']['actual']}")
        self._check(lines["gpu-hours"]["actual"] > 0, "no GPU-hours on the board")
        behind = mayor.get("/board/hires")
        self._check(
            any("연구원 2명 채용" in row["what"] for row in behind["rows"]), "the outcome isn't behind the number"
        )
        public = {line["code"]: line for line in Client(self.url).get("/board/")["lines"]}
        self._check(public["hires"]["withheld"], "the public sees the figure of a single company")
        self.leave_a_call_open()
        return f"{lines['hires']['actual']:.0f} of {lines['hires']['target']} hires, each with its rows", "/board/"

    # --- how it is played ---------------------------------------------------------------------------------------------

    def as_(self, key: str) -> Client:
        """The API as this person sees it."""
        if key not in self.clients:
            _row, self.tokens[key] = identity.make_token(self.people[key], name="시연", days=1)
            self.clients[key] = Client(self.url, self.tokens[key]).__enter__()
        return self.clients[key]

    def newcomer(self, key: str) -> Client:
        name, email = FOUNDERS[key]
        known = Person.objects.filter(email=email).first()
        self.people[key] = known or identity.sign_up(email=email, name=name, password=os.urandom(18).hex())
        return self.as_(key)

    def _write_call(self, officer: Client, code: str, opens: datetime, closes: datetime) -> None:
        """A draft with all that the call of 2025 said: lines, reductions, criteria, rules, form."""
        use_from, days = localdate(), self.known["days_of_use"]
        officer.post("/calls/", {
            "program": "compute-2025", "code": code,
            "title_ko": self.known["title"]["ko"], "title_en": self.known["title"]["en"],
            "text_ko": self.known["text"]["ko"].strip(), "text_en": self.known["text"]["en"].strip(),
            "opens_at": opens.isoformat(), "closes_at": closes.isoformat(),
            "announces_at": (closes + timedelta(days=14)).isoformat(),
            "use_from": use_from.isoformat(), "use_until": (use_from + timedelta(days=days - 1)).isoformat(),
            "budget_krw": self.known["budget_krw"], "most_awards": self.known["most_awards"], "reviews_wanted": 2,
        })  # fmt: skip
        self.storage = self.known["storage_tb"] * TB * 24 * days
        officer.put(f"/calls/{code}/lines", [
            {"resource": "h100", "most": 300 * HOUR, "total": 3_000 * HOUR},
            {"resource": "a100", "most": 300 * HOUR, "total": 3_000 * HOUR},
            {"resource": "project-storage", "most": self.storage, "total": self.storage * self.known["most_awards"],
             "note_ko": "과제당 10 TB", "note_en": "10 TB per project"},
        ])  # fmt: skip
        half = self.known["discount_percent"]
        officer.put(f"/calls/{code}/discounts", [
            {"name_ko": "광주 소재 기관", "name_en": "Located in Gwangju", "percent": half, "rule": "region",
             "value": "29"},
            {"name_ko": "청년 창업기업", "name_en": "Youth start-up", "percent": half, "rule": "youth"},
        ])  # fmt: skip
        officer.put(f"/calls/{code}/criteria", CRITERIA)
        officer.put(f"/calls/{code}/rules", [
            {"kind": "organization_kind", "value": self.known["eligible"],
             "citation_ko": "신청 자격: 중소기업, 대학, 공공기관, 연구소, 협회·단체",
             "citation_en": "Eligible: SMEs, universities, public bodies, research institutes, associations"},
            {"kind": "document", "value": ["plan"], "citation_ko": "제출 서류: 사업계획서",
             "citation_en": "Papers: project plan"},
        ])  # fmt: skip
        officer.put(f"/calls/{code}/form", FORM)

    def leave_a_call_open(self) -> None:
        """So that whoever walks around afterwards can apply: the same terms, for a month, to 14:00 as the real one."""
        officer = self.as_("officer")
        if any(card["call"]["code"].startswith(OPEN) for card in officer.get("/calls/", stage="open")["items"]):
            return
        now = self._clock(officer)
        closes = (now + timedelta(days=30)).astimezone(_seoul()).replace(hour=14, minute=0, second=0, microsecond=0)
        code = self._free_code(OPEN)
        self._write_call(officer, code, now, closes)
        officer.post(f"/calls/{code}/publish")

    def _organization(self, client: Client, wanted: dict[str, Any]) -> int:
        known = Organization.objects.filter(business_number=wanted["business_number"].replace("-", "")).first()
        return known.pk if known else int(client.post("/organizations", wanted)["id"])

    def _draft(self, client: Client, organization: int, title: str) -> int:
        started = client.post(f"/calls/{self.code}/applications", {"organization": organization})
        lines = {line["resource"]: str(line["line"]) for line in started["lines"]}
        id = int(started["application"]["id"])
        saved = client.patch(f"/calls/applications/{id}", {
            "title": title, "saves": started["saves"],
            "answers": {"summary": "산불 연기를 영상에서 초기에 찾아내는 모델을 학습합니다.", "stage": "prototype",
                        "data": False},
            "lines": {lines["h100"]: {"amount": 200 * HOUR, "purpose": "모델 학습"},
                      lines["project-storage"]: {"amount": self.storage, "purpose": "영상 자료 보관"}},
        })  # fmt: skip
        self._check("plan" in saved["missing"], f"what is missing is not said: {saved['missing']}")
        stale = self._refused(
            lambda: client.patch(f"/calls/applications/{id}", {"title": "x", "saves": started["saves"]})
        )
        self._check(stale.status == 409, "a page that was out of date overwrote the draft")
        client.post(
            f"/calls/applications/{id}/documents/plan", files={"file": ("사업계획서.pdf", PLAN, "application/pdf")}
        )
        return id

    def _join(self, lead: Client) -> None:
        """The lead's colleague becomes a member, as the invitation page makes them one."""
        self.newcomer("tenant member")
        organization = Organization.objects.get(business_number=COMPANY["business_number"].replace("-", ""))
        member = self.people["tenant member"]
        if not member.memberships.filter(organization=organization, until=None).exists():
            _row, secret = identity.invite(
                self.people["tenant lead"], organization=organization, email=member.email, role="member"
            )
            identity.accept_invitation(member, secret=secret)

    def _balance(self) -> dict[str, int]:
        offers = self.as_("tenant member").get("/compute/balance")["items"]
        return dict(next(offer for offer in offers if offer["grant"] == self.grant))

    def _sandboxed(self, partition: str) -> bool:
        items = self.as_("tenant member").get("/compute/partitions")["items"]
        return any(item["sandbox"] for item in items if item["partition"] == partition)

    def _only_the_shipped_job(self, allocation: int) -> None:
        """Where nothing stands around a job, nobody's own script is run."""
        own = {"allocation": allocation, "name": "own", "script": "#!/bin/sh\nid\n", "limit_s": 60}
        refused = self._refused(lambda: self.as_("tenant member").post("/compute/jobs", own))
        self._check((refused.status, refused.where) == (422, ["script"]), f"a script was answered: {refused.title}")

    def _command(self, *words: str, each: Callable[[str], None] = lambda line: None) -> str:
        """The command `madang`, as the member types it; `each` is told every line that it prints, as it prints it."""
        if words[0] == "submit":
            words = (*words, "--allocation", str(self._balance()["allocation"]))
        done = subprocess.Popen(
            [sys.executable, "-c", "from madang.cli import app; app(prog_name='madang')", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
            env={**os.environ, "MADANG_URL": self.url, "MADANG_TOKEN": self.tokens["tenant member"], "COLUMNS": "200",
                 "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert done.stdout
        assert done.stderr
        out: list[str] = []
        err: list[str] = []
        readers = [
            Thread(target=_collect, args=[done.stdout, out], daemon=True),
            Thread(target=_collect, args=[done.stderr, err], daemon=True),
        ]
        for reader in readers:
            reader.start()
        end, seen = time.monotonic() + ENDED_WITHIN_S, 0
        while done.poll() is None:
            self.watch()
            if len(out) > seen:
                seen = len(out)
                each(out[-1].strip())
            if time.monotonic() > end:
                done.kill()
                raise WentWrong(f"madang {words[0]} did not end within {ENDED_WITHIN_S} s")
            time.sleep(0.1)
        for reader in readers:
            reader.join()
        if done.returncode:
            raise WentWrong(f"madang {words[0]}: {''.join(err or out).strip()}")
        return "".join(out)

    def _free_code(self, base: str = "gpu-2025") -> str:
        number = 1
        taken = set(Call.objects.filter(code__startswith=base).values_list("code", flat=True))
        while f"{base}-{number}" in taken:
            number += 1
        return f"{base}-{number}"

    def _clock(self, client: Client) -> datetime:
        return datetime.fromisoformat(client.get("/clock")["now"])

    def _wait_until(self, instant: datetime, what: str) -> None:
        officer = self.as_("officer")
        while (left := (instant - self._clock(officer)).total_seconds() + 1) > 0:
            self._passing(2, f"waiting {left:.0f} s for {what}")
            self.watch()
            time.sleep(min(left, 1))

    def _passing(self, number: int, what: str) -> None:
        """Said on the way, after the title of the step."""
        self.say(f"{number}/{self.LENGTH} {self.steps[number - 1].title}: {what}")

    def _refused(self, verb: Callable[[], Any]) -> Problem:
        try:
            verb()
        except Problem as problem:
            return problem
        raise WentWrong("what should have been refused was done")

    @staticmethod
    def _check(right: bool, otherwise: str) -> None:
        if not right:
            raise WentWrong(otherwise)


def _collect(lines: Iterable[str], into: list[str]) -> None:
    for line in lines:
        into.append(line)


def _full_minute(instant: datetime) -> datetime:
    """The first full minute from then on."""
    return (instant + timedelta(seconds=59, microseconds=999_999)).replace(second=0, microsecond=0)


def _seoul() -> ZoneInfo:
    return ZoneInfo("Asia/Seoul")
