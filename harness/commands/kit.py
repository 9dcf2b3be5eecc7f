"""Commands for whoever adds an algorithm or a task: writing a first file, and checking what it is. Only parses and prints."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.commands.placing import Comparison


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
    place: Annotated[bool, typer.Option("--place/--no-place", help="Run it on a task with --quick, beside the first yardstick.")] = True,
    on: Annotated[str | None, typer.Option(metavar="TASK", help="The task of its place; the first embedded one.")] = None,
    results: Annotated[Path, typer.Option("--results", envvar="HARNESS_RESULTS", help="Folder of the study of its place.")] = Path(
        "results/runs"
    ),
) -> None:
    """Say of an algorithm in a minute: laws, gradients, price, what it converges to, what it resembles, its place; and draw its loss."""
    from harness.commands import placing

    if on and not place:
        raise HarnessError(f"--on {on} names a task for its place, and --no-place asks for none; give one of them.")
    typed, reason = _planned(on, algorithm, results) if place else ([], "")
    with placing.begun(typed) if typed else nullcontext() as comparison:
        from harness.checking.check import check as checked  # imports torch, for which a comparison need not wait

        for line in checked(algorithm, out):
            typer.echo(line)
        if comparison:
            _place(comparison, typed)
    if reason:
        typer.echo(f"\nno place on a task: {reason}")


def _planned(task: str | None, algorithm: str, results: Path) -> tuple[list[str], str]:
    """What is typed for its place, or why it has none; HarnessError where the task was asked for, before a minute has gone by."""
    from harness.commands import placing

    try:
        return placing.words(task, algorithm, results), ""
    except HarnessError as error:
        if task:
            raise
        return [], str(error)


def _place(comparison: Comparison, typed: Sequence[str]) -> None:
    """Its place, as ``compare`` prints it; its progress goes where progress goes."""
    typer.echo(f"\nplace (harness {shlex.join(typed)})")
    for line in comparison.followed():
        typer.echo(line, err=True)
    status, said = comparison.ended()
    typer.echo(said)
    if status:
        raise typer.Exit(status)


def register(app: typer.Typer) -> None:
    """Put the commands on the command line."""
    app.command()(new)
    app.command()(check)
