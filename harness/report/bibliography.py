r"""references.bib: what the algorithms of a study name as their sources, and the methods behind the report's own numbers.

A record's ``source`` is a line such as ``arXiv:2305.18290 eq. 7``. Its identifiers are all that a record knows of a paper; authors and
titles come from ``known`` entries, where an algorithm's package brings a ``references.bib``. Nothing is guessed: an entry without them
has the identifier for a title, and a source without an identifier is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.report import latex
from harness.report.points import Point

ARXIV = re.compile(r"arxiv(?:\.org/(?:abs|pdf)/|[:\s]\s*)(\d{4}\.\d{4,5})(v\d+)?", re.IGNORECASE)
DOI = re.compile(r"\b(?:doi\.org/|doi:\s*)?(10\.\d{4,9}/[^\s,;]+[^\s,;.])", re.IGNORECASE)
URL = re.compile(r"https?://[^\s,;)]+[^\s,;).]")
ENTRY = re.compile(r"^@\w+\{([^,\s]+),.*?^\}", re.MULTILINE | re.DOTALL)

# What the report itself computes with, by key: the KL estimator, the bootstrap, the adjustment, best-of-n's bound, the caveat on KL.
KL, BOOTSTRAP, HOLM, CAVEAT = "arXiv:2504.10637", "arXiv:0712.1111", "holm1979", "arXiv:2210.10760"
METHODS = r"""
@misc{arXiv:2504.10637,
  author = {Amini, Afra and Vieira, Tim and Cotterell, Ryan},
  title = {Better Estimation of the {KL} Divergence Between Language Models},
  year = {2025},
  eprint = {2504.10637},
  archivePrefix = {arXiv}
}

@misc{arXiv:0712.1111,
  author = {Owen, Art B.},
  title = {The pigeonhole bootstrap},
  year = {2007},
  eprint = {0712.1111},
  archivePrefix = {arXiv}
}

@article{holm1979,
  author = {Holm, Sture},
  title = {A simple sequentially rejective multiple test procedure},
  journal = {Scandinavian Journal of Statistics},
  volume = {6},
  pages = {65--70},
  year = {1979}
}

@misc{arXiv:2210.10760,
  author = {Gao, Leo and Schulman, John and Hilton, Jacob},
  title = {Scaling Laws for Reward Model Overoptimization},
  year = {2022},
  eprint = {2210.10760},
  archivePrefix = {arXiv}
}
"""


class Work(NamedTuple):
    """A work that a source names: the key it is cited by and the fields of an entry that knows no more."""

    key: str
    fields: Mapping[str, str]


def works(source: str) -> list[Work]:
    """The works that a source names by an arXiv number, a DOI or else a URL, in order, each once."""
    found = [_arxiv(match) for match in ARXIV.finditer(source)]
    rest = ARXIV.sub("", source)
    found += [Work(f"doi:{_key(match[1])}", {"doi": match[1], "title": f"doi:{match[1]}"}) for match in DOI.finditer(rest)]
    if not found:
        found = [Work(f"url:{_key(match[0])}", {"url": match[0], "title": match[0]}) for match in URL.finditer(rest)]
    return list({each.key: each for each in found}.values())


def cite(source: str) -> str:
    r"""``~\cite{...}`` of the works that a source names; empty where it names none."""
    keys = ",".join(each.key for each in works(source))
    return rf"~\cite{{{keys}}}" if keys else ""


def entries(text: str) -> dict[str, str]:
    """The entries of a .bib file by their keys, each as it was written; its closing brace begins a line."""
    return {match[1]: match[0] for match in ENTRY.finditer(text)}


def bibliography(found: Sequence[Point], known: Mapping[str, str]) -> str:
    """The text of references.bib, entries by key, then the sources that name nothing that can be looked up."""
    sources = {point.algorithm: str(point.head["algorithm"].get("source") or "") for point in found}
    made = entries(METHODS) | {work.key: known.get(work.key) or _entry(work) for source in sources.values() for work in works(source)}
    lost = list(_unidentified(sources))
    return "\n\n".join([*(made[key] for key in sorted(made)), *lost]) + "\n"


def _unidentified(sources: Mapping[str, str]) -> Iterator[str]:
    for name, source in sorted(sources.items()):
        if not works(source):
            said = f"names no arXiv number, DOI or URL: {latex.escape(source)}" if source else "names no source"
            yield f"% {latex.escape(name)} {said}"


def _arxiv(match: re.Match[str]) -> Work:
    """Numbers since 2007 begin with year and month; a version that is named stays in the note."""
    number, version = match[1], match[2] or ""
    fields = {"title": f"arXiv:{number}{version}", "year": f"20{number[:2]}", "eprint": f"{number}{version}", "archivePrefix": "arXiv"}
    return Work(f"arXiv:{number}", fields)


def _key(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.:/-]", "_", text)


def _entry(work: Work) -> str:
    lines = [f"  {name} = {{{latex.escape(value, whole=True)}}}" for name, value in {"key": work.fields["title"], **work.fields}.items()]
    return f"@misc{{{work.key},\n" + ",\n".join(lines) + "\n}"
