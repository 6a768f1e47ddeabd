"""The environment files agree, and the commands of the documentation exist."""

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from figures_lib.__main__ import command_parser
from figures_lib.studies.studies import STUDIES

DOCUMENTED = ("README.md", "CONTRIBUTING.md", "book/intro.md", "book/batch.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]


def _locked():
    lines = (ROOT / "requirements.lock").read_text().split()
    return dict(line.split("==") for line in lines)


def test_lock_pins_every_dependency_exactly():
    locked = {canonicalize_name(name): version for name, version in _locked().items()}
    for text in WANTED:
        wanted = Requirement(text)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), text
    for name in (
        "sphinx",
        "nbclient",
        "mdit-py-plugins",
    ):  # indirect dependencies are pinned as well
        assert name in locked
    assert locked["torch"] == "2.13.0"


def test_conda_environment_is_that_of_the_project():
    tree = yaml.safe_load((ROOT / "environment.yml").read_text())
    *_, pip = tree["dependencies"]
    assert pip["pip"] == [*WANTED, "--editable ."]
    assert f"python{PROJECT['requires-python']}" in tree["dependencies"]


def test_documented_commands_exist():
    texts = [(ROOT / name).read_text() for name in DOCUMENTED]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)|`make (\w+)", "\n".join(texts), re.M):
        assert re.search(rf"^{''.join(target)}:", makefile, re.M), target
    found = [re.findall(r" -m figures_lib ([^`\n]+)", text) for text in texts]
    for name, commands in zip(DOCUMENTED, found, strict=True):
        assert commands or name == "CONTRIBUTING.md", name
    for command in chain(*found):
        command_parser().parse_args(command.split())
    for program in re.findall(r"\.venv/bin/(\w+)", "\n".join(texts)):
        assert Path(sys.executable).with_name(program).exists(), program
    clusters = (ROOT / "book" / "batch.md").read_text()  # CONTRIBUTING: test_walkthrough.py
    for block in re.findall(r"^```python\n(.*?)^```", clusters, re.M | re.S):
        ast.parse(re.sub(r"^%.*$", "", block, flags=re.M))
    for path in re.findall(r"(?:config|book)/[\w./]+\.(?:yaml|ipynb|md)", "\n".join(texts)):
        assert (ROOT / path).exists(), path


def test_make_computes_every_study_of_the_book():
    makefile = (ROOT / "Makefile").read_text()
    names = re.search(r"^STUDIES = (.*)$", makefile, re.M).group(1).split()
    assert tuple(names) == STUDIES
    for name in names:
        for kind in ("", "_paper"):
            assert (ROOT / "config" / "sweeps" / f"{name}{kind}.yaml").exists()


def test_continuous_integration_runs_the_same_tests():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.rstrip().endswith("make test")


def test_without_the_modules_of_unix_one_line_says_so():
    # psutil, which runs on Windows, imports it here
    hidden = (
        "import psutil, sys; sys.modules['resource'] = None; import figures_lib as fl; "
        "fl.open_run"
    )
    command = [sys.executable, "-c", hidden]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode and "needs Linux or macOS" in answer.stderr.splitlines()[-1]
    assert "Linux or macOS" in (ROOT / "README.md").read_text()
