"""Execution of the notebooks by papermill."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from figures_lib.config import input_files
from figures_lib.errors import CellError, NotebookError
from figures_lib.paths import ROOT
from figures_lib.runs.files import part_of
from figures_lib.runs.run import Run

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from figures_lib.runs.kernel import Kernel

FIGURE_3 = ("01_model", "02_simulate", "03_infer", "04_panels", "05_functions")
OTHER_FIGURES = (
    *("11_experiments", "12_figure_2", "13_transfer"),
    *("14_noise", "15_types", "16_transfer_functions"),
)
EVIDENCE = ("06_benchmark", "07_ablation", "08_studies", "09_play", "10_methods")
NOTEBOOKS = (*FIGURE_3, *EVIDENCE, *OTHER_FIGURES, "17_own_recording")
SUMMARY = ROOT / "notebooks" / "sweep_summary.ipynb"
RUN_HASH = "config_hash"  # in the metadata of an executed notebook: which run it belongs to
VIEW = "application/vnd.jupyter.widget-view+json"  # output type of a widget


def execute_notebooks(
    run: Run,
    config: Path,
    overrides: Mapping[str, Any],
    report: Callable[[str], None],
    names: Sequence[str] = NOTEBOOKS,
) -> None:
    """Execute notebooks in order into the folder ``notebooks`` of a run.

    They run in the root of the repository and receive relative paths, so that no executed
    notebook contains a path of this machine. One kernel executes them all; each finds nothing
    of what another has defined.

    Args:
        run: whose results they show; its hash is stored in every notebook.
        config: its experiment file.
        overrides: dotted keys and values.
        report: called with one line before and one after each notebook.
        names: of the notebooks.

    Raises:
        CellError: a cell failed.
        NotebookError: the kernel did not start, or ended.
    """
    folder = run.out / "notebooks"
    inputs = input_files(run.experiment)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {
        "config": os.path.relpath(config.resolve(), ROOT),
        "out": os.path.relpath(run.out, ROOT),
        "overrides": {
            **overrides,
            **{key: os.path.relpath(path, ROOT) for key, path in inputs.items()},
        },
        "seed": None,
    }
    # imported late: it takes a second, which every notebook would wait for
    from figures_lib.runs.kernel import one_kernel

    about = {RUN_HASH: run.config_hash}
    with one_kernel() as kernel:
        for number, name in enumerate(names, start=1):
            started = time.perf_counter()
            report(f"[{number}/{len(names)}] {name} …")
            source, target = ROOT / "book" / f"{name}.ipynb", folder / f"{name}.ipynb"
            _execute(source, target, parameters, ROOT, kernel, about)
            report(f"[{number}/{len(names)}] {name} {time.perf_counter() - started:.0f} s")


def summarise(results: Path) -> Path:
    """Execute the summary of a parameter study beside its ``results.csv``.

    Returns:
        The executed notebook, ``summary.ipynb``.

    Raises:
        CellError: a cell failed.
        NotebookError: the kernel did not start, or ended.
    """
    from figures_lib.runs.kernel import one_kernel  # imported late, as above

    target = results.with_name("summary.ipynb")
    with one_kernel() as kernel:
        _execute(SUMMARY, target, {"results": results.name}, results.parent, kernel)
    return target


def _execute(
    source: Path,
    target: Path,
    parameters: dict[str, Any],
    folder: Path,
    kernel: Kernel,
    about: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Execute one notebook in a folder; ``target`` appears only when it is complete.

    The kernel starts in this folder, or has been started by another notebook, of which nothing
    is left.
    """
    # imported late: they take two seconds, which every notebook would wait for
    import papermill

    from figures_lib.runs.kernel import KERNEL, SLOWEST_START

    part = part_of(target)
    try:
        if kernel.has_kernel:
            kernel.forget()
        notebook = papermill.execute_notebook(
            _literal(source),
            _literal(part),
            parameters=parameters,
            kernel_name=KERNEL["name"],
            km=kernel,
            cwd=str(folder),
            progress_bar=False,
            start_timeout=SLOWEST_START,
            extra_arguments=["--log-level=CRITICAL"],  # its interrupt is not an error
        )
        notebook.metadata["kernelspec"] = KERNEL  # papermill keeps the author's
        notebook.metadata.pop("papermill", None)  # it records the paths of this machine
        notebook.metadata |= about
        drop_widgets(notebook)
        papermill.iorw.write_ipynb(notebook, str(part))
        part.replace(target)
    except papermill.exceptions.PapermillExecutionError as error:
        raise CellError(error.ename, error.evalue) from None
    except RuntimeError as error:  # of the client: no word from the kernel
        raise NotebookError(
            f"{source.stem} did not run to its end ({error}): most often memory ran out; free "
            "some and run the same command again, which continues"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _literal(path: Path) -> str:
    """A path in which papermill finds nothing to replace by parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def drop_widgets(notebook: NotebookNode) -> None:
    """Remove widgets, whose kernel has ended; their still pictures stay."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(VIEW, None)
