"""Mathematics, set by KaTeX while the site is built.

A page then needs no script for it, shows it at once, and reads as mathematics where no script
may run. Screen readers have MathML beside the pictures of the formulas.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bs4 import BeautifulSoup, NavigableString, Tag

from furniture.node import run_node
from furniture.page import Page

SETTER = Path(__file__).with_name("katex.mjs")
FOLDER, STYLE = "_static/katex", "katex.min.css"
MATHEMATICS = ".math"  # as Sphinx marks it
FORMULA = re.compile(r"\\([(\[])(.*)\\[)\]]", re.DOTALL)  # as Sphinx leaves it to a script


class Formula(NamedTuple):
    """A formula: its TeX, and whether it stands on a line of its own."""

    tex: str
    displayed: bool


def set_mathematics(pages: Sequence[Page], packages: Path, site: Path) -> None:
    """Set all formulas of some pages, whose HTML is changed, and copy style and fonts.

    Args:
        pages: as Sphinx has written them.
        packages: folder ``node_modules`` into which npm has installed KaTeX.
        site: folder of the site.

    Raises:
        ExtensionError: KaTeX is not installed, or a formula has an error.
    """
    places = [
        (page, formula, text)
        for page in pages
        for tag in page.soup.select(MATHEMATICS)
        for formula, text in _formulas(tag)
    ]
    for page in pages:
        _drop_mathjax(page.soup)
    if not places:
        return
    different = sorted({formula for _, formula, _ in places})
    rendered = dict(zip(different, _rendered(different, packages), strict=True))
    for _, formula, text in places:
        new = BeautifulSoup(rendered[formula], "html.parser")
        for display in new.select(".katex-display"):  # the keyboard scrolls it on a phone
            display["tabindex"] = "0"
        text.replace_with(new)
    for page in {page.name: page for page, *_ in places}.values():
        _add_style(page)
    _copy(packages / "katex" / "dist", site / FOLDER)


def _drop_mathjax(soup: BeautifulSoup) -> None:
    """Sphinx has it loaded, and the theme has settings for it."""
    for script in soup.find_all("script"):
        if "mathjax" in f"{script.get('src', '')} {script.string or ''}".lower():
            script.decompose()


def _formulas(tag: Tag) -> list[tuple[Formula, NavigableString]]:
    """What stands between the delimiters; beside it there may be the number of an equation."""
    found = []
    for text in tag.find_all(string=True, recursive=False):
        if isinstance(text, NavigableString) and (match := FORMULA.search(text)):
            found.append((Formula(match[2].strip(), match[1] == "["), text))
    return found


def _rendered(formulas: Sequence[Formula], packages: Path) -> list[str]:
    module = packages / "katex" / "dist" / "katex.mjs"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "formulas.json"), Path(folder, "set.json")
        source.write_text(json.dumps(formulas), encoding="utf-8")
        run_node(packages, module, [str(SETTER), str(module), str(source), str(target)])
        found: list[str] = json.loads(target.read_text(encoding="utf-8"))
    return found


def _add_style(page: Page) -> None:
    if page.soup.head is not None:
        address = page.to(f"{FOLDER}/{STYLE}")
        page.soup.head.append(page.soup.new_tag("link", rel="stylesheet", href=address))


def _copy(package: Path, target: Path) -> None:
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    shutil.copy(package / STYLE, target / STYLE)
    for font in (package / "fonts").glob("*.woff2"):
        shutil.copy(font, target / "fonts" / font.name)
