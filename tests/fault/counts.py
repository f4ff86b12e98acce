"""What a round of killing may cost: nothing."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass

from bench.report import Figure


@dataclass
class Counts:
    """`acknowledged`: what was answered, the answers that came on asking again (`ambiguous`) included.

    Never anything but zero: `lost`, acknowledged and not there, or there with another payload; `overspent`, accounts
    below zero; `double_charged`, booked twice or without being asked, or answered otherwise on asking again;
    `forgotten_holds`, holds that nothing will end and jobs without one; `taken_twice`, claims on taken time; `drift`,
    figures that their rows don't add up to.
    """

    rounds: int = 0
    acknowledged: int = 0
    ambiguous: int = 0
    lost: int = 0
    overspent: int = 0
    double_charged: int = 0
    forgotten_holds: int = 0
    taken_twice: int = 0
    drift: int = 0

    def wrong(self, count: str, what: Sized, why: str) -> None:
        """Count what must not be there, and say it at once: the rounds after it may hide it."""
        if what:
            setattr(self, count, getattr(self, count) + len(what))
            print(f"{count} after {self.rounds} rounds: {why}: {str(what)[:2000]}", flush=True)

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def figures(self) -> list[Figure]:
        seen = ("rounds", "acknowledged", "ambiguous")
        return [
            Figure(name.replace("_", " "), value, at_most=None if name in seen else 0)
            for name, value in vars(self).items()
        ]
