"""Logging in, what is kept where, help, and how work in progress is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import click
import pytest
import typer
from typer.testing import CliRunner

from madang import __version__
from madang.cli import app
from madang.cli.show import Doing
from madang.client import Client, Problem

database = pytest.mark.django_db(transaction=True)


class Other(BaseHTTPRequestHandler):
    """A site that isn't Madang, and remembers what it was sent."""

    heard: list[dict[str, str]] = []

    def do_GET(self) -> None:
        self.heard.append({"path": self.path, "authorization": self.headers.get("Authorization", "")})
        if self.path.endswith("/me"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")
        else:
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.example/")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other() -> Iterator[str]:
    Other.heard.clear()
    server = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@database
def test_a_login_is_kept_for_its_user_alone_and_the_token_is_never_printed(world):
    answer = world.type("login", "--url", world.type.url + "/", typed=world.token + "\n")
    assert answer.exit_code == 0, answer.stderr
    assert world.token not in answer.output
    assert world.holder.name in answer.stdout
    assert world.type.login.stat().st_mode & 0o777 == 0o600
    assert json.loads(world.type.login.read_text()) == {"url": world.type.url, "token": world.token}
    world.type.environment |= {"MADANG_TOKEN": None, "MADANG_URL": None}
    assert world.type.json("whoami")["email"] == world.holder.email
    for words in (("whoami",), ("jobs",), ("balance",), ("login", "--help"), ("--help",)):
        assert world.token not in world.type(*words).output
    assert world.type("whoami", MADANG_URL=world.type.url + "/").exit_code == 0
    assert world.type("logout").exit_code == 0
    assert not world.type.login.exists()
    assert world.type("logout").exit_code == 0


@database
def test_a_login_replaces_what_others_could_read(world):
    world.type.login.parent.mkdir(parents=True)
    world.type.login.write_text("{}")
    world.type.login.chmod(0o666)
    assert world.type("login", "--url", world.type.url, "--token", world.token).exit_code == 0
    assert world.type.login.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in world.type.login.parent.iterdir()] == ["login.json"]


@database
def test_a_wrong_token_is_not_kept(world):
    answer = world.type("login", "--url", world.type.url, "--token", "mdg_wrong")
    assert answer.exit_code == 3
    assert not world.type.login.exists()


@database
def test_a_token_goes_to_no_other_site(world, other):
    world.type.environment["MADANG_TOKEN"] = None
    assert world.type("login", "--url", world.type.url, "--token", world.token).exit_code == 0
    assert world.type("jobs", MADANG_URL=other).exit_code == 1
    assert [heard["authorization"] for heard in Other.heard] == [""]


def test_a_redirect_is_not_followed_but_told(terminal_alone, other):
    answer = terminal_alone("jobs", MADANG_URL=other, MADANG_TOKEN="mdg_x")
    assert answer.exit_code == 1
    assert "sends on to http://elsewhere.example/" in answer.stderr
    assert len(Other.heard) == 1


def test_what_is_not_madang_is_told_so(terminal_alone, other):
    answer = terminal_alone("whoami", MADANG_URL=other, MADANG_TOKEN="mdg_x")
    assert answer.exit_code == 1
    assert "is not Madang" in answer.stderr


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"url": 5}', '{"token": "x"}'])
def test_a_login_file_that_cannot_be_read_is_no_login(terminal_alone, tmp_path, content):
    file = tmp_path / ".config/madang/login.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert terminal_alone("jobs", MADANG_URL="http://127.0.0.1:9").exit_code == 5


@pytest.fixture
def terminal_alone(tmp_path):
    """Without any site."""

    def run(*words: str, **more: str):
        environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": None, "MADANG_URL": None, "MADANG_TOKEN": None, **more}
        return CliRunner().invoke(app, list(words), env=environment, prog_name="madang")

    return run


def commands() -> dict[str, click.Command]:
    group = typer.main.get_command(app)
    return group.commands


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_explains_itself_and_each_of_its_options(terminal_alone, name):
    command = commands()[name]
    assert command.help
    assert [option.name for option in command.params if not getattr(option, "help", None)] == []
    answer = terminal_alone(name, "--help", COLUMNS="80")
    assert answer.exit_code == 0
    assert f"Usage: madang {name}" in answer.stdout


def test_programs_can_ask_every_command_that_answers_for_json():
    silent = {
        "up",
        "demo",
        "stop",
        "login",
        "logout",
        "cp",
        "rm",
        "ledger",
        "engine",
        "session",
        "node",
        "maintenance",
        "twin",
    }  # its own commands answer for themselves
    assert {name for name, command in commands().items() if not any(p.name == "json" for p in command.params)} == (
        silent - {"demo"}
    )


def test_the_version_is_said(terminal_alone):
    assert terminal_alone("--version").stdout == f"madang {__version__}\n"


def test_the_exit_codes_are_in_the_help(terminal_alone):
    text = terminal_alone("--help").stdout
    for code in ("0 done", "1 refused", "2 wrong use", "3 not allowed", "4 not there", "5 no answer", "10 the job"):
        assert code in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(terminal_alone, shell):
    words = {"COMP_WORDS": "madang su", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "madang su",
             "_TYPER_COMPLETE_FISH_ACTION": "get-args"}  # fmt: skip
    done = terminal_alone(_MADANG_COMPLETE=f"complete_{shell}", **words)
    assert "submit" in done.stdout
    assert "cancel" not in done.stdout


def test_a_shell_is_given_its_completion_script():
    madang = f"{sys.executable} -c 'from madang.cli import app; app(prog_name=\"madang\")'"
    done = subprocess.run(
        ["bash", "-c", f"{madang} --show-completion; true"], capture_output=True, text=True, check=True, timeout=120
    )
    assert "complete -o default -F _madang_completion madang" in done.stdout


def test_a_countdown_is_one_line_where_nobody_watches(capsys):
    with Doing() as doing:
        for line in ("begin", "waiting 3 s", "waiting 2 s", "waiting 1 s", "end"):
            doing(line)
        doing("Warning: no sandbox", keep=True)
    assert capsys.readouterr().err.splitlines() == ["begin", "waiting 3 s", "end", "Warning: no sandbox"]


def test_python_gets_the_message_that_a_person_would_have_seen():
    with pytest.raises(Problem, match="no answer from"), Client("http://127.0.0.1:9", "x") as client:
        client.get("/calls/")


def test_no_proxy_of_the_environment_hears_the_token(other, monkeypatch):
    monkeypatch.setitem(os.environ, "HTTP_PROXY", other)
    with Client("http://127.0.0.1:9", "mdg_x") as client, pytest.raises(Problem):
        client.get("/me")
    assert Other.heard == []
