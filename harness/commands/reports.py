"""The command ``report``, and what it shares with the others: only parses and prints; everything else is imported on use."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import HarnessError

RESULTS = Path("results/runs")

Results = Annotated[Path, typer.Option("--results", envvar="HARNESS_RESULTS", help="Folder of the studies and their runs.")]
Margin = Annotated[float | None, typer.Option("--safety-margin", help="Share by which a safety metric may worsen; 0.02 is 2 points.")]


def report(
    results: Annotated[list[Path] | None, typer.Argument(help="Studies, folders or archives of studies; several are merged.")] = None,
    formats: Annotated[str, typer.Option("--format", help="html, pdf, latex, csv, or several: pdf,latex.")] = "html",
    style: Annotated[str, typer.Option(help="Whose columns figures and tables fit: neurips, icml or acl.")] = "neurips",
    columns: Annotated[int, typer.Option(help="How many columns a figure or table spans: 1 or 2.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where to write; chosen by itself, below the results.")] = None,
    safety_margin: Margin = None,
    leave_out_newer: Annotated[
        bool, typer.Option("--leave-out-newer", help="Report without records of a newer schema, instead of refusing.")
    ] = False,
) -> None:
    """Rebuild reports from records alone: the page, or figures, tables and macros for a paper."""
    from harness.commands import reporting
    from harness.execute import allocation
    from harness.report.escape import visible
    from harness.store.files import uncollected

    allocation.keep(0)  # resamples are arrays of megabytes, made and left by the hundred: a twelfth of the CPU seconds
    if safety_margin is not None and not 0 < safety_margin < 1:
        raise HarnessError(f"--safety-margin {safety_margin:g}: a share above 0 and below 1 is wanted, such as 0.02 for 2 points.")
    overrides: dict[str, Any] = {} if safety_margin is None else {"safety_margin": safety_margin}
    wanted = reporting.wanted(formats, style, columns)
    broken = False
    with uncollected():
        for told in reporting.write(results or [RESULTS], wanted, out, overrides, leave_out_newer=leave_out_newer):
            if isinstance(told, HarnessError):
                broken = True
                complain(told)
            else:
                typer.echo(visible(told, lines=False))
        gc.freeze()  # the process ends here: looking for cycles in what is left, now and at the interpreter's end, took a second
    if broken:
        raise typer.Exit(1)


def bundle(
    results: Annotated[Path, typer.Argument(help="A study, or a folder of studies.")] = RESULTS,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Without hosts, users, paths or remotes; refuses where one is left.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The archive: .zip, .tar.gz or .tar.xz; NAME-anonymous.zip here.")] = None,
    hide: Annotated[str, typer.Option(help="More words that may not be in it, such as a lab's name: acme,j-doe.")] = "",
    reports: Annotated[bool, typer.Option(help="Pack reports with the records that give them.")] = True,
    texts: Annotated[bool, typer.Option(help="Keep what data and models said; without, samples hold hashes.")] = True,
) -> None:
    """Pack records and figures into one archive, without logs and policies: for a reviewer."""
    from harness.sharing import bundle as packing

    words = [word.strip() for word in hide.split(",") if word.strip()]
    typer.echo(f"Bundle: {packing.write(results, out, anonymous=anonymous, hide=words, reports=reports, texts=texts)}")


def complain(error: HarnessError) -> None:
    """One line on stderr, with whatever a message quotes of untrusted text made visible."""
    from harness.report.escape import visible  # a message may quote a file's columns or a record: untrusted text

    typer.echo(f"error: {visible(' '.join(str(error).split()), lines=False)}", err=True)


def robustness(results: Path) -> None:
    """Set studies that differ only in their assumptions side by side, where there are such."""
    from harness.report import robustness as assumed

    if page := assumed.write(results):
        typer.echo(f"Robustness: {page}")
