"""The page in a real browser: Debian's chromium and chromium-driver, skipped where they are not."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import pytest
from report_files import make_groups
from synthetic import fill, save_accuracy

from benchmarks.report.page.picture import settings
from benchmarks.report.page.sections import ATLAS, Figure, Section
from benchmarks.report.page.tables import Cell, Table
from benchmarks.report.page.write import write_page

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"),
]
HOSTILE = "file:<img src=x onerror=alert(1)><b>"
SEVERAL, ONE = "constellations-quick", "cifar100-quick"  # the groups of the page
LATENCY = "net_forward_ms_per_image"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = fill(tmp_path_factory.mktemp("browser"))
    save_accuracy(place, HOSTILE, 30.0, 0)
    for seed in range(2):
        save_accuracy(place, "conv1x1", 15.0 + seed, seed, patch_size=4)
    return place


@pytest.fixture(scope="module")
def groups(folder):
    return {group.name: group for group in make_groups(folder)}


@pytest.fixture(scope="module")
def page(folder, groups) -> Path:
    return write_page(folder, list(groups.values()))


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def load(driver, page):
    def open_page(width: int = 1280, height: int = 900, dark: bool = False, **view: object):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get("about:blank")
        driver.get(f"{page.as_uri()}#{urlencode(view)}" if view else page.as_uri())
        whole(driver)
        return driver

    return open_page


def whole(driver) -> None:
    wait(driver).until(lambda d: d.execute_script("return document.documentElement.dataset.whole") == "yes")


def column(driver, table: str, index: int) -> list[str]:
    script = (
        "return [...document.getElementById('table-' + arguments[0]).tBodies[0].rows]"
        ".map(r => r.cells[arguments[1]].innerText)"
    )
    return driver.execute_script(script, table, index)


def wait(driver):
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(driver, 20)


def choose(driver, element: str, value: str, event: str = "change") -> None:
    driver.execute_script(
        "const e = document.getElementById(arguments[0]);"
        "e.value = arguments[1]; e.dispatchEvent(new Event(arguments[2]))",
        element, value, event,
    )  # fmt: skip
    whole(driver)


def unfold(driver, *names: str) -> None:
    """The folded tables of these names, or all that can be unfolded."""
    places = [f"details[data-any~='{name}']" for name in names] or ["details"]
    driver.execute_script("document.querySelectorAll(arguments[0]).forEach(d => { d.open = true; })", ", ".join(places))
    driver.execute_async_script("setTimeout(arguments[0], 50)")  # what unfolds is told in a task of its own


def press(driver, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def said(driver) -> str:
    return driver.find_element("id", "answer").text


def test_it_loads_without_errors_and_asks_nobody_for_anything(load):
    driver = load()
    driver.get_log("performance")
    driver = load()
    unfold(driver)
    assert driver.get_log("browser") == []
    asked = [
        entry["message"] for entry in driver.get_log("performance") if 'Network.requestWillBeSent"' in entry["message"]
    ]
    assert [text for text in asked if '"url":"http' in text or '"url":"ws' in text] == []
    assert len(asked) >= 1  # the page itself, or the log would prove nothing
    assert driver.execute_script("return document.querySelectorAll('.plot .main-svg').length") > 6
    assert driver.execute_script("return document.querySelectorAll('img[src=x]').length") == 0


def test_the_best_within_a_budget_is_lit_and_told_as_it_was_decided(load, groups):
    group = groups[SEVERAL]
    (setting, *_) = settings(group.sample, group.frame, group.tables["summary"])
    lit = "const t = document.getElementById('picture-plot').data.find(t => t.name === 'mixers');"
    lit += "return t.meta.filter((_, i) => t.marker.size[i] === 17)"
    for cost in setting["costs"]:
        for at, place, outcome, level, _ in cost["steps"]:
            driver = load(task=SEVERAL, cost=cost["key"], budget=at * 1.0001)
            best = setting["points"][place]["label"]
            assert best in said(driver), cost["key"]
            assert driver.execute_script(lit) == ([] if outcome == "open" else [best])
            assert ("too small to tell" in said(driver)) == (outcome == "open")
            names = ", ".join(setting["points"][i]["label"] for i in level)
            assert (f"No clear difference to {names}" in said(driver)) == bool(level)
    driver = load(task=SEVERAL, cost="params", budget=1)
    assert "Within 1 parameters: nothing. The cheapest, " in said(driver).replace("\n", " ").replace("  ", " ")


def test_the_budget_moves_by_keyboard_and_by_number_and_the_address_keeps_it(load):
    driver = load(task=SEVERAL, cost=LATENCY)
    slider = driver.find_element("id", "budget")
    assert slider.get_attribute("aria-valuetext") == "no limit"
    for _ in range(4):
        slider.send_keys(webdriver.Keys.ARROW_LEFT)
    moved = driver.execute_script("return page.state.budget")
    assert moved and slider.get_attribute("aria-valuetext").endswith("ms per image")
    exact = driver.find_element("id", "exact")
    exact.clear()
    exact.send_keys("0.5")
    assert "Within 0.5 ms per image" in said(driver)
    assert "budget=0.5" in driver.execute_script("return location.hash")
    line = "return document.getElementById('picture-plot').layout.shapes.some(s => s.x0 === 0.5 && s.type === 'line')"
    assert driver.execute_script(line)
    assert driver.find_element("id", "answer").get_attribute("aria-live") == "polite"


def test_a_link_shows_what_was_seen(load):
    driver = load(task=SEVERAL)
    other = driver.execute_script("return [...document.getElementById('size').options].map(o => o.value)")
    choose(driver, "size", next(value for value in other if value.startswith("32px")))
    choose(driver, "cost", "params")
    choose(driver, "exact", "95000", "input")
    driver.find_element("css selector", "button[data-family='spectral']").click()
    choose(driver, "ranked-search", "fft", "input")
    seen = driver.execute_script("return location.href"), said(driver), column(driver, "ranked", 1)
    assert seen[2] and all("fft" in label for label in seen[2])
    driver.get("about:blank")
    driver.get(seen[0])
    whole(driver)
    assert (driver.execute_script("return location.href"), said(driver), column(driver, "ranked", 1)) == seen
    pressed = driver.find_elements("css selector", "button[data-family][aria-pressed=true]")
    assert [button.text for button in pressed] == ["spectral"]
    driver.find_element("link text", "Claims").click()
    wait(driver).until(lambda d: d.execute_script("return scrollY") > 300)
    assert "at=claims" in driver.execute_script("return location.hash") and "cost=params" in driver.current_url


def test_a_page_without_groups_shows_what_studies_say(driver, tmp_path):
    table = Table("maps", "Numbers of maps.", ["map", "reach"], [[Cell("dct"), Cell("0.9", 0.9)]])
    figure = Figure("Maps", "The numbers", table, tmp_path / "maps.png", "Maps of mixers.", "A caption.")
    driver.get(write_page(tmp_path, [], sections=[Section(ATLAS, [figure], [])]).as_uri())
    whole(driver)
    there = "return [...document.querySelectorAll('section')].filter(s => !s.hidden).map(s => s.id)"
    assert driver.execute_script(there) == ["abilities", "mixing", "text", "atlas"]
    unfold(driver)
    assert column(driver, "maps", 0) == ["dct"]


def test_one_chooser_governs_every_section(load):
    driver = load(task=SEVERAL)
    unfold(driver, "paired")
    assert len(column(driver, "ranked", 1)) == 9 and driver.find_element("id", "sizes").is_displayed()
    choose(driver, "task", ONE)
    assert column(driver, "ranked", 1) == ["dct"]
    assert not driver.find_element("id", "sizes").is_displayed()
    assert driver.find_element("id", "no-sizes").is_displayed()
    assert ONE.split("-", maxsplit=1)[0] in driver.find_element("id", "provenance-caption").text
    choose(driver, "task", SEVERAL)
    other = driver.execute_script("return [...document.getElementById('size').options].map(o => o.value)")
    choose(driver, "size", next(value for value in other if value.startswith("32px")))
    assert len(column(driver, "ranked", 1)) == 7
    points = "return document.getElementById('picture-plot').data.find(t => t.name === 'mixers').x.length"
    assert driver.execute_script(points) == 7
    assert set(column(driver, "paired", 0)) == set(column(driver, "ranked", 1)) - {"attention"}


def test_a_size_that_was_only_timed_says_that_no_accuracy_is_known(load):
    driver = load(task=SEVERAL, size="timed-4096")
    assert "Fastest: conv1x1" in said(driver).replace("\n", " ").replace("  ", " ")
    assert "No net was trained at this size" in said(driver) and "attention: " in said(driver)
    choose(driver, "exact", "40", "input")
    assert "Within 40 ms per image: conv1x1, " in said(driver) and "(5 of 6)" in said(driver)
    assert len(column(driver, "ranked", 1)) == 9  # the first setting that was trained


def test_tables_sort_filter_and_search(load):
    driver = load(task=SEVERAL)
    before = column(driver, "ranked", 1)
    assert before[0] == "attention" and len(before) == 9
    heads = driver.find_elements("css selector", "#table-ranked thead th")
    place = next(i for i, head in enumerate(heads) if head.text.startswith("forward"))

    def times() -> list[float]:
        return [float(text) for text in column(driver, "ranked", place) if text != "–"]

    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", heads[place])
    heads[place].click()
    wait(driver).until(lambda _: times() == sorted(times()) and len(times()) >= 7)
    heads[place].find_element("css selector", "[tabindex]").send_keys("\n")  # the keyboard turns it round
    wait(driver).until(lambda _: times() == sorted(times(), reverse=True))
    press(driver, "button[data-family='spectral']")
    assert sorted(column(driver, "ranked", 1)) == ["fft_complex", "fft_real"]


def test_a_long_table_shows_ten_rows_and_unfolds(load):
    driver = load(task=SEVERAL)
    unfold(driver, "latency")
    assert len(column(driver, "latency", 0)) == 10
    more = driver.find_element("css selector", "details[data-any~=latency] .more")
    assert more.text.startswith("all ")
    press(driver, "details[data-any~=latency] .more")
    rows = driver.execute_script("return page.group.tables.latency.rows.length")
    assert len(column(driver, "latency", 0)) == rows > 10
    choose(driver, "latency-search", "hadamard", "input")
    assert set(column(driver, "latency", 0)) == {"hadamard"}


def test_differences_are_to_one_mixer_at_a_time(load):
    driver = load(task=SEVERAL)
    unfold(driver, "paired")
    assert set(column(driver, "paired", 1)) == {"attention"}
    choose(driver, "paired-against", "conv1x1")
    assert set(column(driver, "paired", 1)) == {"conv1x1"}


def test_a_row_has_its_command_its_paper_and_its_source(load):
    driver = load(task=SEVERAL)
    row = next(r for r in driver.find_elements("css selector", "#table-ranked tbody tr") if "dct" in r.text)
    driver.execute_script("arguments[0].querySelector('button').click()", row)
    row = driver.find_element("css selector", "#table-ranked .again")
    assert "make train MIXER=dct" in row.text and row.rect["width"] < 1280
    assert "SEED=0,1,2" in row.text and "mixers/families/separable.py:" in row.text and "accuracy-" in row.text
    links = [link.get_attribute("href") for link in row.find_elements("tag name", "a")]
    assert any("://" in link for link in links)
    copied = (
        "window.kept = ''; navigator.clipboard.writeText = (text) => { window.kept = text; return Promise.resolve(); }"
    )
    driver.execute_script(copied)
    driver.execute_script("arguments[0].querySelector('.command button').click()", row)
    assert driver.execute_script("return window.kept").startswith("make train MIXER=dct ")


def test_the_ranking_is_saved_as_it_is_shown(load):
    driver = load(task=SEVERAL)
    choose(driver, "ranked-search", "fft_", "input")
    kept = "window.files = []; const B = Blob; "
    kept += "Blob = function (parts, how) { files.push(parts[0]); return new B(parts, how); };"
    driver.execute_script(kept + "HTMLAnchorElement.prototype.click = () => {};")
    for button in driver.find_elements("css selector", "#ranking .bar button"):
        button.click()
    csv, latex = driver.execute_script("return window.files")
    header, *rows = csv.strip().splitlines()
    assert header.startswith("rank,mixer,family,") and "again" not in header
    assert [row.split(",")[1] for row in rows] == column(driver, "ranked", 1)
    assert latex.count("\\\\") == 1 + len(rows) and "fft\\_complex" in latex and "\\toprule" in latex


def test_dark_by_the_system_and_by_the_button(load):
    driver = load(dark=True)
    ground = "return getComputedStyle(document.body).backgroundColor"
    ink = "return document.getElementById('picture-plot').layout.font.color"
    assert (driver.execute_script(ground), driver.execute_script(ink)) == ("rgb(13, 17, 23)", "#e6edf3")
    driver.find_element("id", "theme").click()
    assert (driver.execute_script(ground), driver.execute_script(ink)) == ("rgb(255, 255, 255)", "#1b1f24")


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_a_page_scrolls_sideways_in_its_tables_alone(load, width):
    driver = load(width, 844, task=SEVERAL)
    unfold(driver)
    wide = (
        "return [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
    )
    wide += " && !e.closest('.box, nav, svg')).map(e => `${e.tagName} ${e.id} ${e.className}`)"
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width, driver.execute_script(wide)
    first = "const box = document.querySelector('#ranking .box'); box.scrollLeft = 9999;"
    first += "return box.querySelector('tbody td:nth-child(2)').getBoundingClientRect().left >= 0"
    assert driver.execute_script(first)  # the mixer's name stays in sight
    cut = "return [...document.querySelectorAll('#picture-plot .textpoint text')].every(t => {"
    cut += "const b = t.getBoundingClientRect(); return b.left >= 0 && b.right <= innerWidth + 1; })"
    assert driver.execute_script(cut)


def test_before_its_parts_are_unfolded_it_is_short_and_light(load, page):
    driver = load(1400, 900, task=SEVERAL)
    top = driver.execute_script("return document.getElementById('provenance').getBoundingClientRect().top + scrollY")
    assert top <= 6 * 900 and page.stat().st_size < 3_000_000
    assert driver.execute_script("return [...document.images].every(i => i.loading === 'lazy')")


def test_every_control_has_a_name_and_every_heading_follows_its_parent(load):
    driver = load()
    levels = driver.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))
    nameless = (
        "return [...document.querySelectorAll('select,input,button')]"
        ".filter(e => !e.labels?.length && !e.innerText && !e.ariaLabel).length"
    )
    assert driver.execute_script(nameless) == 0


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
def test_axe_finds_no_serious_fault(load, width, dark):
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    axe = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    for task in (SEVERAL, ONE):
        driver = load(width, dark=dark, task=task)
        unfold(driver)
        driver.execute_script(axe)
        found = driver.execute_async_script(
            "axe.run(document, {resultTypes: ['violations']}).then(r => arguments[0](JSON.stringify(r.violations)))"
        )
        faults = [(fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in json.loads(found)]
        assert faults == []
