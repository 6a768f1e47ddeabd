"""Scholarly furniture: symbols, glossary, citations, launch buttons, search and the policy."""

import importlib
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import nbformat
import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import ROOT, Site
from pybtex.database import parse_file
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from test_site import BY_HAND, CHAPTERS, CONTENT, PAGES, PHONE, seen_since, tap, visit

from figures_lib.__main__ import command_parser
from figures_lib.config import Experiment, load_experiment
from figures_lib.errors import ConfigError
from figures_lib.infer import field_scales, gauge
from figures_lib.infer.algorithm import METHODS
from figures_lib.infer.splines import Axis
from figures_lib.learner import GraphNetwork
from figures_lib.model.gnn import GNN
from figures_lib.model.inferred import Model
from figures_lib.neurons.saturating import SaturatingNeuron
from figures_lib.recording import Recording
from figures_lib.runs.notebooks import NOTEBOOKS
from figures_lib.runs.site import SiteError, build_book, launchable
from figures_lib.simulate.truth import Truth
from figures_lib.yaml_file import value_of

EXTENSIONS = ROOT / "book" / "_ext"
sys.path.append(str(EXTENSIONS))  # as jupyter-book does
citation, folding, glossary, pages, policy, preview, run = (
    importlib.import_module(f"furniture.{name}")
    for name in ("citation", "folding", "glossary", "page", "policy", "preview", "run")
)

NOT_SYMBOLS = (
    r"\\(?:mathrm|operatorname|text|begin|end)\{[^}]*\}|\\mathbb\s*R|"
    r"\\(?:frac|tanh|sum|left|right|sqrt|cdot|to|in|mathbf|log|leftarrow|hat|dot|top|q?quad)(?![a-z])"
)
CLASSES = {"Recording": Recording, "Truth": Truth, "Model": Model, "Axis": Axis}
REPOSITORY = "https://github.com/some-lab/figure3"
ORIGINS = ("served", "disk")


@pytest.fixture(scope="module")
def soups(site: Site) -> dict[str, BeautifulSoup]:
    return {page: read(site.folder / page) for page in CONTENT}


@pytest.fixture(params=ORIGINS)
def address(request: pytest.FixtureRequest, site: Site) -> str:
    """Where the site begins: served, or opened from disk."""
    return site.address if request.param == "served" else f"file://{site.folder}/"


def read(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text("utf-8"), "html.parser")


