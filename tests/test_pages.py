"""The landing page, the page on how to reproduce it, and the reference keep their promises."""

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from conftest import ROOT, Site

from figures_lib.__main__ import command_parser

HEADLINES = {  # row of the landing page: the metrics in it
    "connectivity": ("connectivity.r2", "connectivity.slope"),
    "hidden movie": ("external_input.r2",),
    "neuron types": ("types.n_found", "types.accuracy"),
    "largest error": ("phi.max_error", "psi.max_error"),
    "time to simulate": ("time.simulate_s", "time.infer_s"),
}
PATHS = {  # card of the landing page: where it must lead
    "Read": ("01_model.html", "04_panels.html"),
    "Play with the code": ("09_play.html", "reproduce.html"),
    "Run variants": ("08_studies.html",),
    "Check": ("reproduce.html#what-is-proven", "testing.html", "identifiability.html"),
}
PROVEN = "What is proven here, and what is not"
RUN_METRICS = (  # that the table of numbers has
    *("connectivity.r2", "connectivity.slope", "connectivity.r2_gauge_free"),
    *("external_input.r2", "external_input.r2_gauge_free", "types.accuracy"),
    *("phi.max_error", "psi.max_error", "rollout.r2"),
)
ANCHORS = "article :is([id^='figures_lib.'], [id^='module-figures_lib.'])"
NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w])"


def page(site: Site, name: str) -> BeautifulSoup:
    return BeautifulSoup(
        (site.folder / "book" / f"{name}.html").read_text("utf-8"), "html.parser"
    )


def rows(table: Tag) -> list[list[Tag]]:
    return [row.find_all("td") for row in table.select("tbody tr")]


