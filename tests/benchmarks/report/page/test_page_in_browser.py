"""The page in a real browser: Debian's chromium and chromium-driver, skipped where they are not."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from report_files import make_groups
from synthetic import fill, save_accuracy

from benchmarks.report.page.write import write_page

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"),
]
HOSTILE = "file:<img src=x onerror=alert(1)><b>"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = fill(tmp_path_factory.mktemp("browser"))
    save_accuracy(folder, HOSTILE, 30.0, 0)
    for seed in range(2):
        save_accuracy(folder, "conv1x1", 15.0 + seed, seed, patch_size=4)
    return write_page(folder, make_groups(folder))


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
    def open_page(width: int = 1280, height: int = 900, dark: bool = False):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get(page.as_uri())
        return driver

    return open_page


def column(driver, table: str, index: int) -> list[str]:
    script = (
        "return [...document.getElementById(arguments[0]).tBodies[0].rows].map(r => r.cells[arguments[1]].innerText)"
    )
    return driver.execute_script(script, table, index)


def wait(driver):
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(driver, 10)


def choose(driver, element: str, value: str) -> None:
    driver.execute_script(
        "const e = document.getElementById(arguments[0]) ?? document.querySelector(arguments[0]);"
        "e.value = arguments[1]; e.dispatchEvent(new Event('change'))",
        element, value,
    )  # fmt: skip


def test_it_loads_without_errors_and_asks_nobody_for_anything(load):
    driver = load()
    driver.get_log("performance")
    driver = load()
    assert driver.get_log("browser") == []
    asked = [
        entry["message"] for entry in driver.get_log("performance") if 'Network.requestWillBeSent"' in entry["message"]
    ]
    assert [text for text in asked if '"url":"http' in text or '"url":"ws' in text] == []
    assert len(asked) >= 1  # the page itself, or the log would prove nothing
    assert driver.execute_script("return document.querySelectorAll('.plot .main-svg').length") > 6
    assert driver.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    shared = driver.execute_script("return [...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)")
    assert shared and not [title for title in shared if "hare" in title or "loud" in title]


def test_tables_sort_filter_and_search(load):
    driver = load()
    table = "g1-ranked"
    before = column(driver, table, 1)
    assert before[0] == "attention" and len(before) == 9
    head = driver.find_elements("css selector", f"#{table} thead th")[7]  # forward (ms/image)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", head)

    def times() -> list[float]:
        return [float(text) for text in column(driver, table, 7) if text != "–"]

    head.click()
    wait(driver).until(lambda _: times() == sorted(times()) and len(times()) >= 7)
    head.find_element("css selector", "[tabindex]").send_keys("\n")  # the keyboard turns it round
    wait(driver).until(lambda _: times() == sorted(times(), reverse=True))
    choose(driver, f"select[data-filter='{table}']", "spectral")
    assert sorted(column(driver, table, 1)) == ["fft_complex", "fft_real"]
    choose(driver, f"select[data-filter='{table}']", "")
    search = driver.find_element("css selector", f"#{table}_wrapper input")
    search.send_keys("hada")
    assert column(driver, table, 1) == ["hadamard"]


def test_settings_are_never_on_one_chart(load):
    driver = load()
    points = "return document.getElementById('g1-tradeoff-plot').data.find(t => t.name === 'mixers').x.length"
    assert driver.execute_script(points) == 7
    other = driver.execute_script("return [...document.getElementById('g1-setting').options].map(o => o.value)")
    choose(driver, "g1-setting", next(value for value in other if "32px" in value))
    assert set(column(driver, "g1-ranked", 3)) and len(column(driver, "g1-ranked", 3)) == 7
    assert set(column(driver, "g1-paired", 0)) == set(column(driver, "g1-ranked", 1)) - {"attention"}


def test_differences_are_to_one_mixer_at_a_time(load):
    driver = load()
    assert set(column(driver, "g1-paired", 1)) == {"attention"}
    choose(driver, "select[data-filter='g1-paired'][data-by='against']", "conv1x1")
    assert set(column(driver, "g1-paired", 1)) == {"conv1x1"}
    choose(driver, "select[data-filter='g1-paired'][data-by='against']", "")
    assert set(column(driver, "g1-paired", 1)) == {"attention", "conv1x1", "fft_real"}


def test_hovering_tells_the_mixer_its_numbers_and_its_command(load):
    driver = load()
    point = driver.find_elements("css selector", "#g1-tradeoff-plot .scatterlayer .point")[0]
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", point)
    webdriver.ActionChains(driver).move_to_element(point).pause(0.5).perform()
    told = driver.execute_script("return document.querySelector('#g1-tradeoff-plot .hoverlayer').textContent")
    assert "make train MIXER=" in told and "95 % interval" in told and "parameters" in told
    choose(driver, "g1-tradeoff-tell-of", "dct")  # and without a pointer
    detail = driver.find_element("id", "g1-tradeoff-detail").text
    assert "MIXER=dct" in detail and "SEED=0,1,2" in detail


def test_the_axes_can_be_chosen_and_the_front_follows(load):
    driver = load()
    script = (
        "const p = document.getElementById('g1-tradeoff-plot');"
        "return [p.layout.xaxis.title.text, p.data[0].x, p.data[0].y]"
    )
    label, _, _ = driver.execute_script(script)
    assert label.startswith("net, forward (ms per image)")
    choose(driver, "g1-tradeoff-across", "params")
    label, x, y = driver.execute_script(script)
    assert label.startswith("parameters") and y == sorted(y) and x == sorted(x)
    assert (x[0], y[0]) == (90_000, 30) and y[-1] == max(y)  # the plug-in has the fewest synthetic parameters
    choose(driver, "g1-tradeoff-across", "images_per_s")
    _, x, y = driver.execute_script(script)
    assert y == sorted(y, reverse=True)  # more images a second are better: the front falls


def test_dark_by_the_system_and_by_the_button(load):
    driver = load(dark=True)
    ground = "return getComputedStyle(document.body).backgroundColor"
    ink = "return document.getElementById('g1-tradeoff-plot').layout.font.color"
    assert (driver.execute_script(ground), driver.execute_script(ink)) == ("rgb(13, 17, 23)", "#e6edf3")
    driver.find_element("id", "theme").click()
    assert (driver.execute_script(ground), driver.execute_script(ink)) == ("rgb(255, 255, 255)", "#1b1f24")


@pytest.mark.parametrize("width", [390, 768])
def test_a_narrow_page_scrolls_in_its_tables_alone(load, width):
    driver = load(width, 844)
    wide = (
        "return [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
    )
    wide += " && !e.closest('.box, nav, svg')).map(e => `${e.tagName} ${e.id} ${e.className}`)"
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width, driver.execute_script(wide)
    assert driver.execute_script(
        "return [...document.querySelectorAll('.box')].some(b => b.scrollWidth > b.clientWidth)"
    )


def test_every_control_has_a_name_and_every_heading_follows_its_parent(load):
    driver = load()
    levels = driver.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))
    nameless = (
        "return [...document.querySelectorAll('select,input,button')]"
        ".filter(e => !e.labels?.length && !e.innerText && !e.ariaLabel).length"
    )
    assert driver.execute_script(nameless) == 0