def parsed(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


# Symbols


def tokens(mathematics: str) -> set[str]:
    """Letters and Greek macros of a formula."""
    return set(re.findall(r"\\[A-Za-z]+|[A-Za-z]", re.sub(NOT_SYMBOLS, " ", mathematics)))


def rows_of_symbols(soups: dict[str, BeautifulSoup]) -> list[list[Any]]:
    rows = soups["book/symbols.html"].select("table tbody tr")
    return [row.find_all("td") for row in rows]


def tex_of(formula: Any) -> str:
    """The source of a formula, which KaTeX keeps beside it."""
    return str(formula.select_one("annotation").get_text())


def symbols_of(cell: Any) -> set[str]:
    return set().union(*(tokens(tex_of(part)) for part in cell.select(".math")))


def test_every_symbol_of_the_book_is_in_the_table(soups: dict[str, BeautifulSoup]) -> None:
    listed = set().union(*(symbols_of(cells[0]) for cells in rows_of_symbols(soups)))
    for page, soup in soups.items():
        for formula in soup.select(".math"):
            unknown = tokens(tex_of(formula)) - listed
            assert not unknown, (page, tex_of(formula))


def test_every_row_of_symbols_says_meaning_unit_and_where(
    soups: dict[str, BeautifulSoup],
) -> None:
    rows = rows_of_symbols(soups)
    assert len(rows) > 25
    for cells in rows:
        assert len(cells) == 5 and all(cell.get_text().strip() for cell in cells)
        assert cells[4].find("a", href=True) is not None, cells[0]


def test_symbols_occur_in_the_equation_that_the_table_names(
    soups: dict[str, BeautifulSoup],
) -> None:
    checked = 0
    for cells in rows_of_symbols(soups):
        page, _, anchor = str(cells[4].find("a")["href"]).partition("#equation-")
        if anchor:
            equation = soups[f"book/{page}"].find(id=f"equation-{anchor}")
            assert symbols_of(cells[0]) & tokens(tex_of(equation)), cells[0]
            checked += 1
    assert checked > 15


def test_names_in_the_table_of_symbols_exist_in_the_code(
    soups: dict[str, BeautifulSoup],
) -> None:
    names = [
        code.get_text()
        for cells in rows_of_symbols(soups)
        for code in cells[3].find_all("code")
    ]
    assert len(names) > 20
    network = GNN(GraphNetwork(), 2)
    for name in names:
        owner, part = name.split(".")
        if owner == "GNN":
            assert hasattr(network, part), name
        elif owner in CLASSES:
            kind = CLASSES[owner]
            assert hasattr(kind, part) or part in kind.__dataclass_fields__, name
        elif owner == "neuron_types":
            assert part in SaturatingNeuron.model_fields, name
        elif owner in Experiment.model_fields:
            assert part in Experiment.model_fields[owner].annotation.model_fields, name
        else:
            module = {"gauge": gauge, "field_scales": field_scales}[owner]
            assert callable(getattr(module, part)), name


def test_model_page_refers_to_the_table_of_symbols(soups: dict[str, BeautifulSoup]) -> None:
    link = soups["book/01_model.html"].select_one("a[href='symbols.html#tab-symbols']")
    assert link is not None and re.fullmatch(r"Table \d+", link.get_text())


# Glossary


def linked(html: str) -> BeautifulSoup:
    words = ("sweep", "parameter sweep", "knot", "R²")
    entries = "".join(f'<dt id="term-{k}">{t}</dt><dd>It.</dd>' for k, t in enumerate(words))
    page = parsed(f"<article class='bd-article'>{html}</article>")
    terms = glossary.definitions(parsed(f"<dl class='glossary'>{entries}</dl>"))
    glossary.link_terms(page, terms, "glossary.html")
    return page


def test_first_mention_of_a_term_is_linked_and_explained() -> None:
    page = linked("<p>Sweeps and a sweep.</p><p>sweep, knots, sweeping, R² of W</p>")
    links = [(a.get_text(), a["href"], a["aria-describedby"]) for a in page.find_all("a")]
    assert links == [
        ("Sweeps", "glossary.html#term-0", "tip-term-0"),
        ("knots", "glossary.html#term-2", "tip-term-2"),
        ("R²", "glossary.html#term-3", "tip-term-3"),
    ]
    assert [tip["id"] for tip in page.select("[role=tooltip]")] == [a[2] for a in links]
    assert page.get_text().startswith("Sweeps and a sweep.sweep, knots, sweeping, R² of W")


def test_the_longer_of_two_terms_is_linked() -> None:
    links = linked("<p>a parameter\nsweep, a knot</p>").find_all("a")
    assert [a.get_text().split() for a in links] == [["parameter", "sweep"], ["knot"]]


def test_parts_of_file_names_and_of_longer_words_are_no_terms() -> None:
    page = linked("<p>knot.safetensors, a/sweep/b, sweep-based, resweep, knotty</p>")
    assert page.select(".glossary-term") == []


@pytest.mark.parametrize("tag", ["code", "h2", "pre", "a", "span class='math'"])
def test_terms_are_not_linked_inside(tag: str) -> None:
    page = linked(f"<p>of <{tag}>sweep</{tag.split()[0]}></p>")
    assert page.select(".glossary-term") == []


def test_synonyms_share_a_definition_without_links() -> None:
    found = glossary.definitions(
        parsed("<dl class='glossary'><dt id='term-a'>a<a class='headerlink'>#</a></dt>"
               "<dt id='term-b'>b</dt><dd><p>See <a href='x'>there</a>.</p></dd></dl>")
    )  # fmt: skip
    assert {term: one.anchor for term, one in found.items()} == {"a": "term-a", "b": "term-b"}
    assert [str(one.body) for one in found.values()] == ["<dd><p>See there.</p></dd>"] * 2


def test_every_term_of_the_glossary_is_met_in_the_prose(
    soups: dict[str, BeautifulSoup],
) -> None:
    entries = glossary.definitions(soups["book/glossary.html"])
    assert len(entries) > 30
    met = {
        str(link["href"]).partition("#")[2]
        for soup in soups.values()
        for link in soup.select("a[href^='glossary.html#'], a.glossary-term")
    }
    by_anchor: dict[Any, list[str]] = {}
    for entry in entries.values():
        by_anchor.setdefault(str(entry.body), []).append(entry.anchor)
    unmet = [anchors for anchors in by_anchor.values() if not met & set(anchors)]
    assert unmet == []
    assert soups["book/glossary.html"].select("article h2") == []  # one list, no loose sections


class Term:
    """The first term with mathematics in its definition, on a page."""

    def __init__(self, chrome: webdriver.Chrome, name: str) -> None:
        self.chrome = chrome
        path = f"//a[@class='glossary-term' and .='{name}']"
        self.link: WebElement = chrome.find_element(By.XPATH, path)
        chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.link)
        self.tip = chrome.find_element(By.ID, self.link.get_attribute("aria-describedby"))

    def shows(self, wanted: bool) -> None:
        WebDriverWait(self.chrome, 5).until(lambda _: self.tip.is_displayed() == wanted)

    def point(self, away: int = 0) -> None:
        actions = ActionChains(self.chrome, duration=0)
        actions.move_to_element_with_offset(self.link, 0, away).perform()


