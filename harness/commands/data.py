"""Commands about data before anything is trained: bringing them here, and saying what is wrong with them. Only parses and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def fetch(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml", help="Whose models, data, suites and judges to bring here.")],
    models: Annotated[str | None, typer.Option(help="Further models by hub id, such as owner/name@revision,owner/other.")] = None,
    datasets: Annotated[str | None, typer.Option(help="Further data sets by hub id.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Take what the revisions are now, whatever the lock file says.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is and how large, download nothing.")] = False,
) -> None:
    """Download everything of the hub that an experiment needs, at pinned commits, and write a lock file; its grid then runs offline."""
    from harness.data import fetch as fetching
    from harness.report.escape import visible

    more = {"models": _words(models), "datasets": _words(datasets)}
    fetching.fetch(experiment, lambda text: typer.echo(visible(text)), **more, update=update, dry=dry_run)


def doctor(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file, a folder, a hub id, or a mixture of them, as --data of compare.")],
    model: Annotated[str | None, typer.Option(help="A transformers folder: its tokenizer counts, and it is the reference asked.")] = None,
    split: Annotated[str | None, typer.Option(help="Which split, where the data name none; train.")] = None,
    revision: Annotated[str | None, typer.Option(help="Which branch, tag or commit of a hub id.")] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="The longest prompt that is used.")] = 512,
    response_tokens: Annotated[int, typer.Option(min=1, help="The longest response that is used, EOS among it.")] = 128,
    sample: Annotated[int, typer.Option(min=1, help="How many pairs the model is asked about.")] = 256,
) -> None:
    """Say what is wrong with preference data before anything is trained on them, and whether DPO suits them."""
    from harness.doctor import doctor as examining
    from harness.report.escape import visible

    limits = (prompt_tokens, response_tokens)
    for line in examining.examine(data, model, split=split or "", revision=revision or "", limits=limits, sample=sample):
        typer.echo(visible(line))


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def register(app: typer.Typer) -> None:
    """Put the commands on the command line."""
    app.command()(fetch)
    app.command()(doctor)
