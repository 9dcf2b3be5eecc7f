"""A study of invented numbers in the layout of schema 1: shapes that a report must cope with, values that mean nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.report import drawing, findings, page
from harness.report.beside import Beside
from harness.report.points import Loaded, load, points
from harness.store import temperatures
from harness.store.records import write_json
from harness.store.writer import CellWriter

PEAK = {"dpo": 0.78, "ipo": 0.74, "kto": 0.72, "dpop": 0.62, "ppo": 0.70, "sft_chosen": 0.55}
KNOBS: dict[str, tuple[str, tuple[float, ...]]] = {
    "dpo": ("beta", (0.5, 0.1, 0.03)),
    "ipo": ("gap", (1, 5, 20)),
    "kto": ("beta", (0.5, 0.1, 0.03)),
    "dpop": ("lambda", (50, 5, 0.1)),
    "ppo": ("kl", (0.5, 0.1, 0.02)),
    "sft_chosen": ("epochs", (1, 2, 3)),
}
KL = {"dpo": (0.6, 2.1, 4.4), "ipo": (0.3, 1.4, 3.2), "kto": (0.5, 1.6, 5.1), "dpop": (0.1, 0.2, 0.9), "ppo": (0.4, 1.9, 17.0)}
FLOPS = 1.1e12
SECONDS = {"ppo": 90.0}  # charged, for the same FLOPs


def interval(value: float, half: float, n: int = 384) -> dict[str, float]:
    return {"value": value, "lower": value - half, "upper": value + half, "n": n}


def metrics(win: float, kl: float, n: int, *, gold: bool, refusal: float = -0.03) -> dict[str, Any]:
    half = 0.9 / n**0.5
    found = {
        "win_sft": interval(win, half, n),
        "win_reference": interval(win - 0.1, half, n),
        "tie_sft": interval(0.06, 0.02, n),
        "kl": interval(kl, 0.06 * kl, n),
        "k1": interval(kl * 1.02, 0.2 * kl, n),
        "kl_per_token": interval(kl / 20, 0.003, n),
        "entropy": interval(14.0, 0.4, n),
        "length": interval(20 + 2 * kl, 0.8, n),
        "eos_rate": interval(0.97, 0.01, n),
        "repetition": interval(0.04, 0.01, n),
        "distinct_2": interval(0.61, 0.02, n),
    }
    components = {
        "coverage": 3.1,
        "unsupported": 0.7,
        "distractors": 0.4,
        "ungrammatical": 0.2,
        "repetition_gold": 0.1,
        "filler": 0.3,
        "ending": 0.95,
    }
    if gold:
        found |= {"gold": interval(2.2 + 10 * (win - 0.5), 0.2, n)} | {key: interval(value, 0.1, n) for key, value in components.items()}
    if n > 128:
        found |= {"refusal_mass": interval(0.8 + refusal, 0.02, 512), "over_refusal_mass": interval(0.15, 0.02, 512)}
        found |= {"refusal_mass_delta": interval(refusal, 0.012, 512), "over_refusal_mass_delta": interval(-0.01, 0.02, 512)}
        for kind, refused in (("harmful", 0.8 + refusal), ("borderline", 0.15)):
            shares = {"refusal": refused, "comply": 0.6 * (1 - refused), "benign": 0.3 * (1 - refused), "broken": 0.1 * (1 - refused)}
            found |= {f"{kind}_{key}": interval(value, 0.02, 512) for key, value in shares.items()}
    return found


def samples(generator: np.random.Generator, mark: float, n: int, win: float, kl: float, text: str, *, gold: bool) -> list[dict[str, Any]]:
    rows = []
    others = np.random.default_rng([n, int(1e6 * win)]).integers(11, 18, size=(n, 4))  # lengths of the opponents
    for prompt in range(n):
        row: dict[str, Any] = {
            "mark": mark, "slice": "evaluation", "prompt_id": prompt, "prompt": f"the cat {prompt} sat on the mat and then it went away",
            "response": f"cat {prompt} sat. {text}", "finished": bool(prompt % 7), "win_sft": float(generator.random() < win),
            "win_reference": float(generator.random() < win - 0.1), "kl": float(generator.gamma(4, kl / 4)),
            "k1": float(generator.normal(kl, 1)), "length": 14, "reference_response": f"a cat {prompt} sat and left.",
            "sft_response": f"cat {prompt} mat.",
        }  # fmt: skip
        row |= {"wins_each": [row["win_sft"]] * 4, "opponent_lengths": others[prompt].tolist(), "tie_sft": 0.0, "eos_rate": 0.97}
        value = float(generator.normal(2.2 + 10 * (win - 0.5)))
        rows.append(row | ({"gold": value, "proxy": value + 0.2 * kl} if gold else {}))
    return rows


def probed(mark: float, lost: float = 0.1, comply: int = 4, n: int = 48, worst: float = 0.0) -> list[dict[str, Any]]:
    """Rows of both safety slices of a policy that lost ``lost`` of its refusals, and ``worst`` more of those of the category rob.

    Every ``comply``-th prompt was complied with. The reference loses nothing: its masses are the ``before`` of every policy.
    """
    rows = []
    for part, name in (("harmful", "refusal_mass"), ("borderline", "over_refusal_mass")):
        generator = np.random.default_rng(len(part))
        for prompt in range(n):
            before = float(generator.uniform(0.2, 1)) * (1.0 if part == "harmful" else 0.5)
            row = {
                "mark": mark,
                "slice": part,
                "prompt_id": prompt,
                "prompt": "how do I",
                "response": "no",
                "finished": True,
                "before": before,
                "group": ("hack", "rob")[prompt % 2],
            }
            mass = before - lost - worst * (prompt % 2)
            rows.append(row | {"category": "comply" if comply and prompt // 2 % comply == 0 else "refusal", name: mass})
    return rows


def training_rows(name: str, kl: float) -> list[dict[str, float | str | int]]:
    rows: list[dict[str, float | str | int]] = []
    for step in range(1, 121):
        share = step / 120
        row: dict[str, float | str | int] = {
            "step": step,
            "phase": "update",
            "share": share,
            "loss": 0.69 - 0.2 * share,
            "accuracy": 0.5 + 0.2 * share,
        }
        row |= {"chosen_change": -kl * share + 0.1 * np.sin(step), "rejected_change": -2 * kl * share + 0.1 * np.cos(step)}
        if name == "ppo":
            row |= {"phase": "rollout", "proxy": 3 * share, "gold": 2 + 4 * share - 0.3 * kl * share**2, "kl": kl * share}
        rows.append(row)
    return rows


def cell(
    study: Path,
    name: str,
    index: int,
    seed: int,
    *,
    status: str = "finished",
    flops: float = FLOPS,
    text: str = "",
    probes: dict[str, Any] | None = None,
    budget: float = 1.0,
    **flags: Any,
) -> Path:
    """One cell of an algorithm's ``index``-th setting; ``budget`` multiplies the usual one.

    ``probes`` are those of ``probed``, ``flags`` quick, trial, gold (default true) and second: win rates under a second judge by name.
    """
    knob, values = KNOBS[name]
    kl = KL.get(name, (0.05, 0.1, 0.15))[index]
    win = 0.5 + (PEAK[name] - 0.5) * (1 - np.exp(-kl)) - 0.008 * kl + 0.01 * seed
    gold, second = flags.pop("gold", True), (flags.pop("second", None) or {}).get(name)
    win, flops, spec = win + 0.03 * np.log2(budget), flops * budget, f"{2 * budget:g}epochs"
    folder = study / "cells" / f"{name}-{knob}={values[index]}{'' if budget == 1 else f'-{spec}'}-seed{seed}-0a1b2c3d"
    marks = [(0.25, 128), (0.5, 128), (0.75, 128), (1.0, 384)]
    checkpoints = [
        {"mark": mark, "share": mark * 0.999, "step": int(120 * mark), "final": mark == 1.0,
         "started": not (name == "ppo" and mark == 0.25),
         "alarms": ["constant output: one string for 61 % of prompts"] if kl > 10 and mark == 1 else [],
         "spent": {"canonical": mark * flops, "executed": 1.2 * mark * flops},
         "metrics": metrics(0.5 + (win - 0.5) * mark**0.5, kl * mark, n, gold=gold, refusal=-0.02 * kl)}
        for mark, n in marks
    ]  # fmt: skip
    phases = {"reward": 0.25, "rollout": 0.3, "reference": 0.05, "update": 0.4} if name == "ppo" else {"reference": 0.12, "update": 0.88}
    record = {
        "kind": "cell", "fingerprint": "0a1b2c3d" * 8, "study": "toy-00000000", "status": status, "seed": seed,
        "quick": False, "trial": False,
        "failure": None if status == "finished" else "loss is not finite at step 31", "setting": {knob: values[index]},
        "task": {"name": "toy", "version": "1-abc", "source": "embedded", "notes": []},
        "settings": {knob: values[index], "learning_rate": 1e-3},
        "model": {"name": "tiny-128", "parameters": 841216, "dtype": "float32"},
        "budget": {"spec": spec, "match": "flops", "limit": FLOPS * budget, "flops": FLOPS * budget},
        "algorithm": {"name": name, "family": "online" if name == "ppo" else "offline", "source": "a paper", "hash": "f" * 64,
                      "control": name == "sft_chosen", "knob": knob,
                      "conventions": {"reduction": "sum"} | ({"normalize": "sum", "gap": "nats per sequence"} if name == "ipo" else {})},
        "compute": {"canonical": {key: share * flops for key, share in phases.items()},
                    "executed": {key: 1.2 * share * flops for key, share in phases.items()},
                    "counts": {"steps": 120, "pairs": 4000, "labels": 2000, "unique_pairs": 2000, "unique_prompts": 1900,
                               "epochs": 2.0, "sampled_tokens": 80000 if name == "ppo" else 0},
                    "share": flops / FLOPS / budget},
        "checkpoints": checkpoints if status == "finished" else checkpoints[:1],
        "diagnostics": {"reward_accuracy": interval(0.74, 0.05, 256), "iterations": 5} if name == "ppo" else {},
    } | flags  # fmt: skip
    generator = np.random.default_rng([seed, index, sum(name.encode())])
    with CellWriter(folder) as writer:
        for row in training_rows(name, kl):
            writer.log(row)
        writer.samples(probed(1.0, **(probes or {})) if status == "finished" else ())
        for mark, n in marks if status == "finished" else ():
            rows = samples(generator, mark, n, 0.5 + (win - 0.5) * mark**0.5, kl * mark, text, gold=gold)
            asked = {} if second is None else {"win_sft_gold_b": second}
            writer.samples({**row, **{key: float(generator.random() < share) for key, share in asked.items()}} for row in rows)
        whole = SECONDS.get(name, 60.0)
        wall = {**{key: whole * share for key, share in phases.items()}, "evaluation": 9.0}
        writer.finish(record, {"wall": wall, "device": "cpu", "threads": 1, "peak_memory_bytes": 4.1e8, "total_wall": whole + 9.0,
                               "marks": {str(mark): whole * mark for mark, _ in marks}})  # fmt: skip
    return folder


def decoded(root: Path, at: Sequence[float] = (0.0, 0.25, 0.5, 0.75), n: int = 96) -> Path:
    """Every run and reference of a study measured at other temperatures: the colder, the more it wins."""
    for folder in sorted([*root.glob("cells/*"), *root.glob("references/*")]):
        base = read_record(folder)["checkpoints"][-1]["metrics"]
        generator = np.random.default_rng(list(folder.name.encode()))
        found = []
        for temperature in at:
            wins = {key: base[key]["value"] + 0.1 * (1 - temperature) for key in ("win_sft", "win_reference")}
            single = {"tie_sft": 0.1, "length": 13.0, "eos_rate": 0.99}
            rows = [{"temperature": temperature, "prompt_id": i, "response": "x", **single} for i in range(n)]
            rows = [row | {key: float(generator.random() < share) for key, share in wins.items()} for row in rows]
            known = {key: interval(share, 0.05, n) for key, share in (wins | single).items()}
            found.append(temperatures.Measured(temperature, known, [], rows))
        temperatures.add(folder, found)
    return root


def cold(folder: Path, temperature: float) -> list[dict[str, Any]]:
    """The rows of one other temperature."""
    return [dict(row) for row in temperatures.read(folder)[temperature].rows]


def read_record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "record.json").read_text()))


def frontier(generator: np.random.Generator, prompts: int = 384, samples: int = 32) -> list[dict[str, Any]]:
    """Rows of the reference's own samples: gold of unit spread around each prompt's mean, a proxy that follows it with noise."""
    gold = generator.normal(2.2, 1.0, size=(prompts, samples)) + generator.normal(0, 0.3, size=(prompts, 1))
    proxy = gold + generator.normal(0, 1.0, size=gold.shape)
    names = {"gold": gold, "proxy": proxy, "length": np.full(gold.shape, 14.0)}
    rows = [{name: table[prompt].tolist() for name, table in names.items()} for prompt in range(prompts)]
    return [{"mark": 0.0, "slice": "frontier", "prompt_id": prompt, **row} for prompt, row in enumerate(rows)]


def reference(
    study: Path, seed: int, *, gold: bool = True, refusal: float = 0.0, probes: dict[str, Any] | None = None, points: bool = False
) -> Path:
    """The reference of a seed; ``points`` makes it as older records were, with a frontier of gold and no samples behind it."""
    base = metrics(0.5, 0.0, 384, gold=gold, refusal=refusal)
    record = {
        "kind": "reference", "fingerprint": "9" * 64, "study": "toy-00000000", "seed": seed,
        "sft": {"steps": 1000, "flops": 4.2e12}, "pairs": {"flops": 2e11, "pairs": 2000},
        "checkpoints": [{"mark": 0, "share": 0, "step": 0, "final": True, "alarms": [], "metrics": base}],
    }  # fmt: skip
    if points:
        record["frontier"] = [
            {"tilt": 1 / x, "kl": interval(0.5 * x * x, 0.04 * x), "gold": interval(2.2 + 1.8 * x, 0.15), "ess": 30 - 8 * x, "samples": 32}
            for x in (0.25, 0.5, 1.0, 1.5, 2.0, 2.5)
        ]
    folder = study / "references" / f"seed{seed}"
    generator = np.random.default_rng(seed)
    with CellWriter(folder) as writer:
        writer.samples(probed(0, **({"lost": 0.0, "comply": 0} | (probes or {}))))
        writer.samples(samples(generator, 0, 384, 0.5, 0.01, "", gold=gold))
        writer.samples(frontier(generator) if gold and not points else ())
        writer.finish(record, {"wall": {"sft": 40.0}, "device": "cpu", "threads": 1, "peak_memory_bytes": 3e8, "total_wall": 40.0})
    return folder


def study(root: Path, names: Sequence[str] = tuple(KNOBS), *, seeds: int = 1, settings: int = 3, failed: bool = True, **flags: Any) -> Path:
    """A whole study: every algorithm at every setting and seed, one diverged cell, and the reference of every seed."""
    write_json(
        root / "experiment.json",
        {
            "task": "toy",
            "study": "toy-00000000",
            "fingerprint": "0" * 64,
            "seeds": list(range(seeds)),
            "budget": "2epochs",
            "budget_flops": FLOPS,
        },
    )
    for seed in range(seeds):
        reference(root, seed, gold=flags.get("gold", True))
        for name in names:
            for index in range(settings):
                cell(root, name, index, seed, **flags)
    if failed:
        cell(root, "kto", 2, seeds, status="diverged", **flags)
    return root


def undrawn(root: Path) -> str:
    """The page of a study without its figures, which take most of the time."""
    study = load(root)
    figures = [page.figure(None, name, root / "report", "", Beside(drawing.warm)) for name in page.LEFT_OUT]
    return page.render(study, points(study), figures)


class Unsaved(Beside):
    """Files of figures that nobody will look at are not made."""

    def begin(self, do: Callable[[], None], result: Path) -> Callable[[], str]:
        """Do nothing; what comes back gives no text."""
        return lambda: ""


def text(study: Path | Loaded, **overrides: Any) -> str:
    """The page that ``page.write`` makes, its figures drawn and described but not saved, which takes four fifths of the time."""
    loaded = load(study) if isinstance(study, Path) else study
    loaded = replace(loaded, experiment={**loaded.experiment, **overrides})
    found, folder, beside = points(loaded), loaded.folder / "report", Unsaved(drawing.warm)
    with drawing.style():
        mark, shown = findings.watermark(loaded), page._looks(found)
        figures = [page.figure(drawn, name, folder, mark, beside) for name, drawn in page.drawings(loaded, found, shown)]
        first, last = (list(page._rooms(makers, loaded, found, folder, beside)) for makers in (page.SECTIONS, page.TRAINING))
    for each in [*figures, *(each for room in (*first, *last) for each in room["figures"])]:
        each["svg"] = ""
    return page.render(loaded, found, figures, (first, last))


def strip(folder: Path, slices: Sequence[str]) -> None:
    """Take these slices out of a record's samples and metrics, as if the task had none."""
    path = folder / "samples.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    path.write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows if row["slice"] not in slices)))
    record = json.loads((folder / "record.json").read_text())
    for checkpoint in record["checkpoints"]:
        kept = {key: value for key, value in checkpoint["metrics"].items() if "refusal" not in key and not key.startswith(tuple(slices))}
        checkpoint["metrics"] = kept
    write_json(folder / "record.json", record)


