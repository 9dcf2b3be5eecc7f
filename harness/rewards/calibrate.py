"""``harness reward calibrate``: any reward model's folder against labelled pairs, printed and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.rewards import measured
from harness.rewards.folders import reader
from harness.rewards.material import Asked, Say, gathered, quiet


def calibrate(folder: Path, asked: Asked, out: Path, say: Say = print) -> measured.Measured:
    """Score both responses of every labelled pair, say how they agree with labels and gold, and draw the curve into ``out``.

    Of data all pairs are asked, of a task those held out. Raises HarnessError in one line where the folder or the pairs are none.
    """
    model = reader(folder)
    quiet()
    material = gathered(asked, say)
    pairs = list(material.heldout)
    if not pairs:
        raise HarnessError(f"{asked.word}: no labelled pair to calibrate against.")
    prompts = [pair.prompt for pair in pairs]
    sides = [model.scores(prompts, [pair.chosen.text for pair in pairs]), model.scores(prompts, [pair.rejected.text for pair in pairs])]
    found = measured.measured(np.array(sides).T, pairs, material.gold)
    say(f"{folder.name} against the labels of {material.name}: {model.cost}")
    say("\n".join(measured.lines(found)))
    out.mkdir(parents=True, exist_ok=True)
    say("Curve: " + ", ".join(str(path) for path in measured.draw(found, f"{folder.name} on {material.name}", out)))
    return found
