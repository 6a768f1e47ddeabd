"""The contracts of pyproject.toml: they hold, and each can fail."""

import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

BREACHES = {  # module: a forbidden import, and the contract that it breaks
    "runs/run.py": ("from figures_lib.draw import figures", "The wings depend on the core"),
    "infer/gauge.py": ("from figures_lib.simulate.truth import Truth", "cannot read the truth"),
    "infer/sweep.py": ("from figures_lib.score.scoring import score", "cannot read the truth"),
    "infer/algorithm.py": (
        "from figures_lib.config import Experiment",
        "Inference cannot read the truth",
    ),
    "score/scoring.py": ("import matplotlib.pyplot", "Only draw and show know matplotlib"),
}


def lint(folder):
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as f; f()",
    ]
    return subprocess.run(
        [*command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def tree(tmp_path):
    """A copy of the package that a test may change."""
    shutil.copytree(ROOT / "figures_lib", tmp_path / "figures_lib")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_hold(tree):
    answer = lint(tree)
    assert answer.returncode == 0, answer.stdout
    assert "3 kept, 0 broken" in answer.stdout


@pytest.mark.parametrize("module", BREACHES)
def test_a_breach_of_a_contract_is_seen(tree, module):
    line, contract = BREACHES[module]
    path = tree / "figures_lib" / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    answer = lint(tree)
    assert answer.returncode == 1
    broken = [line for line in answer.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(contract in line for line in broken), answer.stdout
