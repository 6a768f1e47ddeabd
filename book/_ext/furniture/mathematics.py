"""Mathematics: MathJax from the package that is installed, so that no other host is asked."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

SCRIPT, FONTS = "tex-mml-chtml.js", "output/chtml/fonts/woff-v2"
IN_STATIC = f"mathjax/{SCRIPT}"  # as Sphinx wants it
ADDRESS = f"_static/{IN_STATIC}"
MATHEMATICS = ".math"


def copy_mathjax(site: Path) -> None:
    """Copy the script and the fonts that it loads into a site.

    Raises:
        ExtensionError: MathJax is not installed.
    """
    found = find_spec("mathjax")
    if found is None or not found.submodule_search_locations:
        raise ExtensionError("MathJax is not installed: pip install -r requirements.lock")
    package = Path(found.submodule_search_locations[0]) / "static" / "mathjax" / "es5"
    target = (site / ADDRESS).parent
    shutil.copytree(package / FONTS, target / FONTS, dirs_exist_ok=True)
    shutil.copy(package / SCRIPT, target / SCRIPT)


def add_mathjax(soup: BeautifulSoup, address: str) -> None:
    """Load MathJax where a page has mathematics, but nothing that would set it yet.

    Sphinx loads it where the source has mathematics; a definition of the glossary may be all
    that needs it.
    """
    if soup.head is not None and needs_mathjax(soup):
        soup.head.append(soup.new_tag("script", src=address, defer=""))


def needs_mathjax(soup: BeautifulSoup) -> bool:
    """Whether a page shows mathematics but nothing would set it."""
    return bool(soup.select(MATHEMATICS)) and not soup.select("script[src*=mathjax]")
