"""Every page of the built site, in a browser that can reach nothing but this machine."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

import axe_core_python
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT, Site
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from figures_lib.errors import ConfigError
from figures_lib.runs.site import build_site

CONTENTS = (ROOT / "_toc.yml").read_text("utf-8")
CHAPTERS = tuple(f"{name}.html" for name in re.findall(r"(?:root|file): (\S+)", CONTENTS))
REFERENCE = tuple(  # a page for each package, and for each module beside them
    f"book/api/figures_lib.{path.stem}.html"
    for path in sorted((ROOT / "figures_lib").glob("[!_.]*"))
)
CONTENT = (*CHAPTERS, *REFERENCE)
BY_HAND = (*CHAPTERS, *REFERENCE[::9])  # pages of the reference are alike: a template made them
PAGES = (*CONTENT, "index.html", "genindex.html", "py-modindex.html", "search.html")
WITH_EQUATIONS = (
    *("01_model", "02_simulate", "03_infer", "identifiability", "symbols", "glossary"),
)
HEAVIEST = 5_000_000  # bytes that a page loads
SLOWEST = 2000  # milliseconds to its first content
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8")
VIOLATIONS = """
document.documentElement.dataset.theme = document.documentElement.dataset.mode = arguments[0];
setTimeout(() => axe.run(document, {resultTypes: ['violations']}).then((found) =>
  arguments[1](found.violations)), 300);
"""
DESKTOP, PHONE = 1280, 390  # pixels
PAINTED = """
const rgb = getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number);
return (rgb[0] + rgb[1] + rgb[2]) / 3;
"""

SETTLED = """
return document.readyState === 'complete' &&
  performance.getEntriesByName('first-contentful-paint').length > 0;
"""


class Visit(NamedTuple):
    """What a browser saw and did on one page."""

    facts: dict[str, Any]
    weight: int
    errors: list[str]
    requests: list[str]
    failures: list[str]


FACTS = """
const shown = e => e.getClientRects().length > 0;
return {
  h1: document.querySelectorAll('h1').length,
  title: document.title,
  language: document.documentElement.lang,
  images: [...document.images].filter(shown).map(i => ({src: i.src, alt: i.alt,
    width: i.naturalWidth, height: i.naturalHeight})),
  sources: document.querySelectorAll('.math').length,
  equations: [...document.querySelectorAll('.math > .katex, .math > .katex-display')]
    .filter(shown).length,
  broken: document.querySelectorAll('.katex-error').length,
  fonts: [...document.fonts].filter(f => f.status === 'error').map(f => f.family),
  text: document.querySelector('main, body').innerText,
  painted: performance.getEntriesByName('first-contentful-paint').map(e => e.startTime),
};
"""
LOADED = """
return ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))
  .filter(e => e.name.startsWith('http'))
  .map(e => [e.name, e.decodedBodySize, e.transferSize]);
