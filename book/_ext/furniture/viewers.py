"""Viewers, the figures that answer to the reader: their scripts and the data that they show."""

import shutil
from pathlib import Path

from bs4 import BeautifulSoup

from furniture.page import Page

FOLDER = "_static/viewers"
SCRIPT = f"{FOLDER}/core.js"  # loads the scripts of the viewers that a page has
VIEWER = "[data-viewer]"


def copy_scripts(scripts: Path, site: Path) -> None:
    """Copy the scripts of all viewers into a site.

    They are no static files of the book, because it would load them on every page.
    """
    shutil.copytree(scripts, site / FOLDER, dirs_exist_ok=True)


def copy_data(page: Page, data: Path, site: Path) -> None:
    """Copy what the viewers of a page show into a site.

    Raises:
        FileNotFoundError: the run has not written it.
    """
    for viewer in page.soup.select(VIEWER):
        name = f"{viewer.get('data-file', viewer['data-viewer'])}.js"
        if not (data / name).is_file():
            raise FileNotFoundError(
                f"{page.path.name} shows viewers/{name}, which the run has not written"
            )
        (site / FOLDER / "data").mkdir(parents=True, exist_ok=True)
        shutil.copy(data / name, site / FOLDER / "data")


def start_viewers(soup: BeautifulSoup, address: str) -> None:
    """Load the script at an address where a page has a viewer."""
    if soup.head is not None and soup.select(VIEWER):
        soup.head.append(soup.new_tag("script", src=address, defer=""))
