"""The website: a Jupyter Book rendered from the notebooks that a run has executed."""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import yaml
from bs4 import BeautifulSoup

from figures_lib.runs.citation import add_citation, read_citation
from figures_lib.errors import ConfigError
from figures_lib.runs.glossary import Definition, definitions, link_terms, needs_mathematics
from figures_lib.runs.notebooks import NOTEBOOKS, RUN_HASH
from figures_lib.runs.policy import add_policy
from figures_lib.paths import ROOT
from figures_lib.runs.provenance import provenance_texts
from figures_lib.runs.files import read_json

FRONT_PAGE = "book/intro.html"
PARAMETERS = {  # cells that a reader may open, and what invites to it
    "parameters": "Show the default parameters",
    "injected-parameters": "Show the parameters of this run",
}
RECORDS = ("metrics.json", "provenance.json")
RUN_FILES = "run"  # folder of the site that holds what can be downloaded
VIEWERS = "_static/viewers"  # their scripts; data beside them
HOSTS = ("https://github.com/", "https://gitlab.com/")  # that the theme has launch buttons for
GLOSSARY = "glossary.html"
MATHJAX_SCRIPT, MATHJAX_FONTS = "tex-mml-chtml.js", "output/chtml/fonts/woff-v2"


class SiteError(RuntimeError):
    """The book could not be built without a warning; the message holds the warnings."""


def build_site(run_folder: Path, html: Path) -> Path:
    """Build the site from an executed run.

    The book is assembled in a temporary folder, built with warnings as errors, and only then
    put in place of an earlier one.

    Args:
        run_folder: folder of a run, with ``notebooks/`` and ``metrics.json``.
        html: where the site goes.

    Returns:
        The page to open.

    Raises:
        ConfigError: the folder does not hold a complete run.
        SiteError: the build gave a warning or an error.
    """
    missing = [
        name
        for name in (*RECORDS, *(f"notebooks/{notebook}.ipynb" for notebook in NOTEBOOKS))
        if not (run_folder / name).exists()
    ]
    if missing:
        raise ConfigError(
            f"--run: {run_folder.name} holds no complete run ({missing[0]} is missing); "
            "execute `python -m figures_lib run` first"
        )
    _check_records(run_folder)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        _assemble(run_folder, source)
        _jupyter_book(source)
        built = source / "_build" / "html"
        _add_mathjax(built)
        add_viewers(run_folder, built)
        for path in downloads(run_folder):
            (built / RUN_FILES / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(run_folder / path, built / RUN_FILES / path)
        _write_redirect(built)
        _finish(built, read_json(run_folder / "provenance.json"))
        _put_in_place(built, html)
    return html / "index.html"


def check_place(html: Path) -> None:
    """Refuse to replace a folder that is no earlier site.

    Raises:
        ConfigError: there is something else.
    """
    if html.is_dir() and any(html.iterdir()) and not (html / FRONT_PAGE).exists():
        raise ConfigError(
            f"--out: {html} holds something that is no site, which would be lost; name a "
            "folder of its own, e.g. _build/html"
        )


def _check_records(run_folder: Path) -> None:
    """Refuse a run whose files are damaged, or come from different runs."""
    metrics, provenance = (read_json(run_folder / name) for name in RECORDS)
    try:
        provenance_texts(provenance)
        same = metrics["config_hash"] == provenance["config_hash"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--run: {run_folder.name} has records of another version ({error!r:.80}); execute "
            "`python -m figures_lib run` again"
        ) from None
    if not same:
        raise ConfigError(
            f"--run: metrics.json and provenance.json of {run_folder.name} are of different "
            "configurations; execute `python -m figures_lib run` again"
        )
    for name in NOTEBOOKS:
        path = run_folder / "notebooks" / f"{name}.ipynb"
        try:
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
            of = notebook.metadata.get(RUN_HASH)
        except Exception as error:  # from JSONDecodeError to AttributeError
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"--run: {path.name} of {run_folder.name} cannot be read ({reason:.80}); "
                "execute `python -m figures_lib run` again"
            ) from None
        if of != metrics["config_hash"]:
            raise ConfigError(
                f"--run: {path.name} of {run_folder.name} is of another configuration than "
                "metrics.json; execute `python -m figures_lib run` again"
            )