def test_definition_shows_to_pointer_and_keyboard_until_escape(
    browser: webdriver.Chrome, address: str
) -> None:
    visit(browser, f"{address}book/01_model.html")
    term = Term(browser, "embedding")
    term.shows(False)
    term.point()
    term.shows(True)
    assert "learns for neuron" in term.tip.text
    assert term.tip.find_elements(By.CSS_SELECTOR, ".katex-html")
    inside, view = term.tip.rect, browser.get_window_size()
    assert inside["x"] >= 0 and inside["x"] + inside["width"] <= view["width"]
    ActionChains(browser, duration=0).move_to_element(term.tip).perform()
    term.shows(True)  # the pointer may move onto it
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    term.shows(False)
    term.point(200)
    browser.execute_script("arguments[0].focus()", term.link)
    term.shows(True)
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    term.shows(False)
    term.link.send_keys(Keys.ENTER)
    WebDriverWait(browser, 5).until(lambda page: "glossary.html#" in page.current_url)
    assert seen_since(browser)[::2] == ([], [])


def test_first_tap_shows_a_definition_and_the_second_follows(
    browser: webdriver.Chrome, site: Site, touch: None
) -> None:
    visit(browser, f"{site.address}book/01_model.html", PHONE)
    term = Term(browser, "embedding")
    tap(browser, term.link)
    term.shows(True)
    assert browser.current_url.endswith("01_model.html")
    right = term.tip.rect["x"] + term.tip.rect["width"]
    assert term.tip.rect["x"] >= 0 and right <= PHONE
    tap(browser, browser.find_element(By.CSS_SELECTOR, "article section h2"))
    term.shows(False)
    for _ in range(2):
        tap(browser, term.link)
    WebDriverWait(browser, 5).until(lambda page: "glossary.html#" in page.current_url)


# Viewers


def test_what_a_page_could_not_show_or_run_fails_the_build(tmp_path: Path) -> None:
    config = {
        "title": "A book",
        "execute": {"execute_notebooks": "off"},
        "parse": {"myst_enable_extensions": ["substitution"]},
    }
    start = "# Start\n\n{{ connectivity_r2 }}\n\n<button onclick='steal()'>"
    pages = (start, "# 1\n\n<div data-viewer='movie'></div>")
    with pytest.raises(SiteError) as error:
        small_book(tmp_path, config, *pages)
    assert "intro.md: WARNING: <button onclick='steal()'> would not work" in str(error.value)
    assert "02_simulate.html shows viewers/movie.js" in str(error.value)
    assert "connectivity_r2" in str(error.value)  # a number that the run does not have
    assert str(tmp_path) not in str(error.value)


# Launch buttons


