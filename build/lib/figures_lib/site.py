"""The website: a Jupyter Book rendered from the notebooks that a run has executed."""

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup

from figures_lib.config import ConfigError
from figures_lib.notebooks import NOTEBOOKS

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("intro.md", "identifiability.md", "glossary.md", "references.md", "references.bib")
MATHJAX = (
    "tex-mml-chtml.js",
    "output/chtml/fonts",
)  # what the pages need of the MathJax package


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
        for name in ("metrics.json", *(f"notebooks/{notebook}.ipynb" for notebook in NOTEBOOKS))
        if not (run_folder / name).exists()
    ]
    if missing:
        raise ConfigError(
            f"--run: {run_folder.name} holds no complete run ({missing[0]} is missing); "
            "execute `python -m figures_lib run` first"
        )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        _assemble(run_folder, source)
        _jupyter_book(source)
        built = source / "_build" / "html"
        _add_mathjax(built)
        _drop_foreign_scripts(built)
        html.parent.mkdir(parents=True, exist_ok=True)
        fresh = html.with_name(f".{html.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(built, fresh)
        shutil.rmtree(html, ignore_errors=True)
        fresh.replace(html)
    return html / "index.html"


def substitutions(metrics: dict[str, Any]) -> dict[str, str]:
    """Metrics as the texts that the prose shows: ``connectivity.r2`` → ``connectivity_r2``."""
    return {key.replace(".", "_"): _shown(key, value) for key, value in metrics.items()}


def _shown(key: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if key.startswith("time."):
        return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
    if key.endswith((".r2", ".r2_gauge_free")):
        return f"{value:.4f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"


def _assemble(run_folder: Path, source: Path) -> None:
    book = source / "book"
    book.mkdir()
    for page in PAGES:
        shutil.copy(ROOT / "book" / page, book / page)
    for notebook in NOTEBOOKS:
        shutil.copy(run_folder / "notebooks" / f"{notebook}.ipynb", book / f"{notebook}.ipynb")
    shutil.copy(ROOT / "_toc.yml", source / "_toc.yml")
    shutil.copytree(ROOT / "book" / "_static", source / "_static")
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    metrics = json.loads((run_folder / "metrics.json").read_text(encoding="utf-8"))
    config["parse"]["myst_substitutions"] = substitutions(metrics)
    (source / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")


def _jupyter_book(source: Path) -> None:
    launch = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*launch, "build", "-W", "-n", "--keep-going"]
    answer = subprocess.run(
        [*command, str(source)], capture_output=True, text=True, cwd=source, check=False
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
    assert found is not None and found.submodule_search_locations
    package = Path(found.submodule_search_locations[0]) / "static" / "mathjax" / "es5"
    target = built / "_static" / "mathjax"
    shutil.copytree(package / MATHJAX_FONTS, target / MATHJAX_FONTS)
    shutil.copy(package / MATHJAX_SCRIPT, target / MATHJAX_SCRIPT)


def _drop_foreign_scripts(built: Path) -> None:
    """Remove what would ask another host: links to scripts elsewhere, and live-code set-up."""
    for page in built.rglob("*.html"):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for tag in soup.find_all(["script", "link", "img"]):
            address = str(tag.get("src") or tag.get("href") or "")
            foreign = address.startswith(("http:", "https:", "//"))
            if foreign or (tag.name == "script" and "thebe" in str(tag).lower()):
                tag.decompose()
        page.write_text(str(soup), encoding="utf-8")
