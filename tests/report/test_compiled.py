r"""Papers as TeX sets them: every file of a report in one document, in one and two columns, with names that are not meant well."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import synthetic
from test_paper import HOSTILE

from harness.report import paper, styles
from harness.report.points import load
from tests.report.test_robustness import USUAL

CLASSES = {
    "neurips": r"\documentclass[10pt]{article}\usepackage[letterpaper,textwidth=5.5in,textheight=9in]{geometry}",
    "icml": r"\documentclass[10pt,twocolumn]{article}\usepackage[letterpaper,textwidth=6.75in,textheight=9in,columnsep=0.25in]{geometry}",
    "acl": r"\documentclass[11pt,twocolumn]{article}\usepackage[a4paper,margin=2.5cm,columnsep=0.6cm]{geometry}",
}
BODY = r"""\usepackage{times,natbib,booktabs,graphicx}
\input{macros}
\begin{document}
\section{Methods}\input{methods}\nocite{*}
\section{Results} A win rate of \HarnessToyLabelsBtDpoWinRateWithInterval{}.
%s
\input{figures}
\clearpage
\section{Checklist}\input{checklist}
\appendix
\section{Appendix}\input{appendix}
\bibliographystyle{plainnat}
\bibliography{references}
\end{document}
"""
TYPESETTERS = [name for name in ("pdflatex", "bibtex", "kpsewhich") if not shutil.which(name)]
PACKAGES = () if TYPESETTERS else ("booktabs.sty", "natbib.sty", "times.sty", "geometry.sty", "ptmr7t.tfm")
ABSENT = TYPESETTERS or [name for name in PACKAGES if not subprocess.run(["kpsewhich", name], capture_output=True, check=False).stdout]

pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"no TeX that could set a paper: {', '.join(ABSENT)} not found")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two studies that differ in their labels, one with a setting and a judge of hostile names."""
    root = tmp_path_factory.mktemp("studies")
    made = []
    for labels in ("bt", "flip"):
        made.append(
            synthetic.study(root / labels, ("dpo", "ppo", "sft_chosen"), settings=2, seeds=2, assumptions={**USUAL, "labels": labels})
        )
    for path in made[1].glob("cells/ppo*/record.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        value = next(iter(record["setting"].values()))
        record |= {"setting": {HOSTILE: value}, "settings": {HOSTILE: value, "learning_rate": 1e-3}}
        record["task"]["notes"] = [HOSTILE, "</script><script>alert(1)</script>"]
        path.write_text(json.dumps(record), encoding="utf-8")
    return made


def ran(folder: Path, *command: str) -> str:
    done = subprocess.run([*command], cwd=folder, capture_output=True, timeout=300, check=False)
    assert not done.returncode, done.stdout.decode("latin-1")[-2000:]
    return done.stdout.decode("latin-1")


@pytest.mark.slow
@pytest.mark.parametrize(("style", "columns"), [("neurips", 1), ("icml", 1), ("icml", 2), ("acl", 1)])
def test_a_paper_compiles_without_errors_and_no_line_is_too_wide(studies: list[Path], tmp_path: Path, style: str, columns: int) -> None:
    parts = [paper.Part(f"toy-labels-{path.name}", load(path)) for path in studies]
    paper.write(parts, tmp_path, paper.formats("pdf,latex"), styles.paper(style, columns))
    assert (tmp_path / "figures" / "robustness.pdf").is_file()
    tables = "\n".join(rf"\input{{tables/{path.stem}}}" for path in sorted((tmp_path / "tables").glob("*.tex")))
    (tmp_path / "paper.tex").write_text(CLASSES[style] + BODY % tables, encoding="ascii")
    for command in ("pdflatex", "bibtex", "pdflatex", "pdflatex"):
        said = ran(tmp_path, command, *(["-halt-on-error", "-interaction=nonstopmode"] if command == "pdflatex" else []), "paper")
    assert not re.findall(r"^(?:Overfull.*|LaTeX Warning: .*(?:undefined|too large).*|!.*)$", said, re.MULTILINE)
    assert "root:" not in said
