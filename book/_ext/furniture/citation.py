"""How to cite a page of the book, from the file that says how to cite the book."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup, Tag


@dataclass(frozen=True)
class Citation:
    """A reference to one page, as a sentence and as a BibTeX entry."""

    text: str
    bibtex: str


def read_citation(path: Path) -> dict[str, Any]:
    """What ``CITATION.cff`` says."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def cite(about: Mapping[str, Any], page: str, title: str, commit: str | None) -> Citation:
    """The citation of one page.

    Args:
        about: the content of ``CITATION.cff``.
        page: name of the page, e.g. ``03_infer``.
        title: heading of the page.
        commit: of the run that is shown; None where there is no repository.
    """
    version = f"version {about['version']}" + (f", commit {commit[:10]}" if commit else "")
    names = [_name(author) for author in about["authors"]]
    fields = {
        "author": " and ".join(
            f"{{{name}}}" if "name" in author else name
            for author, name in zip(about["authors"], names, strict=True)
        ),
        "title": title,
        "howpublished": f"Page of: {about['title']}",
        "note": version[0].upper() + version[1:],
    }
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return Citation(
        text=f"{', '.join(names)}. “{title}.” In: {about['title']}, {version}.",
        bibtex=f"@misc{{figure3_{page},\n{body}\n}}",
    )


def add_citation(
    soup: BeautifulSoup, about: Mapping[str, Any], page: str, commit: str | None
) -> None:
    """Put "Cite this page" at the end of an article; ``book/_static/cite.js`` copies.

    Args:
        soup: the built page; it is changed.
        about: the content of ``CITATION.cff``.
        page: name of the page; its title is the heading.
        commit: as :func:`cite` takes it.
    """
    article, heading = soup.select_one("article.bd-article"), soup.select_one("h1")
    if article is None or heading is None:
        return
    citation = cite(about, page, str(heading.find(string=True)).strip(), commit)
    place = soup.new_tag("details", attrs={"class": "cite-page"})
    summary = soup.new_tag("summary")
    summary.string = "Cite this page"
    place.append(summary)
    for kind, tag, content in (
        ("text", "p", citation.text),
        ("BibTeX", "pre", citation.bibtex),
    ):
        place.append(_copied(soup, kind, tag, content))
    place.append(soup.new_tag("output"))
    article.append(place)


def _copied(soup: BeautifulSoup, kind: str, tag: str, content: str) -> Tag:
    part = soup.new_tag("div", attrs={"class": "cite-part"})
    name = f"cite-{kind.lower()}"
    shown = soup.new_tag(tag, attrs={"id": name})
    shown.string = content
    button = soup.new_tag("button", attrs={"type": "button", "data-copies": name})
    button.string = f"Copy {kind}"
    part.extend([shown, button])
    return part


def _name(author: Mapping[str, str]) -> str:
    if "name" in author:
        return author["name"]
    return f"{author['family-names']}, {author['given-names']}"
