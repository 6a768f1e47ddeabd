"""The walk-throughs of CONTRIBUTING.md, followed word for word in a copy of the package."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, SMALL, TEST_CONFIG
from test_architecture import lint

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
USE = """
import json, sys
import matplotlib
matplotlib.use("agg")
import figures_lib as fl
run = fl.open_run("config.yaml", "out", json.loads(sys.argv[1]))
metrics = run.metrics()
recording, truth = run.simulate()
if hasattr(fl.figures, "histogram"):
    figure = fl.figures.histogram(recording.activity, truth.types)
    fl.save_figure(run, figure, "histogram")
print(json.dumps(metrics))
"""


def _blocks(section, language="python"):
    """The code of a section of CONTRIBUTING.md, block by block."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def _named(section):
    """The file that a section adds and the table that it extends."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    return re.findall(r"`(figures_lib/[\w/]+\.py)`", text)


@pytest.fixture
def tree(tmp_path):
    shutil.copytree(ROOT / "figures_lib", tmp_path / "figures_lib")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(TEST_CONFIG, tmp_path / "config.yaml")
    return tmp_path


def _follow(tree, section):
    """Write the file and extend the table, as a reader would."""
    added, table = _named(section)
    module, line, *entry = _blocks(section)
    (tree / added).write_text(module, encoding="utf-8")
    path = tree / table
    text = path.read_text(encoding="utf-8")
    first = text.index("from figures_lib")
    text = text[:first] + line + text[first:]
    for one in entry:
        text = text.replace("\n}\n", f"\n{one}}}\n")
    path.write_text(text, encoding="utf-8")


def _use(tree, **overrides):
    command = [sys.executable, "-c", USE, json.dumps(SMALL_RUN | overrides)]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


SMALL_RUN = {key: value for key, value in SMALL.items() if "neuron_types" not in key}


def test_a_neuron_model_is_one_file_and_one_line(tree):
    _follow(tree, "Add a neuron model")
    (text,) = _blocks("Add a neuron model", "yaml")
    chosen = yaml.safe_load(text)
    answer = _use(tree, **chosen, **{"simulation.frames": 8000})
    assert answer.returncode == 0, answer.stderr
    metrics = json.loads(answer.stdout)
    assert metrics["connectivity.r2_gauge_free"] > 0.9
    wrong = _use(tree, **{**chosen, "neuron_types": [{"decay": 1.0, "width": 2.0}]})
    assert "neuron_types.0.width: unknown key; the keys here are" in wrong.stderr
    assert "threshold" in wrong.stderr


def test_a_distribution_of_weights_is_one_file_and_one_line(tree):
    _follow(tree, "Add a distribution of weights")
    answer = _use(tree, **{"connectivity.distribution": "signs"})
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["connectivity.r2_gauge_free"] > 0.9
    wrong = _use(tree, **{"connectivity.distribution": "levy"})
    names = "'cauchy' or 'gaussian' or 'dale' or 'low_rank' or 'signs'"
    assert f"connectivity.distribution: Input should be {names}" in wrong.stderr


def test_a_figure_is_one_file_and_one_line(tree):
    _follow(tree, "Add a figure")
    answer = _use(tree)
    assert answer.returncode == 0, answer.stderr
    assert (tree / "out" / "figures" / "histogram.png").stat().st_size > 10_000


def test_what_is_added_keeps_the_contracts_and_the_style(tree):
    for section in ("Add a neuron model", "Add a distribution of weights", "Add a figure"):
        _follow(tree, section)
    ruff = [sys.executable, "-m", "ruff"]
    added = [
        str(tree / _named(section)[0]) for section in re.findall(r"^## (Add .*)$", TEXT, re.M)
    ]
    for command in ([*ruff, "check", *added], [*ruff, "format", "--check", *added]):
        answer = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    answer = lint(tree)
    assert answer.returncode == 0, answer.stdout
