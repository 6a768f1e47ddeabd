"""The Content-Security-Policy of a page: nothing but this site, no script but what was built.

The same policy holds for a page that is served and for one that is opened from disk, where
``'self'`` stands for files. Scripts in the page are named by their hash, so neither a script
that someone smuggles in nor ``eval`` is run. Styles are the exception: formulas, notebooks and
theme have style attributes, so no list of hashes could be complete. A style cannot call anyone:
images and fonts are held to the site. Only a page with the laboratory may start a worker and
read a video, both from what is in the page already (``blob:``).
"""

import base64
import hashlib

from bs4 import BeautifulSoup, Tag

from furniture.laboratory import KIND

SCRIPT_TYPES = {"", "text/javascript", "application/javascript", "module"}
SOURCES = {
    "default-src": "'none'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",  # search reads the pages that it found, for their summaries
    "form-action": "'self'",
    "base-uri": "'none'",
}
LABORATORY = {"worker-src": "blob:", "media-src": "blob:"}
HANDLERS = {  # of buttons of the theme, by which book/_static/theme.js knows them
    "toggleFullScreen()": "fullscreen",
    "window.print()": "print",
}


def add_policy(soup: BeautifulSoup) -> None:
    """Make the policy the first thing that a page says, once it has all its scripts.

    Raises:
        ValueError: a tag has a handler that the policy would silence.
    """
    _name_handlers(soup)
    hashes = sorted({_hash(script) for script in soup.find_all("script") if _inline(script)})
    script = " ".join(["script-src 'self'", *hashes])
    sources = SOURCES
    if soup.select(f"[data-viewer={KIND}]"):
        sources = SOURCES | LABORATORY
    rules = "; ".join([*(f"{name} {value}" for name, value in sources.items()), script])
    policy = {"http-equiv": "Content-Security-Policy", "content": rules}
    if soup.head is not None:
        soup.head.insert(0, soup.new_tag("meta", attrs=policy))


def _name_handlers(soup: BeautifulSoup) -> None:
    """Handlers in attributes are scripts without a hash: replace the theme's by names."""
    for tag in soup.find_all(True):
        for attribute in [name for name in tag.attrs if name.startswith("on")]:
            code = str(tag[attribute]).strip().rstrip(";")
            if code not in HANDLERS:
                raise ValueError(f"<{tag.name} {attribute}={code!r}> would not work")
            del tag[attribute]
            tag["data-press"] = HANDLERS[code]


def _inline(script: Tag) -> bool:
    return "src" not in script.attrs and str(script.get("type", "")) in SCRIPT_TYPES


def _hash(script: Tag) -> str:
    digest = hashlib.sha256(script.get_text().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
