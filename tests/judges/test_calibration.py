"""Agreement with labels, on pairs few enough to count by hand and on judges whose numbers are known."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness import cli
from harness.errors import HarnessError
from harness.judges.calibration import Calibration, calibration
from harness.types import Array
from tests.measure.test_endpoint import serving


def made() -> np.random.Generator:
    return np.random.default_rng(0)


def found(wins: list[float], lengths: list[tuple[int, int]], prompts: str = "", places: tuple[Array, Array] | None = None) -> Calibration:
    names = list(prompts) or [str(i) for i in range(len(wins))]
    return calibration(np.array(wins), places, np.array(lengths, dtype=float), names, make=made)


def test_numbers_counted_by_hand() -> None:
    """Six pairs: 1, 1, 1, 0, 1/2, 0.

    Agreement 3.5 / 6. Kappa: p_o = 3/6, t = 1/6, p_e = (5/6) / 2 = 5/12, so (1/12) / (7/12) = 1/7. Lengths differ in five pairs; the
    chosen one is longer in the first four. The judge chooses the longer in pairs 1, 2, 3 and, where it sides against a shorter choice,
    in 6: 4 of 5; labels do in 4 of 5. Where labels chose the longer it agrees in 3 of 4, where the shorter in 0 of 1.
    """
    each = found([1, 1, 1, 0, 0.5, 0], [(5, 3), (5, 3), (9, 3), (4, 3), (4, 4), (2, 6)])
    values = {name: round(value.value, 12) for name, value in each._asdict().items() if value is not None}
    expected = {"agreement": 3.5 / 6, "kappa": 1 / 7, "ties": 1 / 6, "longer": 4 / 5, "labels_longer": 4 / 5, "length_bias": 0.0}
    assert values == pytest.approx({**expected, "where_longer": 3 / 4, "where_shorter": 0.0})
    assert (each.agreement.n, each.longer and each.longer.n, each.where_shorter and each.where_shorter.n) == (6, 5, 1)
    assert each.consistency is each.position is None


def test_pairs_of_one_prompt_count_as_one_prompt() -> None:
    """Prompt a: outcomes 1, 1, 0 (mean 2/3); b: 0. Means over prompts 1/3; agreed 1/3, no ties, kappa (1/3 - 1/2) / (1/2) = -1/3."""
    each = found([1, 1, 0, 0], [(1, 1)] * 4, "aaab")
    assert (each.agreement.value, each.agreement.n) == (pytest.approx(1 / 3), 2)
    assert each.kappa.value == pytest.approx(-1 / 3)
    assert each.length_bias is each.longer is each.where_longer is None


def test_a_judge_that_is_always_right_wrong_or_tied() -> None:
    lengths = [(2, 1), (1, 2)] * 3
    assert found([1] * 6, lengths).kappa.value == 1
    assert found([0] * 6, lengths).kappa.value == -1
    tied = found([0.5] * 6, lengths)
    assert (tied.kappa.value, tied.agreement.value, tied.ties.value) == (0, 0.5, 1)


def test_position_and_consistency_are_those_of_pairs_with_two_verdicts() -> None:
    """Of four pairs two have both verdicts: one stays, one turns to the first place, so 1/2 and (0 + 1/2) / 2; of silences nothing."""
    places = np.array([1.0, 1.0, 0.5, 0.5]), np.array([0.0, 1.0, 0.5, 1.0])
    wins = np.where(places[0] == 1 - places[1], places[0], 0.5)
    decided = np.array([True, True, False, False])
    each = calibration(wins, places, np.ones((4, 2)), list("abcd"), make=made, decided=decided)
    assert each.consistency and each.position
    assert (each.consistency.value, each.position.value, each.position.n) == (0.5, 0.25, 2)
    assert each.agreement and each.ties and each.kappa
    assert (each.agreement.value, each.ties.value, each.kappa.n, each.agreement.n) == (0.75, 0.5, 2, 2)  # with silences .625 and .75
    silent = calibration(wins, places, np.ones((4, 2)), list("abcd"), make=made, decided=np.zeros(4, dtype=bool))
    assert silent.consistency is silent.position is None
    assert silent.agreement is silent.kappa is silent.ties is silent.longer is None


def test_kappa_is_that_of_the_table_of_both_orders() -> None:
    """Against the general formula on the pairs written out in both orders."""
    wins = np.random.default_rng(1).choice([0.0, 0.5, 1.0], 400, p=[0.3, 0.1, 0.6])
    labels, judged = np.repeat([1.0, 0.0], 400), np.concatenate([wins, 1 - wins])
    chance = sum((labels == answer).mean() * (judged == answer).mean() for answer in (0.0, 0.5, 1.0))
    each = found(wins.tolist(), [(1, 2)] * 400)
    assert each.kappa.value == pytest.approx(((labels == judged).mean() - chance) / (1 - chance))
    assert each.kappa.lower < each.kappa.value < each.kappa.upper


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """60 draws of 150 pairs of a judge that agrees in 70 %: kappa's truth is 0.4. Bounds of 3.5 standard errors of 95 % of 60."""
    generator, hits = np.random.default_rng(5), 0
    for _ in range(60):
        wins = (generator.random(150) < 0.7).astype(float)
        kappa = found(wins.tolist(), [(1, 2)] * 150).kappa
        hits += kappa.lower <= 0.4 <= kappa.upper
    assert hits >= 0.95 * 60 - 3.5 * (60 * 0.95 * 0.05) ** 0.5


