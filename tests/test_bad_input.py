"""Everything a user can get wrong on the command line: one line on stderr, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness import cli

TOO_FEW = "prompt,chosen,rejected\na,b,c\n"

CASES = {
    "unknown task": (["--task", "tdlr"], ["Unknown task 'tdlr'", "Did you mean 'tldr'?", "Known tasks:"]),
    "no task": ([], ["No task named", "--task NAME", "tldr"]),
    "unknown algorithm": (["--task", "tldr", "--algorithms", "dpo,kot"], ["Unknown algorithm 'kot'", "Did you mean 'kto'?", "ipo"]),
    "algorithm twice": (["--task", "tldr", "--algorithms", "dpop,dpo-positive"], ["named twice"]),
    "absent algorithm file": (["--task", "tldr", "--algorithms", "./mine.py"], ["mine.py: no such file"]),
    "unknown setting": (
        ["--task", "tldr", "--set", "dpo.betta=0.1"],
        ["dpo.betta: unknown setting", "Did you mean 'beta'?", "label_smoothing"],
    ),
    "setting of another": (["--task", "tldr", "--algorithms", "kto", "--set", "dpo.beta=1"], ["'dpo' is not among", "kto"]),
    "no setting": (["--task", "tldr", "--set", "beta=0.1"], ["--set 'beta=0.1' is not ALGORITHM.SETTING=VALUE"]),
    "no value": (["--task", "tldr", "--set", "dpo.beta="], ["is not ALGORITHM.SETTING=VALUE"]),
    "zero beta": (["--task", "tldr", "--set", "dpo.beta=0.1,0"], ["dpo.beta: 0 is not positive", "must be above 0"]),
    "negative beta": (["--task", "tldr", "--set", "kto.beta=-0.1"], ["kto.beta: -0.1 is not positive"]),
    "nan": (["--task", "tldr", "--set", "dpo.beta=nan"], ["dpo.beta: 'nan' is not a finite number"]),
    "word for a number": (["--task", "tldr", "--set", "dpo.beta=small"], ["dpo.beta: 'small' is not a number"]),
    "fraction for a count": (["--task", "tldr", "--set", "dpo.batch_pairs=1.5"], ["'1.5' is not a whole number"]),
    "seeds": (["--task", "tldr", "--seeds", "a"], ["Seeds 'a'", "0,1,2"]),
    "seeds twice": (["--task", "tldr", "--seeds", "1,1"], ["seeds", "every seed once"]),
    "illegal budget": (["--task", "tldr", "--budget", "30parsecs"], ["Budget '30parsecs'", "2epochs", "1.2e12"]),
    "small budget": (["--task", "tldr", "--budget", "1e6"], ["1e+06 FLOPs, too small for one step", "a batch of 32 pairs costs"]),
    "illegal dtype": (["--task", "tldr", "--dtype", "float16"], ["dtype", "'auto', 'float32', 'mixed' or 'bfloat16'", "float16"]),
    "unknown judge": (["--task", "tldr", "--judge", "gold-c"], ["Unknown judge 'gold-c'", "Did you mean 'gold_b'?", "gold, gold_b"]),
    "unknown labels": (["--task", "tldr", "--labels", "annotator"], ["labels", "'annotator'", "Did you mean 'annotators'?", "shuffled"]),
    "labels of data": (["--task", "tldr", "--labels", "data"], ["labels: unknown value 'data'", "bt, flip"]),
    "unknown responses": (["--task", "tldr", "--pairs-from", "old-policy"], ["Did you mean 'older-policy'?", "references"]),
    "unknown prompts": (["--task", "tldr", "--prompts", "new"], ["prompts", "'fresh' or 'pairs'", "new"]),
    "unknown task option": (["--task", "tldr", "--set", "tldr.safety_pair=.1"], ["tldr.safety_pair: unknown", "'safety_pairs'?"]),
    "several of a task option": (["--task", "tldr", "--set", "tldr.safety_pairs=.1,.2"], ["one value is wanted", "--vary"]),
    "share above 1": (["--task", "tldr", "--set", "tldr.safety_pairs=1.5"], ["tldr.safety_pairs: 1.5 is not a share"]),
    "unknown preset": (["--task", "tldr", "--model", "tiny-129"], ["Unknown model 'tiny-129'", "Did you mean 'tiny-128'?"]),
    "absent model": (
        ["--task", "tldr", "--model", "./tiny-12"],
        ["Unknown model './tiny-12'", "neither a folder nor one of"],
    ),
    "absent data": (["--task", "tldr", "--data", "absent.csv"], ["absent.csv"]),
    "absent experiment": (["absent.toml"], ["absent.toml: cannot be read: No such file"]),
}


class Refusal:
    """Runs the command in an empty folder of its own and checks that it is refused as a user should be."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        patch.chdir(folder)
        self.folder, self.patch, self.capture = folder, patch, capture

    def __call__(self, arguments: list[str], phrases: list[str]) -> None:
        """Every phrase in one line of stderr, nothing else printed, exit code 2, and the folder as it was."""
        before = sorted(self.folder.rglob("*"))
        self.patch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = self.capture.readouterr()
        assert printed.err.startswith("error: "), printed.err
        assert printed.err.count("\n") == 1, printed.err
        for phrase in phrases:
            assert phrase in printed.err, printed.err
        assert (stop.value.code, printed.out) == (2, "")
        assert sorted(self.folder.rglob("*")) == before


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    return Refusal(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("name", CASES)
def test_flags(refusal: Refusal, name: str) -> None:
    arguments, phrases = CASES[name]
    refusal(["compare", *arguments], phrases)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ('task = "tldr"\npairs = = 3\n', ["experiment.toml:2: malformed TOML", "Invalid value"]),
        ('task = "tldr"\n[algorithms.dpo\n', ["experiment.toml:2: malformed TOML"]),
        ('task = "tldr"\nbudjet = "2epochs"\n', ["experiment.toml: budjet: unknown key", "Did you mean 'budget'?", "Legal keys:"]),
        (
            'task = "tldr"\n[algorithms.dpo]\nbetta = 0.1\n',
            ["experiment.toml: algorithms.dpo.betta: unknown setting", "Did you mean 'beta'?"],
        ),
        ('task = "tldr"\n[algorithms.dpo]\nbeta = 0\n', ["experiment.toml: algorithms.dpo.beta: 0 is not positive"]),
        ('task = "tldr"\n[algorithms.dpo]\nbeta = []\n', ["algorithms.dpo.beta: an empty list"]),
        ('task = "tldr"\n[algorithms]\ndpo = 3\n', ["algorithms.dpo: a table of settings is wanted, found 3"]),
        ('task = "tldr"\nalgorithms = 3\n', ["algorithms: a list of names or tables"]),
        ('task = "tldr"\n[algorithms.dop]\nbeta = 1\n', ["Unknown algorithm 'dop'", "Did you mean 'dpo"]),
        ('task = "tldr"\npairs = 0\n', ["experiment.toml: pairs", "greater than 0", "found 0"]),
        ('task = "tldr"\nmarks = [0.5, 0.25]\n', ["experiment.toml: marks", "ascending order"]),
        ('task = "tldr"\nagreement = 0.5\n', ["experiment.toml: agreement", "greater than 0.5"]),
        ('task = "tldr"\nseeds = [-1]\n', ["experiment.toml: seeds.0", "greater than or equal to 0"]),
        ('task = "tldr"\nsft_learning_rate = "fast"\n', ["experiment.toml: sft_learning_rate", "valid number", "'fast'"]),
    ],
)
def test_experiment_files(refusal: Refusal, tmp_path: Path, text: str, phrases: list[str]) -> None:
    (tmp_path / "experiment.toml").write_text(text)
    refusal(["compare", "experiment.toml"], phrases)


