"""Reading a file that somebody wrote (TOML): each thing by its name, and what is wrong with it in a line."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from madang.twin.errors import BadInput


def load(path: Path) -> dict[str, Any]:
    """Raises BadInput."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:  # no TOML, or thousands of digits or brackets
        raise BadInput(f"{path}: {error}") from None


def known(given: Any, names: Collection[str], where: str) -> None:
    if not isinstance(given, dict):
        raise BadInput(f"{where}: names and values, not {given!r}")
    if unknown := sorted(set(given) - set(names)):
        raise BadInput(f"{where}: {unknown[0]!r} is none of {', '.join(sorted(names))}")


def tables(given: Mapping[str, Any], name: str) -> list[Any]:
    """What stands under [[name]]."""
    found = given.get(name, [])
    if not isinstance(found, list):
        raise BadInput(f"{name}: written as [[{name}]], once for each")
    return found


def whole(given: Mapping[str, Any], name: str, where: str, default: int | None = None) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise BadInput(f"{where}: {name} is a whole number of at least 0")
    return value


def number(given: Mapping[str, Any], name: str, where: str, default: float | None = None) -> float:
    value = given.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e15:
        raise BadInput(f"{where}: {name} is a number")
    return float(value)


def wholes(given: Mapping[str, Any], name: str, where: str) -> list[int]:
    """Some numbers in brackets."""
    return [whole({name: value}, name, where) for value in _list(given.get(name), name, where)]


def numbers(given: Mapping[str, Any], name: str, where: str, default: list[float]) -> list[float]:
    """Some numbers in brackets."""
    return [number({name: value}, name, where) for value in _list(given.get(name, default), name, where)]


def _list(value: Any, name: str, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"{where}: {name} are numbers in brackets, [1, 2, 3]")
    return value


def text(given: Mapping[str, Any], name: str, where: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or (not value and default is None):
        raise BadInput(f"{where}: {name} is a word in quotes")
    return value


def sourced(given: Mapping[str, Any], where: str) -> str:
    """Where figures come from: nobody's figures are taken for granted."""
    if not given.get("source"):
        raise BadInput(f'{where}: say where the figures come from, source = "…, 2026-11"')
    return text(given, "source", where)


def day(given: Mapping[str, Any], name: str, where: str) -> date:
    value = given.get(name)
    if type(value) is not date:
        raise BadInput(f"{where}: {name} is a day like 2027-07-01")
    return value
