"""Commands for whoever adds an algorithm or a task: writing a first file, and checking what it is. Only parses and prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.planning.experiment import Experiment
    from harness.types import Task


def new(
    kind: Annotated[str, typer.Argument(metavar="algorithm|task", help="What to write.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: the file's, and the word on the command line.")],
    form: Annotated[
        str | None,
        typer.Option("--kind", help="Of an algorithm: pair, unpaired (single responses), list (rankings) or on-policy (samples); pair."),
    ] = None,
) -> None:
    """Write one commented file and its test into the current folder, to be changed into an algorithm or a task of your own."""
    from harness import fresh

    for path in fresh.write(kind, name, Path(), form):
        typer.echo(f"wrote {path}")


def check(
    algorithm: Annotated[str, typer.Argument(metavar="ALGORITHM", help="A name or a file, such as ./mine.py.")],
    out: Annotated[Path, typer.Option(help="The folder that the loss card is written into.")] = Path(),
    on: Annotated[
        str | None, typer.Option(metavar="TASK", help="Then run it on this task with --quick beside the first yardstick; minutes.")
    ] = None,
    results: Annotated[Path, typer.Option("--results", envvar="HARNESS_RESULTS", help="Folder of the studies that --on runs.")] = Path(
        "results/runs"
    ),
) -> None:
    """Say of an algorithm in a minute: laws, gradients, price, what it converges to, what it resembles; and draw its loss."""
    from harness.checking.check import check as checked

    planned = None if on is None else _planned(on, algorithm)  # what cannot run there is refused before a minute has gone by
    for line in checked(algorithm, out):
        typer.echo(line)
    if planned is not None:
        _place(*planned, results)


def _planned(task: str, algorithm: str) -> tuple[Experiment, Task]:
    """The comparison with the first yardstick at ``--quick`` size."""
    from harness.commands import asked
    from harness.plugins import registry

    names = list(dict.fromkeys([registry.yardsticks()[0].name, algorithm]))
    return asked.resolve({"task": task, "algorithms": names, "quick": True}, None)


def _place(resolved: Experiment, world: Task, results: Path) -> None:
    """Its place on a task, beside the first yardstick, as ``compare`` runs and prints it."""
    import harness.compare as engine
    from harness.report import page, points, tables

    study = points.load(engine.carry_out(resolved, results, task=world))
    typer.echo(tables.summary(study))
    typer.echo(f"Report: {page.write(study)}")


def register(app: typer.Typer) -> None:
    """Put the commands on the command line."""
    app.command()(new)
    app.command()(check)