@pytest.fixture(scope="module")
def metrics(executed_run: Path) -> dict[str, Any]:
    return json.loads((executed_run / "metrics.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def provenance(executed_run: Path) -> dict[str, Any]:
    return json.loads((executed_run / "provenance.json").read_text("utf-8"))


def rounded(text: str, value: float) -> bool:
    """Whether a text is a number rounded to the digits that it shows."""
    mantissa, _, power = text.partition("e")
    unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return abs(float(text) - value) <= 0.501 * unit


def test_a_number_is_told_from_one_that_is_rounded_wrongly() -> None:
    assert rounded("0.9944", 0.99443268) and rounded("3.6", 3.55834) and rounded("4", 4)
    assert rounded("8.5e-05", 8.53e-05)
    assert not rounded("0.9945", 0.99443268) and not rounded("0.3", 0.4)


def test_headline_numbers_are_those_of_the_run(site: Site, metrics: dict[str, Any]) -> None:
    table = page(site, "intro").select_one("article table")
    verdict = page(site, "intro").get_text()
    assert ("Yes: nothing speaks" in verdict) == metrics["diagnosis.trusted"]
    found = {cells[0].get_text().strip(): cells[1].get_text() for cells in rows(table)}
    assert len(found) == len(HEADLINES)
    for name, keys in HEADLINES.items():
        (text,) = (shown for title, shown in found.items() if title.startswith(name))
        numbers = re.findall(NUMBER, text)
        assert len(numbers) == len(keys), text
        for number, key in zip(numbers, keys, strict=True):
            assert rounded(number, metrics[key]), key
            assert len(number) >= 6 or not key.endswith(".r2"), key


def test_landing_page_has_four_ways_in_that_lead_somewhere(site: Site) -> None:
    cards = page(site, "intro").select(".sd-card")
    titles = [card.select_one(".sd-card-title").get_text().strip() for card in cards]
    assert titles == list(PATHS)
    for card, wanted in zip(cards, PATHS.values(), strict=True):
        links = {str(a["href"]) for a in card.select("a[href]")}
        assert set(wanted) <= links
        for link in links:
            name, _, anchor = link.partition("#")
            target = page(site, name.removesuffix(".html"))
            assert not anchor or target.find(id=anchor) is not None, link


def test_commands_of_the_landing_page_exist(site: Site) -> None:
    codes = [code.get_text() for code in page(site, "intro").select(".sd-card code")]
    assert "make test" in codes and ".venv/bin/jupyter lab book/" in codes
    (run,) = (code for code in codes if " figures_lib run " in code)
    assert (ROOT / command_parser().parse_args(run.split()[3:]).config).exists()


def test_what_is_proven_and_what_is_not_is_in_a_box(site: Site) -> None:
    boxes = page(site, "reproduce").select(".admonition")
    (box,) = (one for one in boxes if PROVEN in one.get_text())
    assert [strong.get_text() for strong in box.select("strong")] == ["Proven", "Not proven"]


def test_reproduce_page_tells_machine_versions_time_and_memory(
    site: Site, metrics: dict[str, Any], provenance: dict[str, Any]
) -> None:
    table = page(site, "reproduce").select_one("article table")
    found = {cells[0].get_text().strip(): cells[1].get_text() for cells in rows(table)}
    for row, shown in {
        "profile, seed": f"{metrics['profile']}, {metrics['seed']}",
        "hash of the configuration": metrics["config_hash"],
        "commit": provenance["commit"],
        "machine": f"{provenance['processor']}, {provenance['cores']} cores; computed on "
        f"{metrics['device']}",
        "Python": provenance["python"],
    }.items():
        assert found[row].strip() == shown
    assert len(provenance["packages"]) > 4
    for name, version in provenance["packages"].items():
        assert f"{name} {version}" in found["packages"]
    times = re.findall(NUMBER, found["time to simulate, to infer, altogether"])
    keys = ("time.simulate_s", "time.infer_s", "time.total_s")
    for text, key in zip(times, keys, strict=True):
        assert rounded(text, metrics[key]), key
    (memory,) = re.findall(NUMBER, found["largest memory"])
    assert rounded(memory, metrics["memory.peak_bytes"] / 1e9)


def test_every_number_has_the_command_that_regenerates_it(
    site: Site, metrics: dict[str, Any], provenance: dict[str, Any]
) -> None:
    table = page(site, "reproduce").select("article table")[1]
    ours = [cells for cells in rows(table) if re.search(NUMBER, cells[1].get_text())]
    shown = [re.findall(NUMBER, cells[1].get_text())[-1] for cells in ours]
    for text, key in zip(shown, RUN_METRICS, strict=True):
        assert rounded(text, metrics[key]), key
    for cells in ours:
        assert (
            cells[3].code.get_text() == f"make book PROFILE={provenance['config']['profile']}"
        )
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for cells in rows(table):
        assert cells[3].find("code") is not None, cells[0].get_text()
        for command in (code.get_text() for code in cells[3].find_all("code")):
            first, *given = shlex.split(command)
            if first == "make":
                assert re.search(rf"^{given[0]}:", makefile, re.M)
                key, _, value = given[1].partition("=")
                figure = ROOT / "config" / "figures" / f"{value}.yaml"
                known = figure.exists() if key == "FIG" else f"\nCONFIG_{value} = " in makefile
                assert known, command
            else:
                assert first == ".venv/bin/python"
                assert given[:2] == ["-m", "figures_lib"]
                options = vars(command_parser().parse_args(given[2:]))
                for name in options.keys() & {"config", "sweep"}:
                    assert (ROOT / options[name]).exists()


def modules() -> dict[str, Path]:
    """Every module and package of the library but its face and command line, by its name."""
    found = {}
    for path in (ROOT / "figures_lib").glob("**/*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return {
        name: path
        for name, path in found.items()
        if name not in ("figures_lib", "figures_lib.__main__")
    }


@pytest.fixture(scope="module")
def reference(site: Site) -> set[str]:
    """Anchors of the reference: of modules, and of what they define."""
    pages = sorted((site.folder / "book" / "api").glob("*.html"))
    names = [path.relative_to(site.folder / "book").with_suffix("") for path in pages]
    soups = [page(site, name.as_posix()) for name in names]
    return {str(tag["id"]) for soup in soups for tag in soup.select(ANCHORS)}


def test_every_module_is_in_the_reference(reference: set[str]) -> None:
    shown = {name for name in reference if name.startswith("module-")}
    assert len(modules()) > 40
    assert {name.removeprefix("module-") for name in shown} == set(modules())


def test_every_public_function_and_class_is_in_the_reference(reference: set[str]) -> None:
    public = {
        f"{name}.{node.name}"
        for name, path in modules().items()
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    assert len(public) > 200
    assert public - reference == set()
