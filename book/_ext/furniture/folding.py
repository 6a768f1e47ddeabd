"""Results first: code folded below them, parameters of the run at the end of a page.

What made a result is one click away: the code, the files of the figure, and the command that
makes it again. A figure is a link to its drawing, which a phone shows enlarged, and has a
version for dark pages.
"""

import re
from collections.abc import Mapping, Sequence

from bs4 import BeautifulSoup, PageElement, Tag
from PIL import Image

from furniture.page import Page
from furniture.run import FigureFiles

SAVED = re.compile(r"""save_figure\([^)]*["'](\w+)["']\)""")
DEFAULTS, INJECTED = "tag_parameters", "tag_injected-parameters"


def code_of(soup: BeautifulSoup) -> str:
    """The code of all cells of a page."""
    return "\n".join(one.get_text() for one in soup.select("div.cell_input"))


def fold_code(page: Page, files: Mapping[str, FigureFiles], command: str) -> None:
    """Fold the code of one page; its HTML is changed.

    Cells that follow each other without prose in between belong to the next result. Default
    parameters are left out where those of the run are shown.

    Args:
        page: with cells of code.
        files: those of each figure, by its name.
        command: what makes the results of the page again.
    """
    _parameters_last(page.soup)
    waiting: list[Tag] = []
    for cell in page.soup.select("div.cell"):
        code = cell.select_one("div.cell_input")
        if code is None:
            continue
        waiting.append(code.extract())
        if output := cell.select_one("div.cell_output"):
            about = [_again(page.soup, command)]
            title = "Code and command"
            if saved := SAVED.search("".join(one.get_text() for one in waiting)):
                figure = files[saved.group(1)]
                _enlarge(page, output, figure)
                about.insert(0, _downloads(page, figure))
                title = "Code, files and command"
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


def _folded(soup: BeautifulSoup, title: str, content: Sequence[Tag]) -> Tag:
    folded = soup.new_tag("details", attrs={"class": "made-by"})
    summary = soup.new_tag("summary")
    summary.string = title
    folded.extend([summary, *content])
    return folded


def _enlarge(page: Page, output: Tag, figure: FigureFiles) -> None:
    """Make the picture of a figure a link to its drawing, and add the one for dark pages."""
    picture = output.select_one("img")
    if picture is None:
        return
    link = page.soup.new_tag("a", attrs={"href": page.to(figure.drawing), "class": "enlarge"})
    picture.wrap(link)
    _reserve(page, picture)
    if figure.dark is not None:
        picture["class"] = "on-light"
        about = {"src": page.to(figure.dark), "alt": str(picture.get("alt", ""))}
        dark = page.soup.new_tag("img", attrs={**about, "class": "on-dark", "loading": "lazy"})
        link.append(dark)
        _reserve(page, dark)


def _reserve(page: Page, picture: Tag) -> None:
    """Note the size of a picture, so that nothing moves when it arrives."""
    with Image.open(page.path.parent / str(picture["src"])) as image:
        picture["width"], picture["height"] = (str(side) for side in image.size)


def _downloads(page: Page, figure: FigureFiles) -> Tag:
    line = page.soup.new_tag("p")
    line.append("Figure: ")
    for number, address in enumerate((figure.drawing, figure.bitmap)):
        link = page.soup.new_tag("a", attrs={"href": page.to(address), "download": ""})
        link.string = address.rpartition(".")[2]
        line.extend([", ", link] if number else [link])
    return line


def _again(soup: BeautifulSoup, command: str) -> Tag:
    line, code = soup.new_tag("p"), soup.new_tag("code")
    code.string = command
    line.extend(["Again: ", code])
    return line