ROWS = [("p0", "a long one", "short"), ("p1", "b", "quite long too"), ("p2", "c d e", "f"), ("p3", "same len", "len same")]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Runs ``harness judge --calibrate`` on four pairs and gives what was printed; an error comes as itself."""
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(dict(zip(("prompt", "chosen", "rejected"), row, strict=True))) + "\n" for row in ROWS))

    def invoke(*arguments: str, file: Path = data) -> str:
        result = CliRunner().invoke(cli.app, ["judge", str(tmp_path / "r"), "--calibrate", str(file), *arguments])
        if result.exception:
            raise result.exception
        return result.output

    return invoke


def test_a_baseline_is_calibrated_and_recorded(run: Callable[..., str], tmp_path: Path) -> None:
    """Length: right, wrong, right, a tie; of the three that differ the judge takes the longer always, the labels two of three times."""
    said = run("--judge", "length")
    (path,) = (tmp_path / "r" / "calibrations").glob("*.json")
    record = json.loads(path.read_text())
    values = {name: each and each["value"] for name, each in record["metrics"].items()}
    assert (values["agreement"], values["longer"], values["labels_longer"]) == (0.625, 1.0, pytest.approx(2 / 3))
    assert values["length_bias"] == pytest.approx(1 / 3)
    assert values["consistency"] is None
    assert record["metrics"]["agreement"]["n"] == record["data"]["pairs"] == 4
    assert (record["judge"]["name"], record["judge"]["unit"]) == ("length", "words")
    rows = [json.loads(line) for line in gzip.decompress(path.with_suffix(".jsonl.gz").read_bytes()).decode().splitlines()]
    assert [row["win"] for row in rows] == [1.0, 0.0, 1.0, 0.5]
    assert "agrees with the labels, ties one half      0.625 [" in said
    assert "cannot matter: asked once" in said
    assert str(path) in said.replace("\n", "")


def test_a_url_is_asked_both_ways_round_and_only_for_what_is_missing(run: Callable[..., str], tmp_path: Path) -> None:
    with serving() as (url, server):
        run("--judge", url, "--limit", "2")
        assert len(server.asked) == 4
        said = run("--judge", url)
        assert len(server.asked) == 8
    records = [json.loads(path.read_text()) for path in (tmp_path / "r" / "calibrations").glob("*.json")]
    assert sorted(each["data"]["pairs"] for each in records) == [2, 4]
    whole = max(records, key=lambda each: each["data"]["pairs"])
    assert whole["metrics"]["consistency"]["value"] == 1.0
    assert whole["metrics"]["agreement"]["value"] == 0.625  # longer in characters: right, wrong, right and a tie
    assert whole["judge"]["usage"] == {"questions": 8, "read": 0, "written": 0, "uncounted": 8, "silent": 0}
    assert "8 answers came without a count" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "lenght"], r"Did you mean 'length'\?"),
        (["--judge", "rouge"], "no reference response to"),
        (["--judge", "http://127.0.0.1:9/v1#m"], r"judge http://127\.0\.0\.1:9/v1: no answer in 4 tries: .*refused"),
        (["--judge", "http://me:secret@host/v1#m"], r"judge 'http://host/v1#m': a name or password in an address is not sent"),
        (["--judge", "http://host/v1#m", "--template", "dpo-tdlr-c"], r"template 'dpo-tdlr-c' is unknown\. Did you mean 'dpo-tldr-c'"),
        (["--judge", "length", "--price", "1"], r"--price '1': two prices of a million tokens are wanted"),
        (["--judge", "length", "--dry-run"], "--calibrate DATA goes with --judge"),
        (["--safety", "harmful", "--detector", "task"], "--calibrate DATA goes with --judge"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line(
    arguments: list[str], said: str, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("harness.judges.requests.PAUSE", 0.001)
    with pytest.raises(HarnessError, match=said) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not [*tmp_path.rglob("calibrations/*.json")]


def test_data_without_labels_is_one_line(run: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "none.csv"
    file.write_text("query,postprocessed_response,reference_responses,preferred\np,a,b,\n")
    with pytest.raises(HarnessError, match=r"no labelled pair in it \(1 rows read"):
        run("--judge", "length", file=file)
    with pytest.raises(HarnessError, match="does not exist"):
        run("--judge", "length", file=tmp_path / "pears.jsonl")


def test_length_on_labelled_summaries(real_data: Path, tmp_path: Path) -> None:
    """600 summaries that GPT-4 labelled: the longer one is chosen in 0.667 [0.629, 0.706] of 574 pairs of different length."""
    file = real_data / "tldr" / "oai1b.csv_judged.csv"
    result = CliRunner().invoke(cli.app, ["judge", str(tmp_path), "--calibrate", str(file), "--judge", "length"])
    assert "labels choose the longer of two            0.667 [" in result.output
    assert "n=574" in result.output
