"""Fitting a model of demand to a trace, and the jobs that are made from one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from madang.cli.show import as_json, say, table
from madang.cli.twin import Encoding, Gpus, Json, Map, TraceFile, clear, not_the_same, read_trace, replaced, tell

if TYPE_CHECKING:
    from madang.twin.fit import Goodness


@clear
def fit(
    trace: TraceFile,
    into: Annotated[Path, typer.Option(dir_okay=False, help="Write the model to this file, NAME.toml.")],
    name: Annotated[str, typer.Option(help="What those who ask are called.")] = "as recorded",
    lengths: Annotated[
        Literal["measured", "lognormal"], typer.Option(help="Run lengths: as they were, or by mean and median alone.")
    ] = "measured",
    growth: Annotated[
        bool, typer.Option("--growth", help="Fit the growth a year, too: of half a year of jobs and more.")
    ] = False,
    test_days: Annotated[
        int, typer.Option(min=0, max=3650, help="Fit without the last so many days, and measure on them, too.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the jobs that are made to see how well it fits.")] = 0,
    gpus: Gpus = None,
    columns: Map = "",
    encoding: Encoding = "utf-8",
    json: Json = False,
) -> None:
    """Fit a model of demand to a trace, write it as a file, and say how well it fits.

    `madang twin run` and `sweep` make jobs from the file; in a plan it is the model = "NAME.toml" of a demand.
    """
    from dataclasses import asdict

    from madang.twin import BadInput
    from madang.twin.fit import DAY_S, goodness, growing, parted
    from madang.twin.fit import fit as fitted
    from madang.twin.modelfile import SUFFIX, is_model, model_text

    if not is_model(into):
        raise BadInput(f"--into {into}: a model is a file called NAME{SUFFIX}")
    not_the_same(into, trace)
    read = read_trace(trace, gpus, columns, encoding)
    earlier, later = parted(read, test_days) if test_days else (read, None)
    grown = growing(earlier) if growth else None
    made = fitted(earlier, name, lengths, grown.rate if grown else 0.0)
    its = goodness(earlier, made, seed)
    tested = goodness(later, made, seed, (later.offset - earlier.offset) // DAY_S) if later else None
    text = model_text(made)
    replaced(into, lambda to: to.write(text))
    if json:
        as_json(
            {"model": str(into), "program": asdict(made), "growth": grown and asdict(grown), **its.as_dict()}
            | {"tested": tested and tested.as_dict()}
            | {"seed": seed, "changes": dict(read.changes), "notes": list(read.notes)}
        )
        return
    tell(read)
    _show(its, "trace")
    if tested:
        _show(tested, f"last {test_days:,} days")
    if grown:
        say(f"growth {grown.rate:+.1%} a year, with a standard error of {grown.error:.1%}")
    say(f"written to {into}")


def _show(its: Goodness, of: str) -> None:
    rows = [[name, f"{own:,.2f}", f"{model:,.2f}"] for name, (own, model) in its.figures.items()]
    table(["", of, "model"], rows)
    table(
        ["distance, 0 to 1", f"{of} to model", "by chance"],
        [[its.of, f"{its.distance:.3f}", f"{its.chance:.3f}"] for its in its.distances],
    )


def register(twin: typer.Typer) -> None:
    twin.command()(fit)