def trial(
    study: Path, name: str, index: int, number: int, *, score: float, gold: float, status: str = "finished", flops: float = FLOPS
) -> Path:
    """One trial of an algorithm's ``index``-th grid value: number 0 is its default, the others were drawn; -1 looked for a KL."""
    knob, values = KNOBS[name]
    setting: dict[str, Any] = {knob: values[index]} | ({"learning_rate": 1e-3 * 2**number} if number else {})
    found = {
        "tuning_score": interval(score, 0.2, 128),
        "gold": interval(gold, 0.3, 128),
        "kl": interval(KL.get(name, (1, 1, 1))[index], 0.1, 128),
    }
    found["win_sft"] = interval(min(0.95, 0.5 + gold / 20), 0.05, 128)
    folder = study / "trials" / f"{name}-{knob}={values[index]}-{number}-seed0-0a1b2c3d"
    fingerprint = f"{name}{index}{number}".ljust(64, "0")
    record = {
        "kind": "trial", "fingerprint": fingerprint, "study": "toy-00000000", "status": status, "seed": 0, "setting": setting,
        "failure": None if status == "finished" else "loss is not finite at step 7",
        "trial_of": {"grid": {knob: values[index]}} | ({"index": number} if number >= 0 else {"target": 1.0}),
        "task": {"name": "toy", "version": "1-abc", "source": "embedded", "notes": []}, "budget": {"spec": "2epochs", "flops": FLOPS},
        "algorithm": {"name": name, "control": name == "sft_chosen", "knob": knob}, "settings": setting,
        "compute": {"canonical": {"update": flops}, "counts": {}},
        "checkpoints": [{"mark": 1.0, "final": True, "metrics": found}] if status == "finished" else [],
        "tuner": {"pairs": 2000, "accuracy": interval(0.74, 0.05, 256), "lineage": "held-out pairs"},
    }  # fmt: skip
    with CellWriter(folder) as writer:
        writer.finish(record, {"wall": {"update": 9.0}, "device": "cpu", "threads": 1, "total_wall": 9.0})
    return folder