def small_book(source: Path, config: dict[str, Any], start: str, cell: str) -> BeautifulSoup:
    """A notebook page of a small book with the furniture of this one."""
    (source / "book").mkdir()
    config["sphinx"] = {
        "local_extensions": {"furniture": str(EXTENSIONS)},
        "config": {"html_context": {"default_mode": "auto"}},
    }
    (source / "_config.yml").write_text(yaml.safe_dump(config), "utf-8")
    toc = {
        "format": "jb-book",
        "root": "book/intro",
        "chapters": [{"file": "book/02_simulate"}],
    }
    (source / "_toc.yml").write_text(yaml.safe_dump(toc), "utf-8")
    (source / "book" / "intro.md").write_text(start, "utf-8")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(cell)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, source / "book" / "02_simulate.ipynb")
    return read(build_book(source) / "book" / "02_simulate.html")


@pytest.fixture(scope="module")
def launching(tmp_path_factory: pytest.TempPathFactory) -> BeautifulSoup:
    """A page of a book with the settings of this one and an address."""
    config = book_settings(REPOSITORY, jupyterhub_url="https://hub.example.org")
    for name in ("bibtex_bibfiles", "html"):
        config.pop(name)
    return small_book(tmp_path_factory.mktemp("launch"), config, "# Start", "# Step 1")


def book_settings(repository: str, **buttons: str) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    config["repository"]["url"] = repository
    config["launch_buttons"].update(buttons)
    return launchable(config)


def test_launch_buttons_lead_to_the_notebook_in_the_repository(
    launching: BeautifulSoup,
) -> None:
    links = {a.get_text().strip(): a["href"] for a in launching.select("a[href^=https]")}
    assert (ROOT / "book" / "02_simulate.ipynb").exists()
    assert links["Binder"] == (
        "https://mybinder.org/v2/gh/some-lab/figure3/main?urlpath=lab/tree/book/02_simulate.ipynb"
    )
    assert links["Colab"] == (
        "https://colab.research.google.com/github/some-lab/figure3/blob/main/book/02_simulate.ipynb"
    )
    assert links["JupyterHub"] == (
        f"https://hub.example.org/hub/user-redirect/git-pull?repo={REPOSITORY}".replace(
            "://github", "%3A//github"
        )
        + "&urlpath=lab/tree/figure3/book/02_simulate.ipynb&branch=main"
    )


def test_launch_buttons_ask_for_nothing_when_the_page_loads(launching: BeautifulSoup) -> None:
    loading = launching.select("script[src], img[src], link[href], iframe[src]")
    addresses = [str(tag.get("src") or tag.get("href")) for tag in loading]
    assert [one for one in addresses if re.match(r"(https?:)?//", one)] == []
    assert any("logo_binder" in one for one in addresses)


def test_without_an_address_there_is_no_dead_button(soups: dict[str, BeautifulSoup]) -> None:
    for page, soup in soups.items():
        assert soup.select(".dropdown-launch-buttons") == [], page
        assert "mybinder" not in str(soup), page


def test_only_known_hosts_have_launch_buttons() -> None:
    assert book_settings("https://gitlab.com/a/b")["launch_buttons"]["colab_url"] == ""
    assert book_settings(REPOSITORY)["launch_buttons"]["colab_url"]
    with pytest.raises(ConfigError, match=r"repository\.url: 'https://example\.org/a/b'"):
        book_settings("https://example.org/a/b")


# The run that is shown


