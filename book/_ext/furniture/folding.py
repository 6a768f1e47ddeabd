"""Code below the result that it made, folded; the parameters of the run at the end of a page.

A reader meets the result first. What made it is one click away: the code, the files of the
figure, and the command that repeats the run.
"""

import re
from collections.abc import Mapping, Sequence

from bs4 import BeautifulSoup, PageElement, Tag

from furniture.page import Page

SAVED = re.compile(r"""save_figure\([^)]*["'](\w+)["']\)""")
DEFAULTS, INJECTED = "tag_parameters", "tag_injected-parameters"


def code_of(soup: BeautifulSoup) -> str:
    """The code of all cells of a page."""
    return "\n".join(one.get_text() for one in soup.select("div.cell_input"))


def fold_code(page: Page, files: Mapping[str, Sequence[str]], command: str) -> None:
    """Fold the code of one page; its HTML is changed.

    Cells that follow each other without prose in between belong to the next result. Default
    parameters are left out where those of the run are shown.

    Args:
        page: with cells of code.
        files: addresses in the site of the files of each figure, by its name.
        command: what makes the results of the page again.
    """
    _parameters_last(page.soup)
    waiting: list[Tag] = []
    for cell in page.soup.select("div.cell"):
        code = cell.select_one("div.cell_input")
        if code is None:
            continue
        waiting.append(code.extract())
        if cell.select_one("div.cell_output"):
            links = _links(page, waiting, files)
            title = "Code, files and command" if links else "Code and command"
            about = [_figure(page.soup, links)] if links else []
            about.append(_again(page.soup, command))
            cell.append(_folded(page.soup, title, [*waiting, *about]))
        elif _is_cell(cell.find_next_sibling()):
            cell.decompose()
            continue
        else:
            cell.append(_folded(page.soup, "Code", waiting))
        waiting = []


def _parameters_last(soup: BeautifulSoup) -> None:
    """Leave one cell of parameters, folded at the end of its page."""
    defaults = soup.select(f"div.cell.{DEFAULTS}")
    cells = [*soup.select(f"div.cell.{INJECTED}"), *defaults]
    section = soup.select_one("article section")
    if not cells or section is None:
        return
    code = cells[0].select("div.cell_input")
    section.append(_folded(soup, "Parameters of this run", [one.extract() for one in code]))
    for cell in cells:
        cell.decompose()


def _is_cell(tag: PageElement | None) -> bool:
    return isinstance(tag, Tag) and tag.name == "div" and "cell" in (tag.get("class") or [])


def _links(page: Page, code: Sequence[Tag], files: Mapping[str, Sequence[str]]) -> list[str]:
    names = SAVED.findall("".join(one.get_text() for one in code))
    return [page.to(address) for name in names for address in files.get(name, ())]


def _folded(soup: BeautifulSoup, title: str, content: Sequence[Tag]) -> Tag:
    folded = soup.new_tag("details", attrs={"class": "made-by"})
    summary = soup.new_tag("summary")
    summary.string = title
    folded.extend([summary, *content])
    return folded


def _figure(soup: BeautifulSoup, links: Sequence[str]) -> Tag:
    line = soup.new_tag("p")
    line.append("Figure: ")
    for number, address in enumerate(links):
        link = soup.new_tag("a", attrs={"href": address, "download": ""})
        link.string = address.rpartition(".")[2]
        line.extend([", ", link] if number else [link])
    return line


def _again(soup: BeautifulSoup, command: str) -> Tag:
    line, code = soup.new_tag("p"), soup.new_tag("code")
    code.string = command
    line.extend(["Again: ", code])
    return line
