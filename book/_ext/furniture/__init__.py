"""Furniture of the site, as a local extension of Sphinx: what the theme lacks or gets wrong.

Every page gets "Cite this page", links to the glossary that bring their definitions, and a
Content-Security-Policy; formulas are set, and the viewers are copied into the site, so that no
page asks another host for anything. Pages are furnished when all of them are written: the
definitions are read from the page of the glossary, and the policy names every script that a
page has by then.

========================  ===============================================================
``furniture_citation``    file that says how to cite the book; without one, no page does
``furniture_checks``      file with the numbers of the tests
``furniture_glossary``    document that holds the glossary; without one, no term is linked
``furniture_laboratory``  folder of the modules of viewers that compute
``furniture_packages``    folder ``node_modules`` of the packages that these use
``furniture_run``         folder of the run whose numbers, files and viewers the pages show
``furniture_viewers``     folder of the scripts of the viewers
========================  ===============================================================

Files and folders are relative to the source of the book.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docutils.nodes import document
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

from furniture.citation import add_citation, read_citation
from furniture.folding import code_of, fold_code
from furniture.glossary import Definition, definitions, link_terms
from furniture.laboratory import bundle
from furniture.mathematics import set_mathematics
from furniture.mending import mend
from furniture.page import Page, read_page
from furniture.policy import add_policy
from furniture.preview import add_preview
from furniture.redirect import write_redirect
from furniture.run import (
    command_for,
    command_for_page,
    commit,
    copy_downloads,
    figure_files,
    settings,
    texts,
)
from furniture.viewers import FOLDER, SCRIPT, copy_data, copy_scripts, start_viewers

SETTINGS = ("citation", "checks", "glossary", "laboratory", "packages", "run", "viewers")
LATE = 900  # after everything else that writes pages when the build is finished

logger = logging.getLogger(__name__)


class Furniture:
    """Notes the pages that Sphinx writes, and furnishes them when all are written."""

    def __init__(self) -> None:
        self._written: dict[str, bool] = {}  # name of a page: whether it has a source

    def note_page(
        self,
        app: Sphinx,
        name: str,
        template: str,
        context: dict[str, Any],
        doctree: document | None,
    ) -> None:
        """Remember a page that is being written."""
        self._written[name] = doctree is not None

    def finish(self, app: Sphinx, exception: Exception | None) -> None:
        """Furnish all pages; what cannot be done is a warning, as everywhere in Sphinx."""
        if exception is not None or app.builder.name != "html":
            return
        site, source, config = Path(app.outdir), Path(app.srcdir), app.config
        if config.furniture_viewers:
            copy_scripts(source / config.furniture_viewers, site)
        if config.furniture_laboratory:
            modules, packages = (
                source / folder
                for folder in (config.furniture_laboratory, config.furniture_packages)
            )
            bundle(modules, packages, site / FOLDER)
        if config.furniture_run:
            copy_downloads(source / config.furniture_run, site)
        if config.root_doc != "index":
            _lead_in(site, config)
            self._written["index"] = False
        about, entries = _about(source, config), _entries(site, config)
        run = source / config.furniture_run
        made_with = commit(run) if config.furniture_run else None
        files = figure_files(run) if config.furniture_run else {}
        command = command_for(settings(run)) if config.furniture_run else ""
        pages = [read_page(site, name) for name in self._written]
        for page, has_source in zip(pages, self._written.values(), strict=True):
            mend(page.soup)
            if has_source:
                add_preview(page.soup, page.name, config.html_title, config.html_baseurl)
                _add_scholarship(page, about, made_with, entries, config)
                code = code_of(page.soup)
                if code and config.furniture_run:
                    fold_code(page, files, command_for_page(code, command))
            with _warning(page.name):
                copy_data(page, run / "viewers", site)
                start_viewers(page.soup, page.to(SCRIPT))
        set_mathematics(pages, source / config.furniture_packages, site)
        for page in pages:
            with _warning(page.name):
                add_policy(page.soup)
            page.write()


@contextmanager
def _warning(name: str) -> Iterator[None]:
    """What cannot be done for a page is a warning."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        logger.warning("%s", error, location=name, type="furniture")


def _lead_in(site: Path, config: Config) -> None:
    icon = f"_static/{Path(config.html_favicon).name}" if config.html_favicon else None
    write_redirect(site, f"{config.root_doc}.html", config.html_title, icon)


def _about(source: Path, config: Config) -> Mapping[str, Any] | None:
    path = config.furniture_citation
    return read_citation(source / path) if path else None


def _entries(site: Path, config: Config) -> Mapping[str, Definition]:
    glossary = config.furniture_glossary
    return definitions(read_page(site, glossary).soup) if glossary else {}


def _add_scholarship(
    page: Page,
    about: Mapping[str, Any] | None,
    made_with: str | None,
    entries: Mapping[str, Definition],
    config: Config,
) -> None:
    """Citation and glossary."""
    if about is not None:
        add_citation(page.soup, about, page.name.rpartition("/")[2], made_with)
    if entries and page.name != config.furniture_glossary:
        link_terms(page.soup, entries, page.to(f"{config.furniture_glossary}.html"))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the settings and the hooks."""
    for name in SETTINGS:
        app.add_config_value(f"furniture_{name}", "", "html", str)
    furniture = Furniture()
    app.add_css_file("reference.css")
    app.connect("config-inited", _serve_own)
    app.connect("config-inited", _quote_run)
    app.connect("html-page-context", furniture.note_page)
    app.connect("build-finished", furniture.finish, priority=LATE)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}


def _serve_own(app: Sphinx, config: Config) -> None:
    """Have Sphinx find the style of the reference."""
    config.html_static_path.append(str(Path(__file__).parent / "static"))


def _quote_run(app: Sphinx, config: Config) -> None:
    """Have MyST put the numbers of the run into the prose."""
    if config.furniture_run:
        source = Path(app.srcdir)
        run, checks = source / config.furniture_run, source / config.furniture_checks
        config.myst_substitutions = texts(run, checks)
