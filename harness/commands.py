"""Commands about results that exist: judging them again, measuring a checkpoint trained elsewhere, importing outcomes. Only parses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option("--results", envvar="HARNESS_RESULTS", help="Folder of the studies and their runs.")]


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="OUTCOMES.csv", help="Columns algorithm, seed, prompt, outcome in [0, 1]; docs/import.md.")
    ],
    task: Annotated[str | None, typer.Option(help="What to call it; the file's name.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The algorithm that every other one is tested against; the first.")] = None,
    reference: Annotated[str | None, typer.Option(help="The algorithm whose outcomes are the reference's, for safety and lengths.")] = None,
    results: Results = Path("results/runs"),
) -> None:
    """Take per-prompt outcomes made by any system as a study, and write its report."""
    from harness import imported
    from harness.report import page, tables
    from harness.report.escape import visible

    study = imported.study(file, results, task=task, baseline=baseline, reference=reference)
    typer.echo(visible(imported.said(study)))
    typer.echo(tables.summary(study))
    typer.echo(f"Report: {page.write(study)}")


def register(app: typer.Typer) -> None:
    """Put the commands on the command line."""
    app.command(name="import")(import_)
