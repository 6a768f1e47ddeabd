"""The notebooks: small, unexecuted in the repository, and running with the same results."""

import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jupytext
import nbformat
import papermill
import psutil
import pytest
from conftest import ROOT, TEST_CONFIG

import figures_lib
from figures_lib.runs import notebooks
from figures_lib.runs.kernel import KERNEL
from figures_lib.runs.notebooks import NOTEBOOKS, SUMMARY
from figures_lib.runs.run import Run

LONGEST = 480  # seconds of nbval over all notebooks
VERBS = set(figures_lib.__all__)


def notebook(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4)


def code_cells(name: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook(name).cells if cell.cell_type == "code"]


def cells(book: nbformat.NotebookNode) -> list[tuple[str, str, dict]]:
    """What the two files of a pair have in common, including tags, captions and alt texts."""
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in book.cells]


def test_book_has_exactly_these_notebooks() -> None:
    assert sorted(path.stem for path in (ROOT / "book").glob("*.ipynb")) == list(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_one_cell_holds_the_parameters(name: str) -> None:
    tagged = [c for c in code_cells(name) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    names = [s.targets[0].id for s in ast.parse(tagged[0].source).body]
    assert names == ["config", "out", "overrides", "seed"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_papermill_describes_every_parameter(name: str) -> None:
    parameters = papermill.inspect_notebook(str(ROOT / "book" / f"{name}.ipynb"))
    assert list(parameters) == ["config", "out", "overrides", "seed"]
    assert all(parameter["help"] for parameter in parameters.values())


def test_the_summary_of_a_study_is_a_notebook_like_the_others() -> None:
    template = nbformat.read(SUMMARY, as_version=4)
    assert cells(jupytext.read(SUMMARY.with_suffix(".md"))) == cells(template)
    assert not any(cell.get("outputs") for cell in template.cells)
    (parameter,) = papermill.inspect_notebook(str(SUMMARY)).values()
    assert parameter["name"] == "results" and parameter["help"]


@pytest.mark.parametrize("folder", [".", "book"])
def test_a_wrong_parameter_is_one_line(tmp_path: Path, folder: str) -> None:
    """The notebook, and what papermill reports of it, hold the message and no traceback."""
    (tmp_path / "p.yaml").write_text("overrides: {simulation.nose: 1}\n", "utf-8")
    source, out = (
        os.path.relpath(ROOT / "book" / "01_model.ipynb", ROOT / folder),
        tmp_path / "o",
    )
    command = [sys.executable, "-m", "papermill", source, f"{out}.ipynb", "--no-progress-bar"]
    answer = subprocess.run(
        [*command, "-f", str(tmp_path / "p.yaml"), "--log-level", "ERROR"],
        capture_output=True,
        text=True,
        cwd=ROOT / folder,
        check=False,
    )
    assert answer.returncode != 0
    executed = nbformat.read(f"{out}.ipynb", as_version=4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    (error,) = [output for output in outputs if output.output_type == "error"]
    assert len(error.traceback) == 1
    assert error.traceback[0].startswith("ConfigError: ")
    assert "simulation.nose: unknown key" in error.traceback[0]
    assert answer.stderr.rstrip().splitlines()[-1] == error.traceback[0]
    assert "pipeline.py" not in answer.stderr


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_code_is_short_and_defines_nothing(name: str) -> None:
    lines = [len(cell.source.splitlines()) for cell in code_cells(name)]
    assert max(lines) <= 15
    assert sum(lines) <= 100
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in code_cells(name):
        assert not any(isinstance(node, kinds) for node in ast.walk(ast.parse(cell.source)))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_only_the_verbs_of_the_package_are_used(name: str) -> None:
    tree = ast.parse("\n".join(cell.source for cell in code_cells(name)))
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import figures_lib as fl"]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "fl"
    }
    assert used <= VERBS
    assert not any(word in ast.unparse(tree) for word in ("open(", "torch", "pyplot"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_repository_holds_no_outputs(name: str) -> None:
    for cell in code_cells(name):
        assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_text_pair_holds_the_same_cells(name: str) -> None:
    assert cells(jupytext.read(ROOT / "book" / f"{name}.md")) == cells(notebook(name))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_figures_carry_name_caption_and_description(name: str) -> None:
    for cell in code_cells(name):
        if "save_figure" in cell.source:
            about = cell.metadata["mystnb"]
            assert about["figure"]["name"] and about["figure"]["caption"].strip()
            assert about["image"]["alt"].strip()


def test_every_figure_reaches_the_executed_notebooks(executed_run: Path) -> None:
    for name in NOTEBOOKS:
        executed = nbformat.read(executed_run / "notebooks" / f"{name}.ipynb", as_version=4)
        for cell in executed.cells:
            if "save_figure" in cell.source:
                kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
                assert kinds.count("image/png") == 1, cell.source


def test_the_example_of_a_recording_is_trusted_with_its_derivative_only(
    executed_run: Path,
) -> None:
    """As the page says; and each of the ten connections that it names is strong."""
    book = nbformat.read(executed_run / "notebooks" / "17_own_recording.ipynb", 4)
    outputs = [one for cell in book.cells for one in cell.get("outputs", [])]
    printed = [one.text for one in outputs if one.output_type == "stream"]
    described, strongest, verdict, alone, by_chance, silent = printed
    assert by_chance.count("% of the shifted neurons") == 2 and "neurons move" in silent
    assert "64 neurons" in described and "derivative" in described
    assert len(strongest.splitlines()) == 10 and strongest.count("→") == 10
    assert verdict.startswith("trusted: True")
    assert alone.startswith("trusted: False, because ") and len(alone) > 40
    files = {path.name for path in (executed_run / "own" / "with_derivative").iterdir()}
    written = {"connectivity.csv", "connectivity.parquet", "connections.graphml"}
    assert {*written, "metrics.json", "provenance.json", "model"} <= files


def test_a_notebook_finds_nothing_of_an_earlier_one(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One kernel executes them all, and has ended with the last."""
    look = "print('x' in globals(), os.getpid())"
    code = {"first": ["import os\nx = 1", look], "second": [f"import os\n{look}"]}
    for name, parts in code.items():
        book = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, parts)])
        book.metadata["kernelspec"] = KERNEL
        (tmp_path / "book").mkdir(exist_ok=True)
        nbformat.write(book, tmp_path / "book" / f"{name}.ipynb")
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    run = Run(finished.experiment, tmp_path / "run")
    notebooks.execute_notebooks(run, TEST_CONFIG, {}, print, [*code])
    executed = [nbformat.read(run.out / "notebooks" / f"{one}.ipynb", 4) for one in code]
    first, second = (one.cells[-1].outputs[0].text.split() for one in executed)
    assert (first[0], second[0]) == ("True", "False")
    assert first[1] == second[1] and not psutil.pid_exists(int(first[1]))
    assert [one.cells[-1].execution_count for one in executed] == [3, 2]  # parameters first


def test_executed_again_the_notebooks_print_the_same(
    executed_run: Path, tmp_path: Path
) -> None:
    """Restart & Run All, by nbval, of the executed notebooks, in an unrelated folder.

    Every notebook has a fresh kernel; the cache is found from anywhere, and nothing is added
    to it. Pictures are not compared.
    """
    copies, stages = [], sorted((executed_run / "stages").iterdir())
    for name in NOTEBOOKS:
        copies.append(tmp_path / f"{name}.ipynb")
        shutil.copy(executed_run / "notebooks" / copies[-1].name, copies[-1])
    (tmp_path / "sanitize.cfg").write_text(
        "[pictures]\nregex: <Figure size .*>\nreplace: PICTURE\n", "utf-8"
    )
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-cell-timeout=300", "-q"]
    command += ["--nbval-sanitize-with", "sanitize.cfg", "-p", "no:cacheprovider"]
    command += ["--nbval-kernel-name=python3", "--rootdir", str(tmp_path)]
    started = time.monotonic()
    answer = subprocess.run(
        [*command, *(path.name for path in copies)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-4000:]
    assert time.monotonic() - started < LONGEST
    assert sorted((executed_run / "stages").iterdir()) == stages
    found = {path for path in tmp_path.iterdir() if path.name[0] not in "._"}
    assert found == {*copies, tmp_path / "sanitize.cfg"}