def substitutions(metrics: dict[str, Any]) -> dict[str, str]:
    """Metrics as the texts that the prose shows: ``connectivity.r2`` → ``connectivity_r2``."""
    return {key.replace(".", "_"): _shown(key, value) for key, value in metrics.items()}


def launchable(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of the book without the launch buttons that would lead nowhere.

    Args:
        config: content of ``_config.yml``; ``repository.url`` may be empty.

    Raises:
        ConfigError: the repository is on a host for which the theme has no buttons.
    """
    address = config["repository"]["url"]
    if not address:
        return {k: v for k, v in config.items() if k not in ("repository", "launch_buttons")}
    if not address.startswith(HOSTS):
        raise ConfigError(
            f"_config.yml: repository.url: {address!r} has no launch buttons; give an address "
            f"that starts with {' or '.join(HOSTS)}, or none"
        )
    buttons = dict(config["launch_buttons"])
    if not address.startswith(HOSTS[0]):
        buttons["colab_url"] = ""  # it reads from GitHub only
    return {**config, "launch_buttons": buttons}


def downloads(run_folder: Path) -> list[Path]:
    """What readers may take from a run, relative to its folder."""
    kinds = ("*.json", "notebooks/*.ipynb", "figures/*.svg", "figures/*.png")
    return [
        path.relative_to(run_folder) for kind in kinds for path in sorted(run_folder.glob(kind))
    ]


def _downloads_list(files: list[Path]) -> str:
    """A list of links, one item a name, with its formats."""
    formats: dict[Path, list[str]] = {}
    for path in files:
        link = f'<a href="../{RUN_FILES}/{path.as_posix()}" download>{path.suffix[1:]}</a>'
        formats.setdefault(path.with_suffix(""), []).append(link)
    return "\n".join(f"- {name.name}: {', '.join(one)}" for name, one in formats.items())


def _shown(key: str, value: Any) -> str:
    if key.endswith("_bytes"):
        return f"{value / 1e9:.2f}"  # GB
    if value is None:
        return "–"  # without a movie there is no score of one
    if not isinstance(value, float):
        return str(value)
    if key.startswith("time."):
        return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
    if key.endswith((".r2", ".r2_gauge_free")):
        return f"{value:.4f}" if value < 0.9999 else f"{value:.6f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"


def _assemble(run_folder: Path, source: Path) -> None:
    book = source / "book"
    book.mkdir()
    for page in (*(ROOT / "book").glob("*.md"), *(ROOT / "book").glob("*.bib")):
        if page.stem not in NOTEBOOKS:  # those are the text pairs of the notebooks
            shutil.copy(page, book / page.name)
    for name in NOTEBOOKS:
        notebook = nbformat.read(run_folder / "notebooks" / f"{name}.ipynb", as_version=4)
        _fold_parameters(notebook)
        nbformat.write(notebook, book / f"{name}.ipynb")
    shutil.copy(ROOT / "_toc.yml", source / "_toc.yml")
    hidden = shutil.ignore_patterns("viewers")  # the book would load them on every page
    shutil.copytree(ROOT / "book" / "_static", source / "_static", ignore=hidden)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    metrics, provenance = (read_json(run_folder / name) for name in RECORDS)
    config["parse"]["myst_substitutions"] = {
        **substitutions(metrics),
        **substitutions(read_json(ROOT / "book" / "checks.json")),
        **provenance_texts(provenance),
        "downloads": _downloads_list(downloads(run_folder)),
    }
    text = yaml.safe_dump(launchable(config))
    (source / "_config.yml").write_text(text, encoding="utf-8")


def _fold_parameters(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        for tag in PARAMETERS.keys() & set(tags):
            cell.metadata["tags"] = [*tags, "hide-input"]
            cell.metadata["mystnb"] = {"code_prompt_show": PARAMETERS[tag]}


def _jupyter_book(source: Path) -> None:
    launch = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*launch, "build", "-W", "-n", "--keep-going"]
    answer = subprocess.run(
        [*command, str(source)],
        capture_output=True,
        text=True,
        cwd=source,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    if answer.returncode != 0:
        lines = [
            line for line in answer.stderr.splitlines() if "WARNING" in line or "ERROR" in line
        ]
        report = "\n".join(lines) or answer.stderr[-2000:]
        raise SiteError(f"the book did not build cleanly:\n{report.replace(str(source), '.')}")


def _add_mathjax(built: Path) -> None:
    """Copy MathJax in after the build: the book would load every script it finds in _static."""
    found = find_spec("mathjax")
    if found is None or not found.submodule_search_locations:
        raise SiteError("MathJax is not installed: pip install -r requirements.lock")
    package = Path(found.submodule_search_locations[0]) / "static" / "mathjax" / "es5"
    target = built / "_static" / "mathjax"
    shutil.copytree(package / MATHJAX_FONTS, target / MATHJAX_FONTS)
    shutil.copy(package / MATHJAX_SCRIPT, target / MATHJAX_SCRIPT)


def add_viewers(run_folder: Path, built: Path) -> None:
    """Copy the scripts of the viewers and the data that the run wrote for them."""
    shutil.copytree(ROOT / "book" / VIEWERS, built / VIEWERS)
    for page in (built / "book").glob("*.html"):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for place in soup.select("[data-viewer]"):
            name = place.get("data-file", place["data-viewer"])
            data = Path("viewers") / f"{name}.js"
            if not (run_folder / data).exists():
                raise SiteError(f"{page.name} shows {data}, which is not in {run_folder.name}")
            (built / VIEWERS / "data").mkdir(exist_ok=True)
            shutil.copy(run_folder / data, built / VIEWERS / "data")


def _write_redirect(built: Path) -> None:
    title = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]
    (built / "index.html").write_text(
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={FRONT_PAGE}">
<link rel="icon" href="_static/favicon.svg">
<title>{title}</title>
</head>
<body><h1><a href="{FRONT_PAGE}">{title}</a></h1></body>
</html>
""",
        encoding="utf-8",
    )


