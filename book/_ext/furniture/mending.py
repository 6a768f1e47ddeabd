"""Mending of what the theme gets wrong."""

from bs4 import BeautifulSoup


def mend(soup: BeautifulSoup) -> None:
    """Mend one page; it is changed.

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
