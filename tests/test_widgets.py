"""The widgets, in a real kernel: controls change pictures and read-outs to the right values."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT, TEST_CONFIG
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import figures_lib as fl
from figures_lib.config import change_experiment
from figures_lib.runs.notebooks import NOTEBOOKS, VIEW
from figures_lib.score.scoring import fit_line, gauge_free_r2
from figures_lib.show.playground import Playground, small
from figures_lib.simulate.integrate import simulate
from figures_lib.simulate.movie import field_on_grid

VIEWERS = {"movie": "04_panels", "connectivity": "04_panels", "functions": "05_functions"}
VIEWERS |= {"traces": "02_simulate"}
LIVE = ("playground", "training")


class Kernel:
    """A kernel with one widget of each kind."""

    def __init__(self, client: NotebookClient, run: Path) -> None:
        self.client = client
        self.do(
            "import json, figures_lib as fl",
            f"run = fl.open_run({str(TEST_CONFIG)!r}, {str(run)!r})",
            *(f"{name} = fl.widgets.{name}(run)" for name in (*VIEWERS, "playground")),
            "training = fl.widgets.training(playground)",
        )

    def do(self, *lines: str) -> list[nbformat.NotebookNode]:
        """Run lines of code; their outputs."""
        cell = new_code_cell("\n".join(lines))
        self.client.nb.cells.append(cell)
        return self.client.execute_cell(cell, len(self.client.nb.cells) - 1).outputs

    def ask(self, expression: str) -> Any:
        """The value of an expression."""
        outputs = self.do(f"print(json.dumps({expression}))")  # a busy kernel sends it in parts
        return json.loads("".join(output.text for output in outputs))

    def status(self, widget: str) -> str:
        return self.ask(f"{widget}.status.value")

    def picture(self, widget: str) -> str:
        png = self.ask(f"{widget}.image.value.hex()")
        assert bytes.fromhex(png).startswith(b"\x89PNG")
        return hashlib.sha256(png.encode()).hexdigest()


@pytest.fixture(scope="module")
def kernel(executed_run: Path) -> Iterator[Kernel]:
    where = {"metadata": {"path": str(ROOT)}}
    client = NotebookClient(new_notebook(), kernel_name="python3", resources=where, timeout=120)
    with client.setup_kernel():
        yield Kernel(client, executed_run)


@pytest.fixture
def changed(kernel: Kernel) -> Callable[..., bool]:
    """Whether lines of code change the picture of a widget."""

    def go(widget: str, *lines: str) -> bool:
        before = kernel.picture(widget)
        kernel.do(*lines)
        return kernel.picture(widget) != before

    return go


@pytest.mark.parametrize("name", VIEWERS)
def test_viewer_shows_the_widget_here_and_its_place_in_the_site(
    kernel: Kernel, executed_run: Path, name: str
) -> None:
    (output,) = kernel.do(name)
    assert {VIEW, "text/html", "text/plain"} == set(output.data)
    executed = nbformat.read(executed_run / "notebooks" / f"{VIEWERS[name]}.ipynb", 4)
    (cell,) = [c for c in executed.cells if c.source == f"fl.widgets.{name}(run)"]
    assert cell.outputs[0].data["text/html"] == output.data["text/html"]
    assert f'data-viewer="{name}"' in output.data["text/html"]
    assert "once its cell is run" in output.data["text/html"]


@pytest.mark.parametrize("name", LIVE)
def test_live_widget_leaves_its_picture(kernel: Kernel, name: str) -> None:
    (output,) = kernel.do(name)
    assert {VIEW, "image/png", "text/plain"} == set(output.data)


def test_executed_notebooks_keep_no_dead_widget(executed_run: Path) -> None:
    for name in NOTEBOOKS:
        text = (executed_run / "notebooks" / f"{name}.ipynb").read_text("utf-8")
        assert VIEW not in text and "widget-state" not in text


def test_movie_shows_the_chosen_frame(
    kernel: Kernel, run: fl.Run, changed: Callable[..., bool]
) -> None:
    assert changed("movie", "movie.frame.value = 3000")
    frame = torch.tensor([3000])
    error = run.infer().field(frame) - run.simulate()[1].field_at(frame)
    assert "Frame 3,000 of 4,000 (t = 30.00)" in kernel.status("movie")
    assert f"difference {float(error.square().mean().sqrt()):.3f}" in kernel.status("movie")
    assert changed("movie", "movie.frame.value = 0")


def test_connectivity_shows_the_scores_of_the_chosen_edges(
    kernel: Kernel, run: fl.Run, changed: Callable[..., bool]
) -> None:
    scores, types = run.score(), run.simulate()[1].types
    true, learned = scores.connectivity_true, scores.connectivity_learned
    assert f"R² = {scores.metrics['connectivity.r2']:.6f}" in kernel.status("connectivity")
    assert changed("connectivity", "connectivity.sender.value = 0")
    assert changed("connectivity", "connectivity.receiver.value = 1")
    block = (types == 1).nonzero()[:, 0][:, None], (types == 0).nonzero()[:, 0]
    r2, slope = fit_line(true[block], learned[block])
    assert f"R² = {r2:.6f}, slope = {slope:.4f}" in kernel.status("connectivity")
    kernel.do("connectivity.sender.value = connectivity.receiver.value = 2")
    assert changed("connectivity", "connectivity.scales.value = 'fitted'")
    assert f"R² = {gauge_free_r2(true, learned):.6f}" in kernel.status("connectivity")
    assert changed("connectivity", "connectivity.zoom.value = 4")


def test_functions_follow_sweep_stage_and_types(
    kernel: Kernel, run: fl.Run, changed: Callable[..., bool]
) -> None:
    final = run.metrics()["loss.final"]
    assert f"The networks: {final:.2e} of the variance" in kernel.status("functions")
    assert changed("functions", "functions.sweep.value = 6")
    loss = run.infer().history.sweeps[6].loss
    assert f"Sweep 6: {loss:.2e} of the variance" in kernel.status("functions")
    assert changed("functions", "functions.stage.value = 0")
    assert changed("functions", "functions.types[0].value = False")
    assert changed("functions", "functions.true.value = False")


def test_traces_show_the_chosen_neurons_and_frames(
    kernel: Kernel, run: fl.Run, changed: Callable[..., bool]
) -> None:
    assert changed("traces", "traces.neurons.value = (3, 40)")
    assert changed("traces", "traces.stretch.value = (500, 999)")
    spread = float(run.simulate()[0].activity[500:1000][:, [3, 40]].std())
    status = kernel.status("traces")
    assert "2 neurons" in status and "frames 500 to 999" in status
    assert f"standard deviation {spread:.2f}" in status
    assert changed("traces", "traces.neurons.value = ()")
    assert "Choose a neuron" in kernel.status("traces")


def test_the_last_frame_can_be_chosen(kernel: Kernel) -> None:
    assert kernel.ask("(movie.frame.max, traces.stretch.max)") == [3999, 3999]
    assert kernel.ask("playground.frame.max == len(playground.recording.activity) - 1")


def test_playground_simulates_with_the_values_of_its_controls(
    kernel: Kernel, run: fl.Run, changed: Callable[..., bool]
) -> None:
    values = {"simulation.noise": 0.2, "neuron_types.1.width": 8.0, "neuron_types.0.gain": 5.0}
    values |= {
        "neuron_types.0.decay": 1.5,
        "seed": 4,
        "external_input.minimum": 0.8,
        "external_input.maximum": 1.2,
    }
    assert changed(
        "playground",
        "playground.noise.value, playground.seed.value = 0.2, 4",
        "playground.contrast.value = 0.2",
        "playground.types[1]['width'].value = 8",
        "playground.types[0]['gain'].value = 5",
        "playground.types[0]['decay'].value = 1.5",
    )
    recording, truth = simulate(change_experiment(small(run.experiment), values))
    assert kernel.ask("float(playground.recording.activity.std())") == pytest.approx(
        float(recording.activity.std()), rel=1e-3
    )
    by_type = [recording.activity[:, truth.types == kind].std() for kind in (0, 1)]
    shown = kernel.ask("playground.table.value")
    for value in (recording.activity.std(), *by_type):
        assert f"<td>{float(value):.2f}</td>" in shown
    assert "before" in shown
    assert changed("playground", "playground.frame.value = 2000")
    kernel.do("playground.frames.value = 1000")
    assert kernel.ask("(playground.frame.value, len(playground.recording.activity))") == [
        999,
        1000,
    ]


@pytest.mark.parametrize(("name", "value"), [("decay", 3.0), ("gain", 2.0), ("width", 9.0)])
def test_playground_simulates_every_parameter_of_a_type(
    kernel: Kernel, changed: Callable[..., bool], name: str, value: float
) -> None:
    kernel.do(f"box = playground.types[1]['{name}']", "good = box.value")
    assert changed("playground", f"box.value = {value}")
    assert kernel.ask("playground.problem.value") == ""
    found = kernel.ask(f"playground.truth.parameters()['{name}'].tolist()")
    types = kernel.ask("playground.truth.types.tolist()")
    assert {one for one, kind in zip(found, types, strict=True) if kind == 1} == {value}
    by_type = kernel.ask("playground.recording.activity.std(0).tolist()")
    kernel.do("box.value = good")
    assert kernel.ask("playground.recording.activity.std(0).tolist()") != by_type


def test_playground_takes_a_movie_from_a_file(
    kernel: Kernel, changed: Callable[..., bool], tmp_path: Path
) -> None:
    movie = np.linspace(0.6, 1.4, 3 * 4 * 4, dtype=np.float32).reshape(3, 4, 4)
    np.save(tmp_path / "movie.npy", movie)
    spread = kernel.ask("float(playground.recording.activity.std())")
    assert changed("playground", f"playground.source.value = {str(tmp_path / 'movie.npy')!r}")
    field = torch.tensor(kernel.ask("playground.truth.field.tolist()"))
    assert torch.equal(field, field_on_grid(torch.from_numpy(movie)))
    assert kernel.ask("float(playground.recording.activity.std())") != spread
    assert changed("playground", "playground.source.value = ''")
    assert kernel.ask("float(playground.recording.activity.std())") == spread


@pytest.mark.parametrize("neurons", [64, 300])
def test_playground_replaces_weights_of_another_size(neurons: int, tmp_path: Path) -> None:
    weights = 0.1 * np.random.default_rng(0).standard_normal((neurons, neurons))
    np.fill_diagonal(weights, 0)
    np.save(tmp_path / "weights.npy", weights.astype(np.float32))
    given = {"simulation.neurons": neurons, "simulation.input_neurons": 16}
    given |= {"connectivity.source": str(tmp_path / "weights.npy")}
    run = fl.open_run(TEST_CONFIG, tmp_path / "out", given)
    play = Playground(run)
    assert play.problem.value == ""
    kept = np.allclose(play.truth.connectivity, weights[:256, :256], atol=1e-6)
    assert kept == (neurons <= 256)


@pytest.mark.parametrize(
    ("control", "value", "message"),
    [
        ("types[0]['width']", 0, "neuron_types.0.width: Input should be greater than"),
        ("seed", -1, "seed: Input should be greater than or equal to 0"),
        ("source", "'nowhere.tif'", "nowhere.tif: no such file"),
        ("types[1]['gain']", 1e9, "diverged"),
    ],
)
def test_playground_reports_what_cannot_be_simulated(
    kernel: Kernel, changed: Callable[..., bool], control: str, value: Any, message: str
) -> None:
    kernel.do(f"kept, box = playground.recording, playground.{control}", "good = box.value")
    assert not changed("playground", f"box.value = {value}")
    assert message in kernel.ask("playground.problem.value")
    assert kernel.ask("kept is playground.recording")
    kernel.do("box.value = good")
    assert kernel.ask("playground.problem.value") == ""


def test_training_stops_keeps_its_estimate_and_continues(kernel: Kernel) -> None:
    kernel.do(
        "import time",
        "playground.frames.value = 2000",
        "training.button.click()",
        "while len(training.sweeps) < 2: time.sleep(0.01)",
        "training.button.click()",
        "training.wait()",
    )
    count = kernel.ask("len(training.sweeps)")
    assert 2 <= count <= 4  # a sweep may have been in progress
    status = kernel.status("training")
    assert f"Stopped after sweep {count - 1}. Scored with the truth" in status
    kernel.do("time.sleep(0.5)")
    assert kernel.ask("(training.running, len(training.sweeps))") == [False, count]
    assert kernel.ask("training.state.estimate.loss == training.sweeps[-1].loss")
    kernel.do(
        "from figures_lib.score.scoring import gauge_free_r2",
        "found = training.state.estimate.connectivity",
        "r2 = gauge_free_r2(playground.truth.connectivity, found)",
    )
    assert f"R² of the weights {kernel.ask('r2'):.4f}" in status
    kernel.do(
        "training.start()",
        f"while len(training.sweeps) <= {count}: time.sleep(0.01)",
        "training.stop()",
        "training.wait()",
    )
    assert kernel.ask("[sweep.index for sweep in training.sweeps]") == list(
        range(kernel.ask("len(training.sweeps)"))
    )


def test_training_starts_again_with_another_network(kernel: Kernel) -> None:
    kernel.do(
        "playground.seed.value = 8",
        "training.start()",
        "training.stop()",
        "training.wait()",
    )
    assert kernel.ask("training.sweeps[0].index == 0 and len(training.sweeps) == 1")
    assert kernel.ask("training.state.data.total == len(playground.recording.activity)")
