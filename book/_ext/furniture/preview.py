"""What other programs show of a page: search engines, and messages that contain its address."""

import re

from bs4 import BeautifulSoup

LONGEST = 200  # characters of a description
SHORTEST = 60  # of a paragraph that describes its page
COMMANDS = {  # of TeX that descriptions contain
    **{"varphi": "φ", "psi": "ψ", "Omega": "Ω", "sigma": "σ", "Delta": "Δ", "gamma": "γ"},
    **{"theta": "θ", "tau": "τ", "mathbf": "", "dot": ""},
}
PICTURE = "run/figures/fig3fg_fields.png"  # the hidden movie and what was recovered of it


def add_preview(soup: BeautifulSoup, name: str, title: str, address: str) -> None:
    """Describe a page in its head, by its heading and its first paragraph.

    Args:
        soup: the built page, whose formulas are not set yet; it is changed.
        name: of the page, e.g. ``book/03_infer``.
        title: of the book.
        address: where the site will be; without one there is no picture, whose address has to
            be complete.
    """
    heading = soup.select_one("article h1")
    paragraphs = [_plain(one.get_text(" ")) for one in soup.select("article p")]
    about = _shortened(next((text for text in paragraphs if len(text) >= SHORTEST), ""))
    facts = {
        "og:type": "article",
        "og:site_name": title,
        "og:title": _plain(heading.get_text(" ")).rstrip("# ") if heading else title,
        "og:description": about,
    }
    if address:
        facts["og:url"] = f"{address.rstrip('/')}/{name}.html"
        facts["og:image"] = f"{address.rstrip('/')}/{PICTURE}"
    if soup.head is None:
        return
    for key, value in facts.items():
        if value:
            soup.head.append(soup.new_tag("meta", attrs={"property": key, "content": value}))
    if about:
        described = {"name": "description", "content": about}
        soup.head.append(soup.new_tag("meta", attrs=described))


def _plain(text: str) -> str:
    """The text of a page without marks of mathematics and superfluous spaces."""
    text = re.sub(r"\\([A-Za-z]+) ?", lambda found: COMMANDS.get(found[1], found[1]), text)
    words = re.sub(r"\\[()\[\]]", "", text).split()
    return re.sub(r" (?=[,.;:?!)\]])|(?<=[(\[]) ", "", " ".join(words))


def _shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return text[: text.rindex(" ", 0, LONGEST)].rstrip(",;:") + " …"