def _finish(built: Path, provenance: dict[str, Any]) -> None:
    """Mend every page, add what the theme does not have, and forbid all else."""
    entries = definitions(_read_page(built / "book" / GLOSSARY))
    about = read_citation(ROOT / "CITATION.cff")
    for path in built.rglob("*.html"):
        soup = _read_page(path)
        _mend(soup)
        if path.parent.name == "book":
            add_citation(soup, about, path.stem, provenance["commit"])
            if path.name != GLOSSARY:
                _explain_terms(soup, entries)
        if soup.head is not None and soup.select("[data-viewer]"):
            source = f"../{VIEWERS}/core.js"
            soup.head.append(soup.new_tag("script", src=source, defer=""))
        add_policy(soup)
        path.write_text(str(soup), encoding="utf-8")


def _read_page(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def _explain_terms(soup: BeautifulSoup, entries: dict[str, Definition]) -> None:
    """Link terms of the glossary, and load MathJax where a definition is all that needs it."""
    link_terms(soup, entries, GLOSSARY)
    if soup.head is not None and needs_mathematics(soup):
        source = f"../_static/mathjax/{MATHJAX_SCRIPT}"
        soup.head.append(soup.new_tag("script", src=source, defer=""))


def _mend(soup: BeautifulSoup) -> None:
    """Mend what the theme gets wrong.

    Wrong are requests to other hosts, a second main heading, a list without items for screen
    readers, and 1.5 MB of icons as a script, which the style sheet has as a font.
    """
    for tag in soup.find_all(["script", "link", "img"]):
        address = str(tag.get("src") or tag.get("href") or "")
        foreign = address.startswith(("http:", "https:", "//"))
        unused = "fontawesome.js" in address or "thebe" in str(tag).lower()
        if foreign or (tag.name == "script" and unused):
            tag.decompose()
    for heading in soup.select("#jb-print-docs-body h1"):  # the title again, for print only
        heading.name = "p"
    for references in soup.select(".citation-list[role=list]"):
        del references["role"]


def _put_in_place(built: Path, html: Path) -> None:
    """Copy the site beside its place, then swap it in, so that no half site is ever served."""
    html.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (html.with_name(f".{html.name}.{word}") for word in ("new", "old"))
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        shutil.copytree(built, fresh)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if html.exists():
        html.replace(old)
    fresh.replace(html)
    shutil.rmtree(old, ignore_errors=True)
