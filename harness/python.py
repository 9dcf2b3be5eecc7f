"""The commands from Python: ``harness.compare``, ``harness.report`` and ``harness.load``, which gives results as tidy rows. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import asked
from harness.errors import HarnessError, near
from harness.planning import experiment
from harness.store import records

if TYPE_CHECKING:
    import pandas

RESULTS = "results/runs"
OPTIONS = experiment.FILE_KEYS | {"set"}


@dataclass(frozen=True)
class Results:
    """Rows of every study below a folder, one per algorithm, setting and budget, all with the same ``columns`` (docs/python.md).

    Shares are in [0, 1]; what is not defined or not measured is None.
    """

    rows: tuple[dict[str, Any], ...]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, one by one."""
        return iter(self.rows)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        from harness.report.rows import COLUMNS

        return tuple(column.name for column in COLUMNS)

    def to_csv(self, path: str | Path) -> Path:
        """Write the rows as CSV, an empty field for None; the path comes back."""
        from harness.report.drawing import table

        text = table(self.rows) if self.rows else ",".join(self.columns) + "\n"
        records.write_bytes(Path(path), text.encode())
        return Path(path)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the rows as Parquet, with each column's own type even where all of it is missing; the path comes back."""
        import pyarrow
        from pyarrow import parquet

        from harness.report.rows import COLUMNS

        types = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64()}
        schema = pyarrow.schema([(column.name, types[column.type]) for column in COLUMNS])
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(list(self.rows), schema=schema), Path(path))
        return Path(path)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame. Raises HarnessError where pandas is not installed."""
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise HarnessError(
                "to_pandas needs pandas, which is not installed: pip install pandas; .rows and .to_csv need nothing."
            ) from error
        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


def compare(
    file: str | Path | None = None,
    *,
    results: str | Path = RESULTS,
    jobs: int | None = None,
    force: bool = False,
    verbose: bool = False,
    vary: Sequence[str] = (),
    report_to: Sequence[str] = (),
    **options: Any,
) -> Results:
    """Run a comparison as ``harness compare`` does, write its reports, and return its rows.

    ``file`` is an experiment file; ``options`` are its keys, with the same values, and win over it; ``set`` is a list such as
    ``["dpo.beta=0.1,0.3"]``, ``vary`` one such as ``["labels=bt,flip"]``, ``report_to`` one of trackers. Runs are processes that import
    the calling script: it needs ``if __name__ == "__main__":``. Raises HarnessError in one line where something is asked for that is not
    legal, and after everything has run where a run failed or a file that cannot be planned was left out.
    """
    import harness.compare as engine
    from harness.watching import trackers

    trackers.check(report_to)
    for name in options:
        if name not in OPTIONS:
            raise HarnessError(f"harness.compare: {name!r} is no option.{near(name, OPTIONS)} Legal: {', '.join(sorted(OPTIONS))}.")
    if isinstance(options.get("algorithms"), str):
        options["algorithms"] = [word.strip() for word in options["algorithms"].split(",") if word.strip()]
    options, left = asked.left_out(options, Path(file) if file else None)
    wanted, lacking = asked.variations(options, vary, Path(file) if file else None)
    for each in wanted:
        asked.priced(*each, jobs)  # an unusable model or budget ends here, before anything runs
    left |= lacking
    how: dict[str, Any] = {"jobs": jobs, "force": force, "verbose": verbose, "report_to": report_to}
    studies = [engine.carry_out(each, Path(results), task=world, **how) for each, world in wanted]
    report(studies[0] if len(studies) == 1 else results)  # of several that vary, side by side as well
    failed = [name for study, (each, _) in zip(studies, wanted, strict=True) for name in engine.failures(study, each)]
    said = [f"failed, see log.txt in each below {results}: {', '.join(failed)}"] if failed else []
    if left or failed:
        raise HarnessError("; ".join([*(f"left out: {reason}" for reason in left.values()), *said]))
    return _results(studies)


def report(
    *results: str | Path,
    format: str = "html",
    style: str = "neurips",
    columns: int = 1,
    out: str | Path | None = None,
    safety_margin: float | None = None,
    leave_out_newer: bool = False,
) -> list[str]:
    """Rebuild reports from records alone as ``harness report`` does; the lines that it prints come back, such as ``Report: PATH``.

    ``results`` are studies or folders of studies, ``results/runs`` where none is named. Records of a newer schema end it unless
    ``leave_out_newer``. Raises HarnessError where one of them has no
    report; the others have theirs all the same.
    """
    from harness.commands import reporting

    wanted = reporting.wanted(format, style, columns)
    overrides = {} if safety_margin is None else {"safety_margin": safety_margin}
    roots = [Path(each) for each in results or (RESULTS,)]
    told = list(reporting.write(roots, wanted, Path(out) if out else None, overrides, leave_out_newer=leave_out_newer))
    for each in told:
        if isinstance(each, HarnessError):
            raise each
    return [str(each) for each in told]


def load(results: str | Path = RESULTS, *, leave_out_newer: bool = False) -> Results:
    """The rows of every study at or directly below a folder, all its budgets.

    HarnessError where there is none, or where records have a newer schema than this version reads, unless ``leave_out_newer``.
    """
    return _results(_studies(results), leave_out_newer=leave_out_newer)


def _results(studies: Sequence[Path], *, leave_out_newer: bool = True) -> Results:
    from harness.report import combining, points
    from harness.report.rows import rows

    loaded = [points.load(study) for study in studies]
    for study in () if leave_out_newer else loaded:
        combining.refuse_newer(study)
    return Results(tuple(row for study in loaded for row in rows(study, study.every_point)))


def _studies(results: str | Path) -> list[Path]:
    found = records.studies(Path(results))
    if not found:
        raise HarnessError(
            f"No study at or directly below {results}: a folder with an experiment.json is wanted; harness.compare makes one."
        )
    return found
