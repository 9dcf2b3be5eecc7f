"""Commands about results that exist: judging them again, measuring a checkpoint trained elsewhere, importing outcomes. Only parses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import HarnessError

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
    from harness.outside import imported
    from harness.report import page, tables
    from harness.report.escape import visible

    study = imported.study(file, results, task=task, baseline=baseline, reference=reference)
    typer.echo(visible(imported.said(study)))
    typer.echo(tables.summary(study))
    typer.echo(f"Report: {page.write(study)}")


def judge(
    results: Annotated[Path, typer.Argument(help="A study, or a folder of studies.")] = Path("results/runs"),
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="JUDGE", help="A judge of the task, length, vader, a classifier's FOLDER#LABEL, http://HOST/v1#MODEL; docs/judges.md."
        ),
    ] = None,
    calibrate: Annotated[Path | None, typer.Option(metavar="DATA", help="Hold the judge against the labels of these pairs.")] = None,
    safety: Annotated[str | None, typer.Option(metavar="SUITE", help="Read the stored responses to these, such as harmful.")] = None,
    detector: Annotated[str | None, typer.Option(metavar="ID", help="task, phrases, or a classifier's FOLDER or hub id#LABEL.")] = None,
    template: Annotated[str, typer.Option(help="What a judge behind a URL is asked: which, dpo-tldr-c, dpo-tldr-s or dpo-hh.")] = "which",
    price: Annotated[
        str | None, typer.Option(metavar="READ,WRITTEN", help="Of a million tokens, in any currency: cost in the record.")
    ] = None,
    silent: Annotated[float, typer.Option(min=0, max=1, help="Share of answers that may hold no verdict; more is an error.")] = 0.05,
    at_once: Annotated[int, typer.Option(min=1, max=256, help="Questions that a judge behind a URL is asked at a time.")] = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first N prompts of each run, or N pairs, only.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how much there is to judge, judge nothing.")] = False,
) -> None:
    """Judge stored samples again, without the policies that gave them, or hold a judge against labels."""
    from harness.rejudging import calibrating, detecting, judging
    from harness.rejudging.appointed import Asking, price_of
    from harness.report.escape import visible

    if (judge is None) == (safety is None) or (safety is None) != (detector is None):
        raise HarnessError("One of two is wanted: --judge NAME|FOLDER|URL, or --safety SUITE with --detector ID.")
    if calibrate is not None and (judge is None or dry_run):
        raise HarnessError("--calibrate DATA goes with --judge NAME|FOLDER|URL, and without --dry-run.")

    def say(text: str) -> None:
        typer.echo(visible(text))

    asking = Asking(template, price_of(price), silent, at_once)
    if judge is not None and calibrate is not None:
        calibrating.calibrate(calibrate, judge, results, limit=limit, say=say, asking=asking)
        return
    if judge is not None:
        judging.judge_again(results, judge, limit=limit, dry_run=dry_run, say=say, asking=asking)
    elif safety is not None and detector is not None:
        detecting.detect_again(results, safety, detector, dry_run=dry_run, say=say)
    if not dry_run:
        typer.echo(f"'harness report {results}' shows it.")


def evaluate(
    model: Annotated[Path, typer.Option(help="A transformers folder with safetensors weights and the reference's tokenizer.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="What to call it on pages.")],
    task: Annotated[str, typer.Option(help="A task's name or file, such as tldr.")],
    seed: Annotated[int | None, typer.Option(min=0, help="The seed whose reference, opponents and judge it meets; the first.")] = None,
    flops: Annotated[str, typer.Option(help="What its training cost, in FLOPs.")] = "unknown",
    device_hours: Annotated[str, typer.Option(help="What its training cost, in device-hours.")] = "unknown",
    device: Annotated[str, typer.Option(help="The device of those hours, as a page names it.")] = "",
    results: Results = Path("results/runs"),
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Let the libraries below speak.")] = False,
) -> None:
    """Measure a checkpoint trained elsewhere against a study's own reference, prompts and judge, and show it beside the others."""
    from harness.outside import elsewhere
    from harness.report import page, tables

    declared = elsewhere.Declared(elsewhere.amount(flops, "--flops"), elsewhere.amount(device_hours, "--device-hours"), device)
    study = elsewhere.evaluate(model, name, task, results, seed=seed, declared=declared, verbose=verbose)
    typer.echo(tables.summary(study))
    typer.echo(f"Report: {page.write(study)}")


def detect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Labelled responses; several: policies on the same prompts.")],
    detectors: Annotated[str, typer.Option(help="Names, folders or hub ids, with commas between.")] = "phrases",
    label: Annotated[str, typer.Option(help="The column of labels; each that the file has.")] = "",
) -> None:
    """Say how far detectors of refusals agree with the labels that a file of responses brings (docs/safety.md)."""
    from harness.rejudging import labelled
    from harness.report.escape import visible

    words = [word.strip() for word in detectors.split(",") if word.strip()]
    for line in labelled.lines(files, words, label):
        typer.echo(visible(line))


def register(app: typer.Typer) -> None:
    """Put the commands on the command line."""
    app.command()(judge)
    app.command()(evaluate)
    app.command()(detect)
    app.command(name="import")(import_)
