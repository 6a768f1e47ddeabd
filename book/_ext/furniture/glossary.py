"""The glossary: the first mention of each term on a page links to it and brings its definition.

Authors write plain words. In a built page the first mention of every term of the glossary
becomes a link, and the definition comes with the page; ``book/_static/glossary.js`` shows it.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bs4 import BeautifulSoup, NavigableString, Tag

PROSE = "article.bd-article :is(p, li)"
NOT_PROSE = (
    "a, code, pre, kbd, script, style, h1, h2, h3, h4, .math, .viewer, .cell_output,"
    " .citation-list, .glossary, dl.py, .admonition-title, .prev-next-area, .cite-page"
)


@dataclass(frozen=True)
class Definition:
    """One entry of the glossary.

    Attributes:
        anchor: where it stands, ``glossary.html#…``.
        body: the element that defines it, without links.
    """

    anchor: str
    body: Tag


def definitions(glossary: BeautifulSoup) -> dict[str, Definition]:
    """The entries of the built glossary by term; synonyms share an entry."""
    found = {}
    for term in glossary.select("dl.glossary > dt"):
        body = copy.copy(term.find_next_sibling("dd"))
        if not isinstance(body, Tag):
            continue
        for link in body.find_all("a"):  # what shows only while it is pointed at has no links
            link.unwrap()
        for mark in term.select(".headerlink"):
            mark.decompose()
        found[term.get_text().strip()] = Definition(str(term["id"]), body)
    return found


def link_terms(page: BeautifulSoup, entries: Mapping[str, Definition], address: str) -> None:
    """Link the first mention of every term, and add the definitions to the page.

    Args:
        page: a built page; it is changed.
        entries: what :func:`definitions` read.
        address: of the glossary, seen from the page.
    """
    used: dict[str, Definition] = {}
    pattern = _mention(entries)
    skipped = {id(tag) for tag in page.select(NOT_PROSE)}
    for text in [text for part in page.select(PROSE) for text in part.find_all(string=True)]:
        if text.parent is None or any(id(parent) in skipped for parent in text.parents):
            continue
        pieces = _linked(page, str(text), pattern, entries, used, address)
        if len(pieces) > 1:
            text.replace_with(*pieces)
    article = page.select_one("article.bd-article")
    if article is not None and used:
        article.append(_tips(page, used))


def _mention(entries: Mapping[str, Definition]) -> re.Pattern[str]:
    """Any term as a word, also in the plural; the longer of two that begin alike."""
    longest_first = sorted(entries, key=len, reverse=True)
    terms = [r"\s+".join(map(re.escape, term.split())) for term in longest_first]
    word = rf"({'|'.join(terms)})(?:e?s)?"  # but no part of a file's name or of another word
    return re.compile(rf"(?<![\w/.-]){word}(?![\w/]|[.-]\w)", re.IGNORECASE)


def _linked(
    page: BeautifulSoup,
    text: str,
    pattern: re.Pattern[str],
    entries: Mapping[str, Definition],
    used: dict[str, Definition],
    address: str,
) -> list[Tag | NavigableString]:
    by_term = {term.casefold(): entry for term, entry in entries.items()}
    pieces: list[Tag | NavigableString] = []
    rest = 0
    for match in pattern.finditer(text):
        entry = by_term[" ".join(match[1].casefold().split())]
        if entry.anchor in used:
            continue
        used[entry.anchor] = entry
        link = page.new_tag(
            "a",
            attrs={
                "class": "glossary-term",
                "href": f"{address}#{entry.anchor}",
                "aria-describedby": f"tip-{entry.anchor}",
            },
        )
        link.string = match[0]
        pieces += [NavigableString(text[rest : match.start()]), link]
        rest = match.end()
    return [*pieces, NavigableString(text[rest:])]


def _tips(page: BeautifulSoup, used: Mapping[str, Definition]) -> Tag:
    tips = page.new_tag("div", attrs={"class": "glossary-tips"})
    for anchor, entry in used.items():
        tip = page.new_tag(
            "div", attrs={"class": "glossary-tip", "id": f"tip-{anchor}", "role": "tooltip"}
        )
        tip.extend(copy.copy(child) for child in entry.body.contents)
        tips.append(tip)
    return tips
