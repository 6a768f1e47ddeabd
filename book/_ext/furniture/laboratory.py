"""Viewers that compute: each is bundled into a script, with its modules and the library.

The laboratory computes in a worker. A page that is opened from disk may load scripts, but start
no worker from a file. So the script of the worker is bundled first, and the script of the
laboratory contains it as text.
"""

import tempfile
from pathlib import Path

from furniture.node import run_node

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
    viewers = sorted((modules / "viewers").glob("*.js"))
    with tempfile.TemporaryDirectory() as folder:
        worker = Path(folder) / "worker.txt"
        _run(packages, [modules / "worker.js"], f"--outfile={worker}")
        text = ("--loader:.txt=text", f"--alias:worker-source={worker}")
        _run(packages, viewers, f"--outdir={site}", *text)


def _run(packages: Path, entries: list[Path], *options: str) -> None:
    bundler = packages / BUNDLER
    run_node(packages, bundler, [str(bundler), *map(str, entries), *OPTIONS, *options])
