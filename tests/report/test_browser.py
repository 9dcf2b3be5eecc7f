"""The page in a browser: what a reader can see, point at, choose and reach by keyboard; no barrier, nothing fetched. Slow: chromium."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic
from browser import Browser

from harness.report import page

pytestmark = pytest.mark.slow

AXE = "4.14.1"  # pinned: a newer release may know more rules
HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> \x1b[31m \u202e"
ONLY = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], rules: {'heading-order': {enabled: true}, 'skip-link': {enabled: true}}}"
SPOTS = '#figure-frontier [data-scale="log"] .spot'
PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "tldr-embedded" / "report" / "tldr-labels-bt" / "report" / "index.html"
TAB, ESCAPE, SPACE, RIGHT = ("Tab", 9), ("Escape", 27), (" ", 32), ("ArrowRight", 39)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with Browser(found or pytest.skip("no chromium on this machine"), tmp_path_factory.mktemp("profile")) as opened:
        yield opened


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
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three algorithms, two settings each; the address to open is its own."""
    names = ("dpo", "kto", "sft_chosen")
    return page.write(synthetic.study(tmp_path_factory.mktemp("study"), names, settings=2, quick=True, text=HOSTILE))


def violations(browser: Browser, axe: str) -> tuple[int, list[Any]]:
    """How many rules of WCAG 2 A and AA the open page passes, and the rule, count and first place of each that it breaks."""
    browser.ask(axe + "; 0")
    told = "r => [r.passes.length, r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 300)])]"
    passed, found = browser.ask(f"axe.run(document, {ONLY}).then({told})")
    return passed, found


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "light"), (1280, "dark")])
def test_no_barrier_that_axe_knows(browser: Browser, axe: str, written: Path, width: int, scheme: str) -> None:
    browser.open(written.as_uri(), width, scheme=scheme)
    browser.ask("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    passed, found = violations(browser, axe)
    assert found == []
    assert passed > 15


def test_axe_sees_a_barrier_that_is_put_there(browser: Browser, axe: str, written: Path) -> None:
    browser.open(written.as_uri(), 1280)
    browser.ask("document.documentElement.removeAttribute('lang'); document.body.style.color = '#bbb'; 0")
    assert {"html-has-lang", "color-contrast"} <= {name for name, *_ in violations(browser, axe)[1]}


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scripts", [True, False])
def test_the_body_does_not_scroll_sideways(browser: Browser, written: Path, width: int, scripts: bool) -> None:
    browser.open(written.as_uri(), width, scripts=scripts)
    browser.ask("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert browser.ask("document.documentElement.scrollWidth") == width
    assert browser.ask("document.querySelectorAll('h2').length") == written.read_text().count("<h2")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_row_of_a_table_is_a_tower_of_single_words(browser: Browser, written: Path, width: int) -> None:
    browser.open(written.as_uri(), width)
    browser.ask("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    tall = "[...document.querySelectorAll('tbody tr')].filter(row => row.getBoundingClientRect().height > 240).map(row => row.innerText)"
    assert browser.ask("document.querySelectorAll('td.prose').length") > 3
    assert browser.ask(tall) == []


def test_a_setting_of_many_values_does_not_push_the_numbers_out_of_sight(browser: Browser, written: Path) -> None:
    browser.open(written.as_uri(), 1280)
    browser.ask("document.querySelector('.found tbody th small').textContent = 'learning_rate=0.0005, '.repeat(8); 0")
    assert browser.ask("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('.found .scroll'))")


@pytest.mark.parametrize("width", [768, 960, 1024, 1280, 1920])
def test_the_overview_of_the_published_comparison_is_seen_whole(browser: Browser, width: int) -> None:
    browser.open(PUBLISHED.as_uri(), width)
    assert browser.ask("(box => box.scrollWidth - box.clientWidth)(document.querySelector('.found .scroll'))") == 0


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("published", [True, False])
def test_the_comparisons_are_seen_whole_and_their_rows_are_low(browser: Browser, written: Path, width: int, published: bool) -> None:
    """The setting stands under the algorithm and bounds under a number, so that on a phone nothing scrolls and rows are low."""
    browser.open((PUBLISHED if published else written).as_uri(), width)
    box = "document.querySelector('.scroll[aria-label^=\"Win rate against the SFT reference, algorithm less\"]')"
    assert browser.ask(f"{box}.scrollWidth - {box}.clientWidth") == 0
    assert 0 < browser.ask(f"Math.max(...[...{box}.querySelectorAll('tbody tr')].map(row => row.getBoundingClientRect().height))") < 100
    assert browser.ask(f"[...{box}.querySelectorAll('tbody th small')].every(each => each.textContent.includes('='))")


def test_nothing_is_fetched_and_nothing_goes_wrong(browser: Browser, written: Path) -> None:
    """The sample texts hold a script and an image whose error would run one; the policy would stop them even if they were let through."""
    browser.open(written.as_uri(), 1280)
    assert browser.asked() == [written.as_uri()]
    assert [event for event in browser.events if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")] == []
    assert browser.ask("typeof window.hacked") == "undefined"


def test_a_script_that_came_through_would_not_run(browser: Browser, written: Path) -> None:
    spoiled = written.with_name("spoiled.html")
    spoiled.write_text(written.read_text().replace("</main>", f"{HOSTILE}<img src='https://example.org/x.png'></main>"))
    browser.open(spoiled.as_uri(), 1280)
    assert browser.ask("typeof window.hacked") == "undefined"
    assert [event["params"] for event in browser.events if event.get("method") == "Network.responseReceived"][1:] == []


def test_without_scripts_all_is_there_to_read(browser: Browser, written: Path) -> None:
    browser.open(written.as_uri(), 1280, scripts=False)
    assert browser.ask("[...document.querySelectorAll('.live')].every(each => each.offsetParent === null)")
    assert browser.ask("document.getElementById('hiding').offsetParent === null")
    shown = "(e => e.offsetParent !== null || e.getClientRects().length > 0)"
    assert browser.ask(f"{shown}(document.querySelector('{SPOTS}'))")
    browser.ask("document.querySelector('#figure-frontier ~ details').open = true")
    assert "finished run" in browser.ask("document.querySelector('#figure-frontier ~ details').innerText")


def test_values_of_a_point_by_mouse_and_by_keyboard(browser: Browser, written: Path) -> None:
    browser.open(written.as_uri(), 1280)
    tip = "(t => t.hidden ? '' : t.textContent)(document.querySelector('[data-scale=\"log\"] .tip'))"
    assert browser.ask(tip) == ""
    browser.point(SPOTS)
    pointed = browser.ask(tip)
    assert pointed == browser.ask(f"document.querySelector('{SPOTS}').getAttribute('aria-label').replaceAll('; ', '\\n')")
    assert pointed.startswith("dpo, beta=0.5\nKL 0.60 [") and "win rate against SFT samples 0." in pointed and "n=384 prompts" in pointed
    browser.key(*ESCAPE)
    browser.point("h1")
    assert browser.ask(tip) == ""

    browser.ask("document.querySelector('[name=scale]').focus()")
    browser.key(*TAB)
    first = browser.ask("document.activeElement.dataset.kl")
    assert browser.ask("document.activeElement.matches('.spot:focus-visible')")
    assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.key(*RIGHT)
    assert float(browser.ask("document.activeElement.dataset.kl")) > float(first)
    assert browser.ask("document.activeElement.getAttribute('aria-label')").split(";")[0] == browser.ask(tip).split("\n")[0]
    browser.key(*TAB)
    assert browser.ask("document.activeElement.dataset.panel") == "gold"


def test_choosing_algorithms_hides_series_rows_and_samples_and_says_so(browser: Browser, written: Path) -> None:
    browser.open(written.as_uri(), 1280)
    count = "s => [...document.querySelectorAll(s)].filter(e => e.style.display !== 'none' && !e.hidden).length"
    rows = (
        "(() => [...document.querySelectorAll('tbody tr')].filter(r => !r.hidden && r.cells[0].firstChild.textContent === 'dpo').length)()"
    )
    before = browser.ask(f"({count})('[data-algorithm=\"dpo\"]')"), browser.ask(rows)
    assert min(before) > 3
    browser.ask("document.querySelector('[name=algorithm][value=dpo]').focus()")
    browser.key(*SPACE)
    assert (browser.ask(f"({count})('[data-algorithm=\"dpo\"]')"), browser.ask(rows)) == (0, 0)
    assert browser.ask(f"({count})('[data-algorithm=\"kto\"]')") > 3
    assert browser.ask("document.getElementById('hiding').innerText").startswith("Not shown: dpo.")
    stops = f"[...document.querySelectorAll('{SPOTS}')].filter(s => s.tabIndex === 0).map(s => s.dataset.algorithm)"
    assert browser.ask(stops) == ["sft_chosen"] * 2  # a stop of Tab in each panel, and none on what is hidden
    browser.point("#show-all", click=True)
    assert (browser.ask(f"({count})('[data-algorithm=\"dpo\"]')"), browser.ask(rows)) == before
    assert browser.ask("document.getElementById('hiding').hidden")


def test_the_kl_axis_can_be_linear(browser: Browser, written: Path) -> None:
    browser.open(written.as_uri(), 1280)
    shown = (
        "[...document.querySelectorAll('.scroll[data-scale]')].filter(plot => plot.offsetParent !== null).map(plot => plot.dataset.scale)"
    )
    assert browser.ask(shown) == ["log"]
    browser.point("[name=scale][value=linear]", click=True)
    assert browser.ask(shown) == ["linear"]
    places = "[...document.querySelectorAll('[data-scale=linear] .spot')].filter(s => s.dataset.panel === 'gold')"
    found = browser.ask(f"{places}.map(s => (b => [+s.dataset.kl, b.x + b.width / 2])(s.getBoundingClientRect()))")
    (a, x), (b, y), (c, z) = sorted(found)[:: max(1, (len(found) - 1) // 2)][:3]
    assert (y - x) / (b - a) == pytest.approx((z - y) / (c - b), rel=0.02)


def test_the_keyboard_stops_at_a_table_only_where_it_scrolls(browser: Browser, written: Path) -> None:
    right = "(b => (b.scrollWidth > b.clientWidth + 1) === (b.tabIndex === 0))"
    wrong = f"[...document.querySelectorAll('.scroll')].filter(b => b.offsetParent && !{right}(b))"
    for width in (390, 1280):
        browser.open(written.as_uri(), width)
        assert browser.ask(f"{wrong}.length") == 0
        assert browser.ask("[...document.querySelectorAll('.scroll')].some(box => box.tabIndex === 0)")


def test_the_first_stop_skips_to_the_content(browser: Browser, written: Path) -> None:
    browser.open(written.as_uri(), 390)
    browser.key(*TAB)
    assert browser.ask("document.activeElement.className") == "skip"
    assert browser.ask("document.activeElement.getBoundingClientRect().x") == 0


def test_on_paper_everything_is_open_and_afterwards_as_before(browser: Browser, written: Path) -> None:
    browser.open(written.as_uri(), 1280)
    opened = "document.querySelectorAll('details:not([open])').length"
    before = browser.ask(opened)
    browser.ask("dispatchEvent(new Event('beforeprint')); 0")
    assert before > 3 and browser.ask(opened) == 0
    browser.ask("dispatchEvent(new Event('afterprint')); 0")
    assert browser.ask(opened) == before