def test_substitutions_are_rounded_as_the_prose_needs_them() -> None:
    metrics = {
        "connectivity.r2": 0.99443268,
        "connectivity.slope": 1.01686742,
        "time.infer_s": 3.55834,
        "memory.peak_bytes": 486637568,
        "edges.found": 250917,
        "edges.precision": 1.0,
        "diagnosis.trusted": True,
        "types.n_found": 4,
        "external_input.r2": None,  # without a movie
        "device": "cpu",
    }
    assert run.substitutions(metrics) == {
        "connectivity_r2": "0.9944",
        "connectivity_slope": "1.017",
        "time_infer_s": "3.6",
        "memory_peak_bytes": "0.49",
        "edges_found": "250,917",
        "edges_precision": "1.0000",
        "diagnosis_trusted": "True",
        "types_n_found": "4",
        "external_input_r2": "–",
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("file", "changes", "command"),
    [
        ("fig3", {}, "make book PROFILE=paper"),
        ("fig3_quick", {}, "make book PROFILE=quick"),
        (
            "fig3_quick",
            {"simulation.noise": 0.5, "neuron_types.1.width": 3.0, "seed": 4},
            "-p seed=4 -p simulation.noise=0.5 -p neuron_types.1.width=3.0 --out runs/quick",
        ),
        (
            "fig3_test",
            {"neuron_types": [{"decay": 1.0, "self_coupling": 1.0, "width": 9.0}]},
            "",
        ),
        (
            "fig3_untuned",
            {},
            "-m figures_lib run --config config/fig3_untuned.yaml --out runs/",
        ),
    ],
)
def test_the_command_of_a_run_repeats_it(
    file: str, changes: dict[str, Any], command: str
) -> None:
    wanted = load_experiment(ROOT / "config" / f"{file}.yaml", changes)
    found = run.command_for(wanted.model_dump(mode="json"))
    assert command in found
    if "figures_lib run" in found:
        options = command_parser().parse_args(shlex.split(found)[3:])
        given = dict(text.split("=", 1) for text in options.overrides)
        overrides = {key: value_of(text, key) for key, text in given.items()}
        assert load_experiment(ROOT / options.config, overrides) == wanted


def test_a_page_is_described_to_other_programs(soups: dict[str, BeautifulSoup]) -> None:
    for page in CHAPTERS:
        head = soups[page].head
        about = {one["property"]: one["content"] for one in head.select("meta[property]")}
        assert about["og:title"] == soups[page].h1.get_text().rstrip("#").strip()
        assert 20 < len(about["og:description"]) <= preview.LONGEST + 2, page
        assert "\\" not in about["og:description"] and "og:image" not in about
    page = parsed(f"<html><head></head><article><h1>A</h1><p>{'One word. ' * 30}</p></article>")
    preview.add_preview(page, "book/a", "A book", "https://example.org/b/")
    about = {one["property"]: one["content"] for one in page.select("meta[property]")}
    assert about["og:url"] == "https://example.org/b/book/a.html"
    assert about["og:image"].startswith("https://example.org/b/run/figures/")
    assert about["og:description"].endswith("word. …")


CELLS = """<article><section>
<div class="cell tag_parameters"><div class="cell_input">a = 1</div></div>
<div class="cell tag_injected-parameters"><div class="cell_input">a = 2</div></div>
<div class="cell"><div class="cell_input">import b</div></div>
<p>Prose.</p>
<div class="cell"><div class="cell_input">c = b</div></div>
<div class="cell"><div class="cell_input">fl.save_figure(run, c, "d")</div>
<div class="cell_output"><img alt="g" src="../run/figures/d.png"></div></div>
<p>More.</p></section></article>"""


def test_code_is_folded_below_the_result_that_it_made(tmp_path: Path) -> None:
    for size, name in ((30, "d.png"), (40, "dark/d.png")):
        path = tmp_path / "run" / "figures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(path, np.zeros((20, size, 3), np.uint8))
    (tmp_path / "run" / "figures" / "d.svg").touch()
    files = run.figure_files(tmp_path / "run")
    here = tmp_path / "book" / "e.html"
    here.parent.mkdir()
    page = pages.Page("book/e", here, BeautifulSoup(CELLS, "html.parser"))
    folding.fold_code(page, files, "make f")
    alone, made, parameters = page.soup.select("details.made-by")
    assert alone.get_text(" ", strip=True) == "Code import b"
    text = made.get_text(" ", strip=True)
    assert text.startswith('Code, files and command c = b fl.save_figure(run, c, "d")')
    folder = "../run/figures"
    assert [a["href"] for a in made.select("a[download]")] == [
        *(f"{folder}/d.svg", f"{folder}/d.png")
    ]
    assert text.endswith("Again: make f")
    assert made.find_previous_sibling()["class"] == ["cell_output"]
    assert parameters.get_text(" ", strip=True) == "Parameters of this run a = 2"
    assert parameters.find_next_sibling() is None
    light, dark = page.soup.select(f'a.enlarge[href="{folder}/d.svg"] > img')
    assert (light["width"], dark["width"]) == ("30", "40")
    assert light["class"] == "on-light" and dark["src"] == f"{folder}/dark/d.png"