"""


def visit(chrome: webdriver.Chrome, address: str, width: int = DESKTOP) -> Visit:
    """Open a page and wait until the browser reports a paint."""
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    chrome.get_log("browser"), chrome.get_log("performance")
    chrome.get(address)
    with suppress(TimeoutException):  # then the test of paints says which page it is
        WebDriverWait(chrome, 15).until(lambda page: page.execute_script(SETTLED))
    chrome.execute_async_script("document.fonts.ready.then(() => arguments[0]())")
    return Visit(chrome.execute_script(FACTS), weight(chrome), *seen_since(chrome))


def weight(chrome: webdriver.Chrome) -> int:
    """Bytes that a page has loaded so far, every one of them from the server."""
    loaded = chrome.execute_script(LOADED)
    assert [name for name, size, transferred in loaded if transferred < size] == []
    return sum(size for _, size, _ in loaded)


def barriers(chrome: webdriver.Chrome, theme: str) -> list[tuple[str, str]]:
    """What axe-core finds serious or critical on the page as it is, in a theme."""
    if not chrome.execute_script("return window.axe !== undefined"):
        chrome.execute_script(AXE)
    return [
        (one["id"], node["html"][:200])
        for one in chrome.execute_async_script(VIOLATIONS, theme)
        for node in one["nodes"]
        if one["impact"] in ("serious", "critical")
    ]


def seen_since(chrome: webdriver.Chrome) -> tuple[list[str], list[str], list[str]]:
    """Errors on the console, addresses asked for and failures since this was last asked."""
    errors = [m["message"] for m in chrome.get_log("browser") if m["level"] == "SEVERE"]
    requests, failures = [], []
    for entry in chrome.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        details = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            requests.append(details["request"]["url"])
        elif message["method"] == "Network.responseReceived":
            if details["response"]["status"] >= 400:
                failures.append(details["response"]["url"])
        elif message["method"] == "Network.loadingFailed" and not details.get("canceled"):
            failures.append(details["errorText"])
    return errors, requests, failures


def tap(chrome: webdriver.Chrome, element: WebElement, across: float = 0.5) -> None:
    """What a finger does, at a fraction of the width of an element."""
    chrome.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element
    )
    left, top, width, height = chrome.execute_script(
        "const {x, y, width, height} = arguments[0].getClientRects()[0];"
        "return [x, y, width, height]",
        element,
    )
    place = {"x": left + across * width, "y": top + height / 2}
    for kind, points in (("touchStart", [place]), ("touchEnd", [])):
        command = {"type": kind, "touchPoints": points}
        chrome.execute_cdp_cmd("Input.dispatchTouchEvent", command)


@pytest.fixture(scope="module")
def visits(browser: webdriver.Chrome, site: Site) -> dict[str, Visit]:
    browser.get("about:blank")  # leaves the first page, which loads parts of the browser
    return {page: visit(browser, site.address + page) for page in PAGES}


@pytest.fixture(scope="module")
def soups(site: Site) -> dict[str, BeautifulSoup]:
    return {
        page: BeautifulSoup((site.folder / page).read_text("utf-8"), "html.parser")
        for page in PAGES
    }


def test_site_has_exactly_the_pages_of_the_book(site: Site) -> None:
    found = {
        path.relative_to(site.folder).as_posix()
        for path in site.folder.rglob("*.html")
        if "_static" not in path.parts
    }
    assert found == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_page_loads_without_error_from_this_site_alone(
    page: str, visits: dict[str, Visit], site: Site
) -> None:
    seen = visits[page]
    assert seen.errors == []
    assert seen.failures == []
    assert any(address.startswith(site.address) for address in seen.requests)
    own = (site.address, "data:", "blob:" + site.address)
    assert [address for address in seen.requests if not address.startswith(own)] == []


@pytest.mark.parametrize("page", PAGES)
def test_page_names_no_script_style_or_font_elsewhere(
    page: str, soups: dict[str, BeautifulSoup]
) -> None:
    loaded = soups[page].find_all(["script", "link", "img", "iframe", "source", "object"])
    addresses = [str(tag.get("src") or tag.get("href") or "") for tag in loaded]
    assert [a for a in addresses if re.match(r"(https?:)?//", a)] == []
    inline = " ".join(tag.get_text() for tag in soups[page].find_all(["script", "style"]))
    assert re.findall(r"https?://[^\s\"']+", inline) == []


@pytest.mark.parametrize("page", PAGES)
def test_page_has_one_heading_a_title_and_a_language(
    page: str, visits: dict[str, Visit]
) -> None:
    facts = visits[page].facts
    assert (facts["h1"], facts["language"]) == (1, "en")
    assert facts["title"].strip()


@pytest.mark.parametrize("page", PAGES)
def test_images_show_and_are_described(page: str, visits: dict[str, Visit]) -> None:
    for image in visits[page].facts["images"]:
        assert image["alt"].strip(), image["src"]
        assert image["width"] > 0 and image["height"] > 0, image["src"]


@pytest.mark.parametrize("page", PAGES)
def test_page_is_light(page: str, visits: dict[str, Visit]) -> None:
    assert 0 < visits[page].weight <= HEAVIEST


@pytest.mark.parametrize("page", PAGES)
def test_first_content_shows_soon(
    page: str, visits: dict[str, Visit], browser: webdriver.Chrome, site: Site
) -> None:
    times = visits[page].facts["painted"]
    for _ in range(2):  # the machine may have been busy
        if not times or min(times) > SLOWEST:
            times = [*times, *visit(browser, site.address + page).facts["painted"]]
    assert times and min(times) <= SLOWEST


def test_figure_pages_show_all_panels(visits: dict[str, Visit]) -> None:
    count = {page: len(visits[page].facts["images"]) for page in CONTENT}
    wanted = {"02_simulate": 2, "03_infer": 4, "04_panels": 3, "05_functions": 3}
    wanted |= {"06_benchmark": 6, "07_ablation": 5}
    for name, least in wanted.items():
        assert count[f"book/{name}.html"] >= least, name


@pytest.mark.parametrize("page", CONTENT)
def test_equations_are_rendered(page: str, visits: dict[str, Visit]) -> None:
    facts = visits[page].facts
    assert facts["equations"] == facts["sources"]
    assert (facts["broken"], facts["fonts"]) == (0, [])
    assert facts["equations"] > 0 or Path(page).stem not in WITH_EQUATIONS


@pytest.mark.parametrize("page", CONTENT)
def test_text_has_no_leftovers(page: str, visits: dict[str, Visit]) -> None:
    text = visits[page].facts["text"]
    for leftover in ("{{", "}}", "$$", "\\(", "{numref}", "{eq}", "{cite", "undefined", "??"):
        assert leftover not in text, leftover


@pytest.fixture(scope="module")
def anchors(soups: dict[str, BeautifulSoup]) -> dict[str, set[str]]:
    """What links into each page may point at."""
    return {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in soups.items()}


@pytest.mark.parametrize("page", PAGES)
def test_links_inside_the_site_resolve(
    page: str, soups: dict[str, BeautifulSoup], anchors: dict[str, set[str]], site: Site
) -> None:
    broken = []
    for link in soups[page].find_all("a", href=True):
        address, anchor = urldefrag(urljoin(site.address + page, str(link["href"])))
        if not address.startswith(site.address):
            continue
        path = unquote(address.removeprefix(site.address)) or "index.html"
        found = (site.folder / path).is_file()
        if not found or (anchor and unquote(anchor) not in anchors.get(path, ())):
            broken.append(link["href"])
    assert broken == []


@pytest.mark.parametrize("page", BY_HAND)
def test_phone_does_not_scroll_sideways(
    page: str, browser: webdriver.Chrome, site: Site
) -> None:
    visit(browser, site.address + page, PHONE)
    wide = browser.execute_script(
        "return Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
    )
    assert wide <= PHONE


@pytest.mark.parametrize("page", BY_HAND)
def test_no_serious_barrier_in_either_theme(
    page: str, browser: webdriver.Chrome, site: Site
) -> None:
    visit(browser, site.address + page)
    for theme in ("light", "dark"):
        assert barriers(browser, theme) == [], theme


@pytest.fixture
def scheme(browser: webdriver.Chrome) -> Iterator[None]:
    yield
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize(("mode", "low", "high"), [("light", 200, 255), ("dark", 0, 60)])
def test_reader_gets_the_colours_of_their_system(
    mode: str, low: int, high: int, browser: webdriver.Chrome, site: Site, scheme: None
) -> None:
    feature = {"name": "prefers-color-scheme", "value": mode}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    visit(browser, site.address + "book/04_panels.html")
    assert low <= browser.execute_script(PAINTED) <= high


def test_numbers_in_the_prose_come_from_the_run(
    executed_run: Path, visits: dict[str, Visit]
) -> None:
    metrics = json.loads((executed_run / "metrics.json").read_text("utf-8"))
    shown = f"{metrics['connectivity.r2']:.4f}"
    for page in ("book/intro.html", "book/04_panels.html"):
        assert shown in visits[page].facts["text"], page


def test_reproduce_page_shows_where_the_run_comes_from(
    executed_run: Path, visits: dict[str, Visit]
) -> None:
    provenance = json.loads((executed_run / "provenance.json").read_text("utf-8"))
    text = visits["book/reproduce.html"].facts["text"]
    checksums = [sha for files in provenance["stages"].values() for sha in files.values()]
    assert len(checksums) > 5
    for shown in (*checksums, str(provenance["commit"]), provenance["config_hash"]):
        assert shown in text, shown
    for name, version in provenance["packages"].items():
        assert f"{name} {version}" in text


def test_downloads_are_the_files_of_the_run(
    executed_run: Path, soups: dict[str, BeautifulSoup], site: Site
) -> None:
    links = [str(a["href"]) for a in soups["book/reproduce.html"].find_all("a", download=True)]
    names = {link.removeprefix("../run/") for link in links}
    assert {"metrics.json", "provenance.json", "notebooks/03_infer.ipynb"} <= names
    assert {"figures/fig3fg_fields.svg", "figures/fig3fg_fields.png"} <= names
    for name in names:
        assert (site.folder / "run" / name).read_bytes() == (executed_run / name).read_bytes()


def test_no_page_names_a_folder_of_this_machine(site: Site) -> None:
    for path in site.folder.rglob("*.html"):
        text = path.read_text("utf-8")
        assert str(ROOT) not in text, path.name
        assert str(Path.home()) + "/" not in text, path.name


def test_incomplete_run_is_refused_and_an_earlier_site_kept(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    html = tmp_path / "html"
    html.mkdir()
    (html / "index.html").write_text("earlier", "utf-8")
    with pytest.raises(ConfigError, match=r"metrics\.json is missing"):
        build_site(tmp_path / "run", html)
    assert (html / "index.html").read_text("utf-8") == "earlier"
