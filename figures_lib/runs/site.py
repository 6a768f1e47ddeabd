"""The website: a Jupyter Book rendered from the notebooks that a run has executed."""

import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nbformat
import yaml

from figures_lib.config import validated
from figures_lib.errors import ConfigError
from figures_lib.paths import ROOT
from figures_lib.runs.files import read_json, writing
from figures_lib.runs.notebooks import NOTEBOOKS, RUN_HASH
from figures_lib.runs.provenance import SHOWN

FRONT_PAGE = "book/intro.html"
TEXTS = ("*.md", "*.bib", "*.json")
RECORDS = ("metrics.json", "provenance.json")
VIEWERS = "_static/viewers"  # their scripts
COLOURS = r"\x1b\[[\d;]*m"
HOSTS = ("https://github.com/", "https://gitlab.com/")  # that the theme has launch buttons for


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
        StorageError: the disk of temporary files is full or not writable.
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
    with ExitStack() as stack:
        with writing(Path(tempfile.gettempdir())):  # it may lie on another disk
            source = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _assemble(run_folder, source)
            built = build_book(source)
        put_in_place(built, html)
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
    again = "execute `python -m figures_lib run` again"
    name = run_folder.name
    where = f"--run: {name}"
    metrics, provenance = (read_json(run_folder / record) for record in RECORDS)
    try:
        validated({key: provenance[key] for key in SHOWN}["config"])
        same = metrics["config_hash"] == provenance["config_hash"]
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ConfigError(
            f"{where} has records of another version ({error!r:.80}); {again}"
        ) from None
    if not same:
        what = "metrics.json and provenance.json are of different configurations"
        raise ConfigError(f"{where}: {what}; {again}")
    for path in (run_folder / "notebooks" / f"{page}.ipynb" for page in NOTEBOOKS):
        what = f"--run: {path.name} of {name}"
        try:
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
            of = notebook.metadata.get(RUN_HASH)
        except Exception as error:  # from JSONDecodeError to AttributeError
            reason = " ".join(str(error).split())
            raise ConfigError(f"{what} cannot be read ({reason:.80}); {again}") from None
        if of != metrics["config_hash"]:
            raise ConfigError(f"{what} is of another configuration than metrics.json; {again}")


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


def _assemble(run_folder: Path, source: Path) -> None:
    book = source / "book"
    book.mkdir()
    for page in (path for kind in TEXTS for path in (ROOT / "book").glob(kind)):
        if page.stem not in NOTEBOOKS:  # those are the text pairs of the notebooks
            shutil.copy(page, book / page.name)
    for name in NOTEBOOKS:
        shutil.copy(run_folder / "notebooks" / f"{name}.ipynb", book)
    compiled = shutil.ignore_patterns("__pycache__")
    for name in ("_ext", "_templates", "laboratory", VIEWERS):
        shutil.copytree(ROOT / "book" / name, book / name, ignore=compiled)
    # What stands in _static at the root is loaded on every page, as viewers must not be.
    viewers = shutil.ignore_patterns(Path(VIEWERS).name)
    shutil.copytree(ROOT / "book" / "_static", source / "_static", ignore=viewers)
    for name in ("_toc.yml", "CITATION.cff"):
        shutil.copy(ROOT / name, source / name)
    text = yaml.safe_dump(_settings(run_folder))
    (source / "_config.yml").write_text(text, encoding="utf-8")


def _settings(run_folder: Path) -> dict[str, Any]:
    """The settings of the book, with the run that it shows and the packages of its scripts."""
    config = launchable(yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8")))
    furniture = config["sphinx"]["config"]
    furniture["furniture_run"] = str(run_folder.resolve())
    furniture["furniture_packages"] = str(ROOT / furniture["furniture_packages"])
    return config


def build_book(source: Path) -> Path:
    """Have jupyter-book build a book, with warnings as errors.

    Args:
        source: folder of the book, with ``_config.yml`` and ``_toc.yml``.

    Returns:
        The folder of its pages.

    Raises:
        SiteError: the build gave a warning or an error.
    """
    launch = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*launch, "build", "-W", "-n", "--keep-going", str(source)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=source, check=False)
    if answer.returncode != 0:
        said = re.sub(COLOURS, "", answer.stderr).replace(str(source), ".")
        lines = [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line]
        report = "\n".join(lines) or said.partition("\nTraceback")[0][-2000:]
        raise SiteError(f"the book did not build cleanly:\n{report}")
    return source / "_build" / "html"


def put_in_place(built: Path, html: Path) -> None:
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