def test_every_result_has_its_code_its_files_and_a_command(
    site: Site, soups: dict[str, BeautifulSoup]
) -> None:
    """No code stands open, every file is there, and make knows every target."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    with_code = [page for page in CHAPTERS if soups[page].select("div.cell_input")]
    assert len(with_code) == len(NOTEBOOKS)
    for page in with_code:
        folds = soups[page].select("details.made-by")
        assert folds[-1].summary.get_text() == "Parameters of this run", page
        for code in soups[page].select("div.cell_input"):
            assert code.find_parent("details", class_="made-by"), page
        for link in soups[page].select("details.made-by a[download]"):
            assert (site.folder / page).parent.joinpath(str(link["href"])).exists()
        for fold in folds[:-1]:
            command = fold.select("p > code")[-1:]
            made = [one.get_text().split() for one in command]
            for name, target, *rest in made:
                if name != "make":
                    assert (name, target) == (".venv/bin/python", "-m")
                elif target.startswith("result-"):
                    assert "$(RESULTS:%=result-%)" in makefile
                else:
                    assert re.search(rf"^{target}:", makefile, re.M), target
                    assert all(one.startswith(("FIG=", "PROFILE=")) for one in rest)


def test_a_dark_page_shows_the_dark_figure_in_the_same_place(
    browser: webdriver.Chrome, site: Site
) -> None:
    visit(browser, f"{site.address}book/02_simulate.html")
    look = """
        document.documentElement.dataset.theme = arguments[0];
        const [one] = [...document.querySelectorAll('a.enlarge img')]
          .filter(image => image.getClientRects().length);
        one.scrollIntoView({block: 'center'});
        return [one.className, one.naturalWidth, one.clientWidth, one.clientHeight];
    """
    light = browser.execute_script(look, "light")
    dark = WebDriverWait(browser, 20).until(
        lambda page: (found := page.execute_script(look, "dark"))[1] and found
    )
    assert (light[0], dark[0]) == ("on-light", "on-dark")
    assert dark[2:] == pytest.approx(light[2:], rel=0.02)


def test_the_front_page_leads_to_the_first_chapter(soups: dict[str, BeautifulSoup]) -> None:
    (button,) = soups["book/intro.html"].select("a.start-reading")
    assert button["href"].startswith("01_model.html")


def test_published_numbers_stand_only_beside_the_published_setting() -> None:
    """Another size, parameter or movie leaves the column empty and says why."""
    paper = load_experiment(ROOT / "config" / "fig3.yaml").model_dump(mode="json")
    same = {"external_input.source": run.PUBLISHED_MOVIE}
    assert run.published(paper, same)["published_connectivity"].startswith("0.993, 1.03")
    for config, inputs, reason in (
        (paper, {}, "another movie than"),
        (paper, {"external_input.source": "0" * 64}, "another movie than"),
        (_changed(paper, "simulation", frames=40_000), same, "another network or recording"),
        (_changed(paper, "connectivity", density=0.5), same, "another network or recording"),
    ):
        texts = run.published(config, inputs)
        assert {texts[name] for name in run.PUBLISHED} == {"–"}
        assert reason in texts["published_note"]
    gradient = load_experiment(ROOT / "config" / "fig3_gradient.yaml").model_dump(mode="json")
    assert run.published(gradient, same)["published_field"] == "0.975"


def _changed(config: dict[str, Any], section: str, **values: Any) -> dict[str, Any]:
    return {**config, section: {**config[section], **values}}


def test_the_movie_is_named() -> None:
    config = load_experiment(ROOT / "config" / "fig3_test.yaml").model_dump(mode="json")
    assert "own movie" in run.movie(config)
    source = _changed(config, "external_input", source="bisons.tif")
    assert run.movie(source) == "the movie `bisons.tif`"
    assert run.movie(_changed(config, "simulation", input_neurons=0)) == "no movie"


def test_every_method_has_a_name() -> None:
    assert set(run.METHODS) == set(METHODS)


def test_the_verdict_names_every_reason() -> None:
    assert run.verdict([]).startswith("Yes")
    assert run.verdict(["too short", "too noisy"]) == "No: too short; too noisy."


# How to cite


def test_citation_is_made_of_the_citation_file() -> None:
    about = {
        "title": "The Book",
        "version": "2.1",
        "authors": [{"name": "the makers"}, {"family-names": "Ito", "given-names": "Aya"}],
    }
    made = citation.cite(about, "03_infer", "Step 2", "0123456789abcdef")
    assert made.text == (
        "the makers, Ito, Aya. “Step 2.” In: The Book, version 2.1, commit 0123456789."
    )
    assert made.bibtex == (
        "@misc{figure3_03_infer,\n  author = {{the makers} and Ito, Aya},\n"
        "  title = {Step 2},\n  howpublished = {Page of: The Book},\n"
        "  note = {Version 2.1, commit 0123456789}\n}"
    )
    assert "commit" not in citation.cite(about, "a", "b", None).text


@pytest.mark.parametrize("page", CONTENT)
def test_every_page_says_how_to_cite_it(page: str, soups: dict[str, BeautifulSoup]) -> None:
    about = citation.read_citation(ROOT / "CITATION.cff")
    (place,) = soups[page].select(".cite-page")
    title = str(soups[page].select_one("h1").find(string=True)).strip()
    for shown in (title, about["title"], about["version"], about["authors"][0]["name"]):
        for part in ("#cite-text", "#cite-bibtex"):
            assert shown in place.select_one(part).get_text()
    assert "http" not in place.get_text()


def test_citation_is_copied_by_keyboard(browser: webdriver.Chrome, address: str) -> None:
    visit(browser, f"{address}book/03_infer.html")
    summary = browser.find_element(By.CSS_SELECTOR, ".cite-page summary")
    summary.send_keys(Keys.ENTER)
    for button in browser.find_elements(By.CSS_SELECTOR, ".cite-page button"):
        button.send_keys(Keys.ENTER)
        answer = browser.find_element(By.CSS_SELECTOR, ".cite-page output")
        WebDriverWait(browser, 5).until(lambda _, shown=answer: shown.text == "Copied.")
    field = browser.execute_script(
        "document.querySelector('article').append(document.createElement('textarea'));"
        "return document.querySelector('article > textarea')"
    )
    field.send_keys(Keys.CONTROL, "v")
    bibtex = browser.find_element(By.ID, "cite-bibtex").get_property("textContent")
    assert field.get_property("value") == bibtex
    assert bibtex.startswith("@misc{figure3_03_infer,")


# Search, citations, references


def test_search_finds_the_page_offline(browser: webdriver.Chrome, address: str) -> None:
    visit(browser, f"{address}book/intro.html")
    ActionChains(browser).key_down(Keys.CONTROL).send_keys("k").key_up(Keys.CONTROL).perform()
    field = browser.switch_to.active_element
    assert field.get_attribute("type") == "search"
    field.send_keys("Cholesky", Keys.ENTER)
    WebDriverWait(browser, 5).until(lambda page: "search.html?q=Cholesky" in page.current_url)
    results = "#search-results ul.search li a"
    WebDriverWait(browser, 5).until(lambda page: page.find_elements(By.CSS_SELECTOR, results))
    found = browser.find_elements(By.CSS_SELECTOR, results)
    assert any("book/03_infer.html" in str(one.get_attribute("href")) for one in found)
    assert seen_since(browser)[::2] == ([], [])


def test_every_reference_has_an_address_and_is_linked(soups: dict[str, BeautifulSoup]) -> None:
    entries = parse_file(str(ROOT / "book" / "references.bib")).entries
    page = soups["book/references.html"]
    for key, entry in entries.items():
        wanted = {
            "doi": "https://doi.org/",
            "eprint": "https://arxiv.org/abs/",
            "url": "",
        }
        addresses = [
            prefix + entry.fields[name]
            for name, prefix in wanted.items()
            if name in entry.fields
        ]
        assert addresses, key
        links = [str(a["href"]) for a in page.select(".citation a[href^=http]")]
        assert addresses[0] in links, key


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_reference_in_the_source_is_a_link(
    page: str, soups: dict[str, BeautifulSoup]
) -> None:
    source = ROOT / "book" / f"{Path(page).stem}.md"
    text = re.sub(r"``.*?``", "", source.read_text("utf-8"))
    for role, selector in (
        ("numref", "a.reference > span.std-numref"),
        ("eq", "a.reference[href*='#equation-']"),
        ("cite:p", "a.reference[href*='references.html#']"),
    ):
        wanted = len(re.findall(rf"\{{{role}\}}`", text))
        found = len(soups[page].select(f"article {selector}"))
        assert found >= wanted, role


# The policy


def policy_of(soup: BeautifulSoup) -> dict[str, list[str]]:
    first = soup.head.find(True)
    assert first.get("http-equiv") == "Content-Security-Policy"
    rules = (rule.split() for rule in str(first["content"]).split(";"))
    return {name: values for name, *values in rules}


@pytest.mark.parametrize("page", PAGES)
def test_policy_of_every_page_is_strict(page: str, site: Site) -> None:
    soup = read(site.folder / page)
    rules = policy_of(soup)
    assert rules["default-src"] == ["'none'"]
    assert rules["base-uri"] == ["'none'"]
    allowed = re.compile(r"'self'|'none'|data:|'sha256-[\w+/=]+'")
    for name, values in rules.items():
        strange = [value for value in values if not allowed.fullmatch(value)]
        if name in ("worker-src", "media-src"):
            assert soup.select("[data-viewer=laboratory]") and strange == ["blob:"]
        else:
            assert strange == (["'unsafe-inline'"] if name == "style-src" else []), name
    assert "data:" not in rules["script-src"]
    assert [tag for tag in soup.find_all(True) for name in tag.attrs if name[:2] == "on"] == []


def test_policy_refuses_a_handler_that_it_would_silence() -> None:
    with pytest.raises(ValueError, match="onclick='steal\\(\\)'"):
        policy.add_policy(parsed("<head></head><button onclick='steal()'>"))


INTRUSIONS = """
const done = arguments[1], seen = new Set();
document.addEventListener('securitypolicyviolation', (e) => seen.add(e.effectiveDirective));
const add = (tag, values) => {
  const made = Object.assign(document.createElement(tag), values);
  document.body.append(made);
};
add('script', {textContent: 'window.intruded = true'});
add('script', {src: arguments[0] + '/a.js'});
add('img', {src: arguments[0] + '/a.png'});
add('iframe', {src: arguments[0]});
add('button', {id: 'intruder'});
document.getElementById('intruder').setAttribute('onclick', 'window.intruded = true');
document.getElementById('intruder').click();
fetch(arguments[0]).catch(() => 0);
setTimeout(() => done([[...seen].sort(), Boolean(window.intruded)]), 300);
"""


def test_policy_stops_intruders(browser: webdriver.Chrome, address: str) -> None:
    visit(browser, f"{address}book/reproduce.html")
    blocked, intruded = browser.execute_async_script(INTRUSIONS, "https://example.org")
    assert blocked == [
        *("connect-src", "frame-src", "img-src"),
        *("script-src-attr", "script-src-elem"),
    ]
    assert not intruded
    seen_since(browser)


@pytest.mark.parametrize("page", BY_HAND)
def test_page_opened_from_disk_works_under_the_policy(
    page: str, browser: webdriver.Chrome, site: Site
) -> None:
    seen = visit(browser, f"file://{site.folder}/{page}")
    assert (seen.errors, seen.failures) == ([], [])
    assert seen.facts["equations"] == seen.facts["sources"]
    own = ("file://", "data:", "blob:null/")
    assert [one for one in seen.requests if not one.startswith(own)] == []


def test_buttons_of_the_theme_still_work(browser: webdriver.Chrome, site: Site) -> None:
    visit(browser, f"{site.address}book/reproduce.html")
    press: Callable[[str], Any] = browser.execute_script
    press("window.print = () => { window.printed = true; }")
    press("document.querySelector('[data-press=print]').click()")
    assert press("return window.printed")
