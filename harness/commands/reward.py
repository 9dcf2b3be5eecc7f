"""Commands about reward models and ranking: training, scoring, calibrating, and putting candidates in order. Only parses and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Train a reward model, score with one, hold one against labels.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="PAIRS", help="A task such as tldr, or a file, a folder, a hub id, as --data of compare.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A reward model: a sequence classifier of one output.")]
Rows = Annotated[Path, typer.Argument(metavar="ROWS", help="A local file of prompt and response, responses, or chosen and rejected.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the order of pairs; of a task also of its SFT model and its pairs.")]
Limit = Annotated[int | None, typer.Option(min=1, help="The first N only: pairs, or prompts.")]
Split = Annotated[str, typer.Option(help="Which split, where the data name none; train.")]
Revision = Annotated[str, typer.Option(help="Which branch, tag or commit of a hub id.")]
Quick = Annotated[bool, typer.Option("--quick", help="Of a task: the small SFT model and the few pairs of compare --quick.")]


@app.command()
def train(
    pairs: Source,
    out: Annotated[Path, typer.Option(help="The folder that it is written into.")],
    model: Annotated[str | None, typer.Option(help="A transformers folder to start from; of a task its own SFT model.")] = None,
    pooling: Annotated[str, typer.Option(help="last (any tool reads the folder), mean or sum of a score per token.")] = "last",
    margin: Annotated[float, typer.Option(help="Nats of gap wanted per unit that the chosen response was rated better; 0: none.")] = 0.0,
    epochs: Annotated[float, typer.Option(help="Passes over the pairs.")] = 1.0,
    learning_rate: Annotated[float | None, typer.Option(help="2e-3 below six layers, else 1e-5.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs per step; a twentieth of them, from 4 to 32.")] = None,
    heldout: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of the data's prompts that no step sees.")] = 0.1,
    seed: Seed = 0,
    limit: Limit = None,
    split: Split = "",
    revision: Revision = "",
    quick: Quick = False,
) -> None:
    """Train a Bradley-Terry reward model on pairs, measure it on pairs held out, and save a folder that transformers loads."""
    from harness.rewards.material import Asked
    from harness.rewards.train import Fit
    from harness.rewards.train import train as trained

    asked = Asked(pairs, model, split, revision, heldout, seed, limit, quick)
    trained(asked, Fit(pooling, margin, epochs, learning_rate, batch), out, _say)


@app.command()
def score(
    folder: Folder,
    rows: Rows,
    out: Annotated[Path, typer.Option(help="Where the scores are written, a JSON object a line.")] = Path("scores.jsonl"),
    limit: Limit = None,
) -> None:
    """Write what a reward model says of every response of a file."""
    from harness.rewards.score import score as scored

    scored(folder, rows, out, limit, _say)


@app.command()
def calibrate(
    folder: Folder,
    pairs: Source,
    out: Annotated[Path, typer.Option(help="The folder that the curve is written into.")] = Path("calibration"),
    seed: Seed = 0,
    limit: Limit = None,
    split: Split = "",
    revision: Revision = "",
    quick: Quick = False,
) -> None:
    """Print and draw how a reward model agrees with the labels of pairs: of data all of them, of a task those held out."""
    from harness.rewards.calibrate import calibrate as calibrated
    from harness.rewards.material import Asked

    calibrated(folder, Asked(pairs, None, split, revision, 1.0, seed, limit, quick), out, _say)


def rank(
    rows: Rows,
    reward: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A reward model that ranks.")] = None,
    policy: Annotated[str | None, typer.Option(metavar="FOLDER", help="A policy that ranks by its log-ratio to --reference.")] = None,
    reference: Annotated[str | None, typer.Option(metavar="FOLDER", help="What the policy was trained from.")] = None,
    beta: Annotated[float, typer.Option(help="What scales the log-ratio: the policy's own beta for rewards in its unit.")] = 1.0,
    chat: Annotated[str, typer.Option(help="Whether the policy reads prompts by its chat template: auto, template or plain.")] = "auto",
    out: Annotated[Path, typer.Option(help="Where the ranking is written, a JSON object a line.")] = Path("ranked.jsonl"),
    limit: Limit = None,
) -> None:
    """Put the candidates of every prompt in order, by a reward model or by an implicit reward, and say what that cost."""
    from harness.rewards.rank import By
    from harness.rewards.rank import rank as ranked

    ranked(rows, By(reward, policy, reference, beta, chat), out, limit, _say)


def register(commands: Any) -> None:
    """Put the commands on the command line."""
    commands.add_typer(app, name="reward")
    commands.command()(rank)


def _say(text: str) -> None:
    from harness.report.escape import visible

    typer.echo(visible(text))
