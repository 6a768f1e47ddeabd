"""The command line: exit codes, and one line for bad input."""

import json
import subprocess
import sys

import nbformat
import papermill
import pytest
from conftest import ROOT, TEST_CONFIG

from figures_lib.__main__ import main
from figures_lib.notebooks import NOTEBOOKS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--config", str(TEST_CONFIG), "-p", "simulation.frmes=3"], "simulation.frmes"),
        (["--config", str(TEST_CONFIG), "-p", "simulation.frames=some"], "simulation.frames"),
        (["--config", str(TEST_CONFIG), "-p", "simulation.frames"], "dotted.key=value"),
        (["--config", str(TEST_CONFIG), "-p", "external_input.source=no.tif"], "no.tif"),
        (["--config", str(TEST_CONFIG), "-p", "connectivity.source=no.npy"], "no.npy"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, expected):
    assert main(["run", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert expected in error
    assert not (tmp_path / "out").exists()


def test_output_that_is_a_file(tmp_path, capsys):
    (tmp_path / "out").write_text("precious")
    assert main(["run", "--config", str(TEST_CONFIG), "--out", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out").read_text() == "precious"
    assert "--out" in capsys.readouterr().err


def test_build_without_a_run(tmp_path, capsys):
    assert main(["build", "--run", str(tmp_path), "--out", str(tmp_path / "html")]) == 2
    assert "no complete run" in capsys.readouterr().err


def test_run_writes_what_the_contract_says(executed_run):
    for name in NOTEBOOKS:
        notebook = nbformat.read(executed_run / "notebooks" / f"{name}.ipynb", as_version=4)
        assert notebook.metadata.kernelspec.name == "python3"
        assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")
    figures = {path.name for path in (executed_run / "figures").iterdir()}
    for stem in (
        *("fig3ab_input_and_activity", "fig3c_activity", "fig3d_connectivity"),
        *("fig3e_external_input", "fig3fg_fields", "fig3_embedding"),
        *("fig3_update_functions", "fig3_transfer_functions"),
    ):
        assert {f"{stem}.png", f"{stem}.svg"} <= figures
    assert (executed_run / "figures" / "fig3d_connectivity.svg").stat().st_size < 1_000_000
    metrics = json.loads((executed_run / "metrics.json").read_text())
    assert metrics["types.accuracy"] == 1.0
    assert (executed_run / "provenance.json").exists()


@pytest.mark.parametrize("folder", [".", "book"])
def test_plain_papermill_from_root_and_book(tmp_path, executed_run, folder):
    """The notebook finds its configuration from either folder."""
    source = ROOT / "book" / "01_model.ipynb"
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        str(source),
        str(out),
        parameters={"out": str(executed_run), "seed": 0},
        cwd=str(ROOT / folder),
        progress_bar=False,
    )
    assert "64 neurons" in out.read_text()


def test_module_runs_as_a_command():
    answer = subprocess.run(
        [sys.executable, "-m", "figures_lib", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert answer.returncode == 0
    assert "run" in answer.stdout
    assert "build" in answer.stdout
