"""The command line: ``compare``, ``report``, ``control`` and ``list``. Only parses and prints; everything else is imported on use."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands import data as cli_data
from harness.commands import kit as cli_kit
from harness.commands import reports as cli_report
from harness.commands import results as commands
from harness.commands import reward as cli_reward
from harness.commands.reports import RESULTS, Margin, Results
from harness.errors import HarnessError, near

if TYPE_CHECKING:
    from harness.planning.experiment import Experiment
    from harness.types import Task

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's matrices here are small: its threads only take cores from what draws

KINDS = ("algorithms", "tasks", "runs")
# Options of ``compare`` that say how it is carried out; every other one is a setting of the experiment, some by another name.
HOW = {"experiment", "vary", "jobs", "results", "report_to", "dry_run", "force", "verbose"}
SETTINGS = {"settings": "set", "safety": "safety_suites", "detectors": "safety_detectors"}
LISTS = {"algorithms", "kl_targets", "temperatures", "safety", "detectors"}

app = typer.Typer(
    name="harness",
    help="Compare preference-optimisation algorithms at matched compute.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def compare(
    context: typer.Context,
    experiment: Annotated[Path | None, typer.Argument(metavar="EXPERIMENT.toml", help="What to compare; flags win over it.")] = None,
    task: Annotated[str | None, typer.Option(help="A task's name or file, such as tldr.")] = None,
    algorithms: Annotated[str | None, typer.Option(help="Names or files, such as dpo,./mine.py.")] = None,
    seeds: Annotated[str | None, typer.Option(help="A number (3 is 0,1,2) or a list (0,4).")] = None,
    budget: Annotated[
        str | None, typer.Option(help="2epochs, 2x (of the default), 1.2e12 FLOPs, 30min, 5000pairs, 200steps; several: 1x,2x,4x.")
    ] = None,
    match: Annotated[str | None, typer.Option(help="flops, device-seconds, pairs or steps; from the budget's unit.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME.SETTING=VALUES", help="Such as dpo.beta=0.05,0.1; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A preset such as tiny-128, or a transformers folder.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Real rows instead of the task's own: a file, a folder, a hub id, or a.jsonl:.7,b.jsonl:.3.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which split of --data, where it names none; train.")] = None,
    revision: Annotated[str | None, typer.Option(help="Which branch, tag or commit of a hub id in --data, where it names none.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="Which of the task's judges decides; without gold also length, vader or a classifier's FOLDER#LABEL.")
    ] = None,
    tune: Annotated[int | None, typer.Option(help="Trials drawn for every grid value of every algorithm; 0: declared defaults.")] = None,
    kl_targets: Annotated[str | None, typer.Option(help="Such as .5,1,2,4: the knob is searched until KL is there.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="last, or best: the mark that the tuning judge prefers.")] = None,
    keep_policies: Annotated[
        str | None,
        typer.Option("--keep", "--keep-policies", help="Trained policies saved: auto (final, below 5M weights), none, final, best or all."),
    ] = None,
    temperatures: Annotated[str | None, typer.Option(help="Such as 0,.25,.5,.75,1: win rates at each; 0 (greedy) by default.")] = None,
    labels: Annotated[str | None, typer.Option(help="Who labels pairs: bt, flip, annotators, length-biased or shuffled.")] = None,
    agreement: Annotated[float | None, typer.Option(help="How often a label sides with the better response.")] = None,
    pairs: Annotated[int | None, typer.Option(min=1, help="How many preference pairs.")] = None,
    pairs_from: Annotated[str | None, typer.Option(help="Whose responses: sft, older-policy, references or mixture.")] = None,
    prompts: Annotated[str | None, typer.Option(help="What sampling algorithms are prompted with: fresh or pairs.")] = None,
    vary: Annotated[
        list[str] | None, typer.Option(metavar="NAME=V1,V2", help="A study for each value of an assumption, such as labels=bt,flip.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, mixed or bfloat16.")] = None,
    safety: Annotated[str | None, typer.Option(metavar="SUITES", help="Asked at the end, such as own,xstest:FILE; docs/safety.md.")] = None,
    detectors: Annotated[str | None, typer.Option(help="What reads their answers: phrases, or a classifier's folder or hub id.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    sft: Annotated[str | None, typer.Option(help="Fine-tune first on demonstrations, on chosen responses, or none.")] = None,
    reference: Annotated[str | None, typer.Option(help="sft, base, or another model: what KL is measured against.")] = None,
    reference_mode: Annotated[str | None, typer.Option(help="copy, cached, adapter-off, merged or frozen-adapter.")] = None,
    chat: Annotated[str | None, typer.Option(help="auto, template (the model's own) or plain.")] = None,
    safety_margin: Margin = None,
    baseline: Annotated[str | None, typer.Option(help="The algorithm that every other one is tested against; the first.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at a time; chosen by itself.")] = None,
    results: Results = RESULTS,
    report_to: Annotated[str | None, typer.Option(help="Write to a tracker as well: tensorboard, wandb or both.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small trial: one setting each, smaller everything.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most N pairs and N prompts: a trial.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print every cell with its price, run nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Redo finished cells.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Let the libraries below speak.")] = False,
) -> None:
    """Run algorithms on a task with the same compute each, and write a report."""
    from harness.commands import asked
    from harness.watching import trackers

    trackers.check(told := _words(report_to) or [])
    flags, left = asked.left_out(_flags(context.params), experiment)
    wanted, lacking = asked.variations(flags, vary or (), experiment)
    previews, left = [asked.priced(*each, jobs) for each in wanted], left | lacking
    for reason in left.values():
        typer.echo(f"left out: {reason}", err=True)
    if dry_run:
        typer.echo("\n\n".join(previews))
        raise typer.Exit(bool(left))
    _writable(results)
    options = {"jobs": jobs, "force": force, "verbose": verbose, "report_to": told}
    failed = [name for resolved, world in wanted for name in _run(resolved, world, results, options)]
    if len(wanted) > 1:
        cli_report.robustness(results)
    _end(left, failed)


def _end(left: Mapping[str, str], failed: Sequence[str]) -> None:
    """Say once more, at the end, what was left out and what failed, and leave with 1 where anything was or did."""
    if left:
        typer.echo(f"error: left out, as said above: {', '.join(left)}", err=True)
    if failed:
        typer.echo(f"error: failed, see log.txt in each: {', '.join(failed)}", err=True)
    if failed or left:
        raise typer.Exit(1)


@app.command()
def control(
    experiment: Annotated[Path | None, typer.Argument(metavar="EXPERIMENT.toml", help="What to control; flags win over it.")] = None,
    task: Annotated[str | None, typer.Option(help="A task's name or file, such as tldr.")] = None,
    algorithms: Annotated[str | None, typer.Option(help="The algorithm compared with itself, then controls; the task's.")] = None,
    seeds: Annotated[str | None, typer.Option(help="A number (6 is 0 to 5) or a list.")] = None,
    replicates: Annotated[int, typer.Option(min=2, help="Comparisons of the algorithm with itself.")] = 20,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at a time; chosen by itself.")] = None,
    results: Results = RESULTS,
) -> None:
    """Run comparisons whose answer is known, and say how often intervals and tests give it."""
    from harness import control as controls
    from harness.commands import asked
    from harness.planning import experiment as experiments

    written = experiments.read(experiment) if experiment else {}
    given = {"task": task, "algorithms": _words(algorithms), "seeds": seeds}
    flags = {key: value for key, value in {**controls.SIZES, "seeds": controls.SEEDS}.items() if key not in written}
    flags |= {name: value for name, value in given.items() if value is not None}
    resolved, world = asked.resolve(flags, experiment)
    _writable(results)
    file = controls.run(resolved, results, task=world, replicates=replicates, jobs=jobs)
    typer.echo(controls.table(json.loads(file.read_text(encoding="utf-8"))["rows"]))
    typer.echo(f"Controls: {file}")


app.command()(cli_report.report)
app.command()(cli_report.bundle)


@app.command(name="list")
def list_(
    kind: Annotated[str | None, typer.Argument(metavar="algorithms|tasks|runs", help="All three where none is named.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Import every plug-in and say which fail.")] = False,
    results: Results = RESULTS,
) -> None:
    """Say what there is: algorithms, tasks and the runs below the results folder. A cost of 8 N is 8 FLOPs per weight of the model."""
    if kind is not None and kind not in KINDS:
        raise HarnessError(f"Cannot list {kind!r}.{near(kind, KINDS)} Legal: {', '.join(KINDS)}.")
    from harness.commands import listing

    for each in (kind,) if kind else KINDS:
        typer.echo(f"{each}:")
        lines = listing.runs(results) if each == "runs" else listing.plugins(each, check=check)
        typer.echo("\n".join(f"  {line}" for line in lines) or "  none")


commands.register(app)
cli_data.register(app)
cli_kit.register(app)
cli_reward.register(app)


def main() -> None:
    """The command itself. A HarnessError is one line on stderr and exit code 2, never a traceback."""
    try:
        app()
    except HarnessError as error:
        cli_report.complain(error)
        sys.exit(2)


def _flags(typed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were typed, under the names that an experiment's file has for them."""
    given = {name: value for name, value in typed.items() if name not in HOW and value is not None and value is not False}
    return {SETTINGS.get(name, name): _words(value) if name in LISTS else value for name, value in given.items()}


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _run(resolved: Experiment, world: Task, results: Path, options: dict[str, Any]) -> list[str]:
    """Run one study, print its table and the path of its report; the names of its failed cells come back."""
    import harness.compare as engine
    from harness.report import made

    folder = engine.carry_out(resolved, results, task=world, **options)
    if (said := made.summary(folder)) is None:
        from harness.report import alarms, page, points, tables

        study = points.load(folder)
        page.write(study)
        made.remember(folder, said := "\n".join([tables.summary(study), *alarms.summary(study)]))
    typer.echo(said)
    typer.echo(f"Report: {folder / 'report' / 'index.html'}")
    for reason in engine.reasons(folder, resolved):
        typer.echo(reason, err=True)
    return engine.failures(folder, resolved)


def _writable(results: Path) -> None:
    """Refuse a results folder that cannot be written to, before any work is done."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise HarnessError(f"Results folder {results} is not writable: {error.strerror}. Choose another with --results.") from error
