"""Unusual runs: no movie, one-dimensional embeddings, many types, the published size."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, SMALL, TEST_CONFIG
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from test_site import HEAVIEST, seen_since
from viewer_pages import PAGES, Page, bare_page, written

import figures_lib as fl
from figures_lib.config import load_experiment
from figures_lib.draw.figures import evenly
from figures_lib.model.gnn import GNN
from figures_lib.model.inferred import History, Model, SweepReport
from figures_lib.model.siren import Siren
from figures_lib.recording import Recording
from figures_lib.runs.notebooks import execute_notebooks
from figures_lib.score.scoring import Scores
from figures_lib.show import viewers
from figures_lib.simulate.network import neuron_positions
from figures_lib.simulate.truth import Truth

SHOWING = ("02_simulate", "03_infer", "04_panels", "05_functions", "09_play")
NO_MOVIE = "No neuron is modulated in this run: there is no movie to show."


@pytest.mark.parametrize(("total", "count"), [(1, 100), (7, 100), (100, 100), (2048, 100)])
def test_indices_are_evenly_spaced_and_of_the_given_number(total: int, count: int) -> None:
    chosen = evenly(total, count)
    assert len(chosen) == min(total, count)
    assert (int(chosen[0]), int(chosen[-1])) == (0, total - 1)
    steps = chosen.diff()
    assert len(steps) == 0 or int(steps.min()) > 0 and int(steps.max() - steps.min()) <= 1


@pytest.fixture(scope="module")
def bleak(tmp_path_factory: pytest.TempPathFactory) -> fl.Run:
    """A run without modulated neurons, with one-dimensional embeddings; notebooks executed.

    Its folder has a name in which papermill would put parameters, and the user has settings
    with which no figure would be drawn.
    """
    odd = {**SMALL, "simulation.input_neurons": 0, "graph_network.embedding": 1}
    out = tmp_path_factory.mktemp("bleak") / "noise={0.5}, run{seed} #2"
    run = fl.open_run(TEST_CONFIG, out, odd)
    spoiled = tmp_path_factory.mktemp("user")
    (spoiled / "matplotlibrc").write_text("text.usetex: True\nfont.family: absent\n")
    stale = spoiled / "kernels" / "python3"
    stale.mkdir(parents=True)
    (stale / "kernel.json").write_text(
        json.dumps({"argv": ["/absent/python"], "display_name": "", "language": "python"})
    )
    startup = spoiled / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("raise SystemExit('a kernel that starts like this ends')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(spoiled))
        patch.setenv("MATPLOTLIBRC", str(spoiled / "matplotlibrc"))
        patch.setenv("MPLBACKEND", "absent")
        patch.setenv("JUPYTER_PATH", str(spoiled))
        execute_notebooks(run, TEST_CONFIG, odd, print, SHOWING)
    return run


@pytest.fixture
def bare(bleak: fl.Run, browser: webdriver.Chrome, tmp_path: Path) -> Callable[..., Page]:
    """Opens a viewer of the bleak run, or with other data, on a page outside of the book."""

    def go(kind: str, *texts: str) -> Page:
        files = (bleak.out / "viewers").glob("*.js")
        address = bare_page(tmp_path, *(file.read_text("utf-8") for file in files), *texts)
        browser.get(address)
        return Page(browser, kind)

    seen_since(browser)
    return go


def test_without_a_movie_every_figure_is_drawn(bleak: fl.Run) -> None:
    drawn = {path.stem for path in (bleak.out / "figures").glob("*.png")}
    assert {"fig3e_external_input", "fig3fg_fields", "fig3_embedding"} <= drawn
    assert bleak.metrics()["external_input.r2"] is None


@pytest.mark.parametrize("kind", PAGES)
def test_without_a_movie_viewers_show_the_rest(kind: str, bare: Callable[..., Page]) -> None:
    page = bare(kind)
    assert page.ready == "yes"
    pictures = {"hero": 0, "movie": 1, "siren": 0, "functions": 4}
    hashes = page.hashes()
    assert len(hashes) == pictures.get(kind, 1) and 0 not in hashes
    assert (NO_MOVIE in page.find("").text) == (kind in ("hero", "movie", "siren"))
    if kind == "movie":
        assert page.changes(lambda: page.labelled("time").send_keys(Keys.END)) == [True]
        assert page.readout() == "Frame 2,999 of 3,000 (t = 30.0)."
    assert seen_since(page.chrome)[::2] == ([], [])


def test_embeddings_of_one_component_are_drawn_against_the_neuron(bleak: fl.Run) -> None:
    about, arrays = written(bleak, "functions")
    cloud = bleak.infer().history.embedding_steps
    assert about["components"] == cloud.shape[-1] == 1
    assert np.abs(arrays["cloud"][..., 0] - cloud[..., 0].numpy()).max() < 1e-3
    assert np.allclose(arrays["cloud"][..., 1], np.arange(40), atol=1e-3)


def test_types_are_listed_in_the_order_of_their_numbers(bare: Callable[..., Page]) -> None:
    types = torch.arange(24) % 12
    arrays = {
        "neurons": viewers.exact(torch.arange(24), np.uint16),
        "types": viewers.exact(types, np.uint8),
        "activity": viewers.quantised(torch.randn(24, 200)),
    }
    about = {"spacing": 25.0, "timeStep": 0.01, "colours": fl.figures.TYPE_COLOURS}
    page = bare("traces", viewers.encode("traces", arrays, about))
    names = [button.text for button in page.all(".viewer-buttons button")]
    assert names == ["ten", "all", *(f"type {k + 1}" for k in range(12))]


# The published size


@dataclass(frozen=True)
class Made(fl.Run):
    """A run whose results are given."""

    recording: Recording
    truth: Truth
    model: Model
    scores: Scores

    def simulate(self, progress: object = None) -> tuple[Recording, Truth]:
        return self.recording, self.truth

    def infer(self, progress: object = None) -> Model:
        return self.model

    def score(self) -> Scores:
        return self.scores


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Random arrays of the paper's shapes; the activity does not change in time."""
    experiment = load_experiment(ROOT / "config" / "fig3.yaml")
    settings, inference = experiment.simulation, experiment.inference
    neurons, frames, inputs = settings.neurons, settings.frames, settings.input_neurons
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    activity = drawn(1, neurons).expand(frames, neurons)
    positions = neuron_positions(inputs, neurons)
    modulated, types = torch.arange(neurons) < inputs, torch.arange(neurons) * 4 // neurons
    recording = Recording(
        activity, activity, positions, modulated, torch.ones(neurons), settings.time_step
    )
    weights = drawn(neurons, neurons)
    field = 1 + drawn(experiment.external_input.images, inputs).abs()
    model_name, parameters = experiment.neuron_model, experiment.neuron_types
    truth = Truth(weights, types, field, model_name, parameters, frames)
    phases = [("shared", inference.shared_sweeps, inference.knots)]
    phases += [("neuron", inference.neuron_sweeps, inference.knots)]
    phases += [("type", 4 * inference.type_sweeps, inference.type_knots)]
    sweeps = [
        (phase, torch.linspace(-3, 3, knots), drawn(neurons, knots))
        for phase, count, knots in phases
        for _ in range(count)
    ]
    history = History(
        tuple(
            SweepReport(k, phase, 0.1, 1.0, x, y, y) for k, (phase, x, y) in enumerate(sweeps)
        ),
        drawn(9, neurons, 2),
    )
    gnn, siren = GNN(experiment.graph_network, neurons), Siren(experiment.field_network)
    model = Model(
        *(gnn, siren, types, positions, modulated, frames, 8 * len(field), 0.1, history)
    )
    curves = drawn(4, 200)
    scores = Scores(
        {"loss.final": 0.1},
        weights,
        weights + drawn(neurons, neurons),
        *[curves] * 5,
        types[:4],
        *(drawn(neurons, 2), drawn(neurons, 2), drawn(10)),
        *(drawn(3, 1001), drawn(0, 0), drawn(1001, 6), drawn(1001, 6), types[:6]),
    )
    out = tmp_path_factory.mktemp("published")
    return Made(experiment, out, recording, truth, model, scores)


def test_number_of_sweeps_is_that_of_the_published_size(run: fl.Run) -> None:
    inference = run.experiment.inference
    count = inference.shared_sweeps + 3 * inference.neuron_sweeps + 4 * inference.type_sweeps
    assert len(run.infer().history.sweeps) <= count
    assert len(run.infer().history.embedding_steps) <= 9


@pytest.mark.parametrize("page", sorted(set(PAGES.values())))
def test_data_of_a_page_are_light_at_the_published_size(page: str, published: Made) -> None:
    kinds = {kind.replace("hero", "movie") for kind, place in PAGES.items() if place == page}
    for kind in kinds:
        getattr(viewers, kind)(published)
    files = [published.out / "viewers" / f"{kind}.js" for kind in kinds]
    assert 0 < sum(file.stat().st_size for file in files) <= HEAVIEST
    if page == "02_simulate":
        assert len(written(published, "traces")[1]["neurons"]) == 100
