"""A page of the site: its HTML, and the addresses of other files as seen from it."""

import posixpath
from dataclasses import dataclass
from pathlib import Path

from bs4 import BeautifulSoup


@dataclass(frozen=True)
class Page:
    """A page that Sphinx has written.

    Attributes:
        name: as Sphinx calls it, e.g. ``book/03_infer``.
        path: where it is.
        soup: what it says; changed in place.
    """

    name: str
    path: Path
    soup: BeautifulSoup

    def to(self, address: str) -> str:
        """The address of a file of the site, e.g. ``_static/book.css``, as seen from here."""
        return posixpath.relpath(address, posixpath.dirname(self.name) or ".")

    def write(self) -> None:
        """Put the page in place of what was read."""
        self.path.write_text(str(self.soup), encoding="utf-8")


def read_page(site: Path, name: str) -> Page:
    """Read one page of a site."""
    path = site / f"{name}.html"
    return Page(name, path, BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser"))