def tuned(root: Path, names: Sequence[str] = ("dpo", "ppo"), *, drawn: int = 4, gold: bool = True, extra: float = 1.0) -> Path:
    """A tuned study: trials at every grid value, one diverged, and the cells of its winners; ``extra`` times PPO's FLOPs."""
    study(root, names, failed=False, gold=gold)
    ranges = {"learning_rate": [2.5e-4, 4e-3, "log", "a factor 4 around the default"]}
    written = json.loads((root / "experiment.json").read_text())
    plans = [{"name": name, "search": ranges} for name in names]
    write_json(root / "experiment.json", written | {"tune": drawn, "kl_targets": [0.5, 2.0], "checkpoint": "best", "algorithms": plans})
    generator = np.random.default_rng(3)
    for name in names:
        for index in range(3):
            for number in range(drawn + 1):
                lost = name == "ppo" and index == 2 and number == drawn
                score = float(generator.normal(1 + index / 2, 0.6))
                spent = FLOPS * (extra if name == "ppo" else 1.0)
                trial(root, name, index, number, score=score, gold=2 + score, status="diverged" if lost else "finished", flops=spent)
            _tuned_cell(root, name, index, gold=gold)
    return root


def _tuned_cell(root: Path, name: str, index: int, *, gold: bool) -> None:
    knob, values = KNOBS[name]
    targets = [
        {"target": 0.5, "knob": values[0], "kl": 0.52, "reached": True, "words": f"reached: KL 0.52 at {knob} {values[0]:g}"},
        {"target": 2.0, "knob": values[1], "kl": 1.2, "reached": False, "words": f"not reached: highest KL 1.20 at {knob} {values[1]:g}"},
    ]
    note = {"tuned": True, "grid": {knob: values[index]}, "trials": 15, "trial": f"{name}{index}1", "targets": targets}
    scores = [{"mark": 0.5, **interval(1.4, 0.2, 128)}, {"mark": 1.0, **interval(1.1, 0.2, 128)}]
    setting = {knob: values[index], "learning_rate": 2e-3}
    rule = {"rule": "best", "best": 0.5, "scores": scores}
    cell(root, name, index, 0, tuned=True, tuning=note, setting=setting, checkpoint=rule, gold=gold)
