"""The command line: exit codes, and one line for bad input."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from conftest import ROOT, TEST_CONFIG
from test_batch import until

import figures_lib as fl
from figures_lib import commands
from figures_lib.__main__ import main
from figures_lib.errors import CellError, NotebookError, StorageError
from figures_lib.runs import files, notebooks, site
from figures_lib.runs.files import LOCK
from figures_lib.runs.kernel import KERNEL
from figures_lib.runs.notebooks import NOTEBOOKS


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


@pytest.mark.parametrize(("folder", "from_file"), [(".", False), ("book", True)])
def test_plain_papermill_from_root_and_book(tmp_path, executed_run, folder, from_file):
    """The command of the README, with a configuration named from the root."""
    source, out = (
        os.path.relpath(ROOT / "book" / "01_model.ipynb", ROOT / folder),
        tmp_path / "o.ipynb",
    )
    given = {"config": "config/fig3_test.yaml", "seed": 3, "out": str(executed_run)}
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(given | {"overrides": {"inference.knots": 20}}))
    command = [sys.executable, "-m", "papermill", source, str(out), "--log-level", "ERROR"]
    each = [word for key, value in given.items() for word in ("-p", key, str(value))]
    command += ["-f", str(file)] if from_file else each
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / folder)
    assert answer.returncode == 0, answer.stderr
    assert "64 neurons" in out.read_text()
    assert ("inference.knots" in out.read_text()) == from_file


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


def test_the_full_disk_is_named(tmp_path, monkeypatch):
    """The book is assembled among temporary files, which may lie on another disk."""

    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left")

    for name, value in {"RECORDS": (), "NOTEBOOKS": (), "_check_records": print}.items():
        monkeypatch.setattr(site, name, value)
    monkeypatch.setattr(site.tempfile, "gettempdir", lambda: str(tmp_path / "small"))
    (tmp_path / "small").mkdir()
    monkeypatch.setattr(site, "_assemble", fill)
    with pytest.raises(StorageError, match="small: cannot be written"):
        site.build_site(tmp_path, tmp_path / "html")


def test_a_terminal_without_a_sign_shows_another(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    assert main([]) == 2
    print("[1/10] …", file=out, flush=True)
    assert out.buffer.getvalue() == b"[1/10] ?\n"


@pytest.mark.parametrize("arguments", [[], ["run"], ["run", "--config"], ["walk"], ["build"]])
def test_a_wrong_command_line_is_one_line_and_exit_code_2(capsys, arguments):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "--help" in error


@pytest.mark.parametrize(
    ("raised", "code", "expected"),
    [
        (KeyboardInterrupt(), 1, "continues"),
        (OSError("disk full"), 1, "disk full"),
        (CellError("ConfigError", "seed: too odd"), 2, "too odd"),
        (CellError("KeyError", "'x'"), 1, "KeyError"),
        (
            CellError("StorageError", "out: full"),
            1,
            "or: out: full",
        ),
        (OSError(errno.ENOSPC, "No space left"), 1, "free some space"),
    ],
    ids=[
        *("interrupt", "any", "bad input in a notebook", "any in a notebook"),
        *("full disk in a notebook", "full disk"),
    ],
)
def test_exit_codes_while_notebooks_run(tmp_path, capsys, monkeypatch, raised, code, expected):
    def execute(*_):
        raise raised

    monkeypatch.setattr(commands, "execute_notebooks", execute)
    assert main(["run", "--config", str(TEST_CONFIG), "--out", str(tmp_path)]) == code
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1


def test_a_terminated_command_releases_its_folder(tmp_path):
    """SIGTERM, which schedulers of clusters send, has the effect of Ctrl-C."""
    command = [sys.executable, "-m", "figures_lib", "infer", "--config", str(TEST_CONFIG)]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: list(tmp_path.glob("stages/.simulate-*")), 60)
        process.terminate()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error == "interrupted; the same command continues from here\n"
    assert not (tmp_path / LOCK).exists()


def test_inputs_named_from_another_folder_reach_the_notebooks(tmp_path, monkeypatch):
    """They run in the root and receive no absolute path."""
    given = {}
    monkeypatch.setattr(
        notebooks,
        "_execute",
        lambda _source, _target, parameters, *_: given.update(parameters),
    )
    monkeypatch.chdir(tmp_path)
    np.save("movie.npy", np.ones((3, 4, 4), np.float32))
    movie = ["-p", "external_input.source=movie.npy"]
    assert main(["run", "--config", "config/fig3_test.yaml", *movie, "--out", "out"]) == 0
    source = Path(given["overrides"]["external_input.source"])
    assert not source.is_absolute()
    assert (ROOT / source).resolve() == tmp_path / "movie.npy"
    assert not Path(given["config"]).is_absolute()
    assert ROOT / given["config"] == TEST_CONFIG


def test_a_kernel_that_is_killed_is_one_line_with_a_remedy(tmp_path, monkeypatch):
    """As the operating system kills one when memory runs out."""
    fatal = nbformat.v4.new_code_cell("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    about = {"kernelspec": KERNEL}
    notebook = nbformat.v4.new_notebook(cells=[fatal], metadata=about)
    nbformat.write(notebook, tmp_path / "fatal.ipynb")
    monkeypatch.setattr(notebooks, "SUMMARY", tmp_path / "fatal.ipynb")
    for folder in ("sweep", "kernels"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "kernels"))
    with pytest.raises(NotebookError, match="^fatal did not run .* memory ran out; free some"):
        notebooks.summarise(tmp_path / "sweep" / "results.csv")
    for folder in ("sweep", "kernels"):  # no sockets in either, no part of a notebook
        assert not list((tmp_path / folder).iterdir())


def test_a_file_elsewhere_that_cannot_be_written_is_named(tmp_path):
    """Not the folder of the results, which has room."""
    (tmp_path / "taken").write_text("")
    with (
        pytest.raises(StorageError, match="taken/scratch: cannot be written"),
        files.writing(tmp_path / "results"),
    ):
        (tmp_path / "taken" / "scratch").mkdir()


def test_help_does_not_wait_for_torch():
    code = "import sys, figures_lib.__main__ as m; m.command_parser(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not {"torch", "papermill", "matplotlib", "numpy"} & {*loaded}


def test_every_name_of_the_package_is_found():
    for name in fl.__all__:
        assert getattr(fl, name) is not None, name
    assert {*fl.__all__} <= {*dir(fl)}
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = fl.absent
