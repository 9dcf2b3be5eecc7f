"""The page in a browser: no known barrier for its readers, and no sideways scrolling on a phone. Slow: starts chromium."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import synthetic

from harness.report import page

pytestmark = pytest.mark.slow

AXE = "4.14.1"  # pinned: a newer release may know more rules
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1280,2000", "--virtual-time-budget=30000",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return found or pytest.skip("no chromium on this machine")


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core, from the npm registry."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm") or pytest.skip("no npm to fetch axe-core with")
    try:
        subprocess.run([npm, "pack", f"axe-core@{AXE}"], cwd=folder, check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"axe-core cannot be fetched: {error}")
    with tarfile.open(folder / f"axe-core-{AXE}.tgz") as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page.write(synthetic.study(tmp_path_factory.mktemp("study"), settings=2, quick=True)).read_text()


def answer(chromium: str, text: str, folder: Path) -> object:
    """What a page's script left as JSON in the title of the document."""
    file = folder / "page.html"
    file.write_text(text)
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    return json.loads(html.unescape(shown.split("<title>", 1)[1].split("</title>", 1)[0]))


def violations(chromium: str, axe: str, text: str, folder: Path) -> object:
    """Rule and first place of each violation of WCAG 2 A and AA, or of the order of headings."""
    only = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], rules: {'heading-order': {enabled: true}}}"
    report = "r => document.title = JSON.stringify([r.passes.length, r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html])])"
    script = f"<script>{axe}</script><script>axe.run(document, {only}).then({report})</script></body>"
    assert text.count("</body>") == 1
    return answer(chromium, text.replace("</body>", script), folder)


def test_no_barrier_that_axe_knows(chromium: str, axe: str, written: str, tmp_path: Path) -> None:
    passed, found = violations(chromium, axe, written, tmp_path)  # type: ignore[misc]
    assert found == []
    assert passed > 15


def test_axe_sees_a_barrier_that_is_put_there(chromium: str, axe: str, written: str, tmp_path: Path) -> None:
    spoiled = written.replace('<html lang="en">', "<html>").replace("color: #1d1d1f", "color: #bbb")
    _, found = violations(chromium, axe, spoiled, tmp_path)  # type: ignore[misc]
    assert {"html-has-lang", "color-contrast"} <= {name for name, *_ in found}


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_body_does_not_scroll_sideways(chromium: str, written: str, tmp_path: Path, width: int) -> None:
    """In a frame, for a window of chromium has a least width. What is wider than its own scrolling box would widen the document."""
    frame = f'<iframe id="f" style="width:{width}px;height:900px;border:0"></iframe>'
    measure = (
        "const d = f.contentDocument; document.title = JSON.stringify([d.documentElement.scrollWidth, d.querySelectorAll('h2').length])"
    )
    source = json.dumps(written).replace("</", "<\\/")
    text = f"<!DOCTYPE html><title>none</title>{frame}<script>f.onload = () => {{ {measure} }}; f.srcdoc = {source};</script>"
    assert answer(chromium, text, tmp_path) == [width, written.count("<h2")]