@pytest.mark.parametrize(
    ("name", "content", "phrases"),
    [
        ("empty.csv", "", ["empty.csv", "empty"]),
        ("empty.jsonl", "", ["empty.jsonl", "empty"]),
        ("wrong.csv", "question,answer\nwhy,because\n", ["wrong.csv", "question", "answer", "chosen", "rejected"]),
        ("wrong.jsonl", json.dumps({"question": "why", "answer": "so"}) + "\n", ["wrong.jsonl", "question", "chosen"]),
        ("few.csv", TOO_FEW, ["few.csv", "few"]),
    ],
)
def test_data_files(refusal: Refusal, tmp_path: Path, name: str, content: str, phrases: list[str]) -> None:
    (tmp_path / name).write_text(content)
    refusal(["compare", "--task", "tldr", "--data", name], phrases)


def model_folder(tmp_path: Path, *files: str) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in files:
        (folder / name).write_text(json.dumps({"num_hidden_layers": 1, "hidden_size": 8}) if name == "config.json" else "{}")
    return folder


@pytest.mark.parametrize(
    ("files", "phrases"),
    [
        ([], ["has no config.json"]),
        (["config.json", "tokenizer.json"], ["has no weights", "*.safetensors is wanted"]),
        (["config.json", "tokenizer.json", "pytorch_model.bin"], ["only pickled weights (pytorch_model.bin)", "never loaded"]),
        (["config.json", "model.safetensors"], ["has no tokenizer", "tokenizer.json"]),
        (["config.json", "tokenizer.json", "model.safetensors"], ["model.safetensors: not a safetensors file"]),
    ],
)
def test_model_folders(refusal: Refusal, tmp_path: Path, files: list[str], phrases: list[str]) -> None:
    model_folder(tmp_path, *files)
    refusal(["compare", "--task", "tldr", "--model", "./model"], ["model", *phrases])


def test_a_results_folder_that_cannot_be_written_to_is_refused_before_anything_runs(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    phrases = ["Results folder file/runs is not writable", "--results"]
    refusal(["compare", "--task", "tldr", "--results", "file/runs"], phrases)


def test_report_and_list_refuse_what_is_not_there(refusal: Refusal) -> None:
    for arguments, phrase in (
        (["report", "absent"], "Results folder absent does not exist."),
        (["report", "."], "No study at or directly below ."),
        (["list", "algorithm"], "Cannot list 'algorithm'. Did you mean 'algorithms'?"),
    ):
        refusal(arguments, [phrase])
