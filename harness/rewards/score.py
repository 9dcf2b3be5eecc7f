"""``harness reward score``: what a reward model says of rows of prompts and responses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.measure.statistics import prompt_interval
from harness.rewards import candidates
from harness.rewards.folders import reader
from harness.rewards.material import Say, quiet
from harness.rewards.measured import said


def score(folder: Path, rows: Path, out: Path, limit: int | None = None, say: Say = print) -> Path:
    """Write a row for every response with its score in nats; the file. HarnessError in one line where folder or rows are none."""
    model = reader(folder)
    quiet()
    found = candidates.read(rows, limit)
    if not found:
        raise HarnessError(f"{rows}: no row in it.")
    texts = [(each.prompt, response) for each in found for response in each.responses]
    scores = model.scores([prompt for prompt, _ in texts], [response for _, response in texts])
    candidates.write(
        out,
        ({"prompt": prompt, "response": response, "score": float(value)} for (prompt, response), value in zip(texts, scores, strict=True)),
    )
    clusters = np.repeat(np.arange(len(found)), [len(each.responses) for each in found])
    mean = prompt_interval(scores, clusters=clusters, generator=np.random.default_rng(0))
    say(f"{folder.name}: mean score {said(mean)} nats over {mean.n:,} prompts, {len(texts):,} responses; {model.cost}")
    say(f"Scores: {out}")
    return out
