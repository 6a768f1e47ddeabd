"""The page at the root of the site, which leads to the front page of the book."""

from html import escape
from pathlib import Path


def write_redirect(site: Path, front_page: str, title: str, icon: str | None) -> None:
    """Write ``index.html``.

    Args:
        site: folder of the site.
        front_page: where it leads, relative to the site.
        title: of the book.
        icon: its icon, relative to the site.
    """
    link = f'<link rel="icon" href="{icon}">\n' if icon else ""
    (site / "index.html").write_text(
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={front_page}">
{link}<title>{escape(title)}</title>
</head>
<body><h1><a href="{front_page}">{escape(title)}</a></h1></body>
</html>
""",
        encoding="utf-8",
    )
