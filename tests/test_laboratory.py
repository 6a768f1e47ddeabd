"""The laboratory: it infers what the library infers, in a page from disk, and never freezes."""

import json
import re
import time
from collections.abc import Iterator
from urllib.parse import quote

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from conftest import TEST_CONFIG
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait
from test_site import DESKTOP, PHONE, barriers, seen_since
from viewer_pages import Page

from figures_lib.config import load_experiment
from figures_lib.infer import algorithm
from figures_lib.infer.algorithm import converge
from figures_lib.infer.examine import by_tables
from figures_lib.infer.gauge import row_scales
from figures_lib.infer.unknowns import State
from figures_lib.model.dynamics import Dynamics
from figures_lib.neurons.neuron import of_each_neuron
from figures_lib.recording import Recording
from figures_lib.score.scoring import fit_scales

WORLD = {"neurons": 64, "frames": 4000, "gain": -2, "seed": 3}
CLOSE = 1e-4
STATE = "return document.querySelector('#viewer-laboratory').dataset.state"
FOUND = """
const {laboratory} = document.querySelector('#viewer-laboratory');
const {recorded, now, movie, diagnosis} = laboratory;
const plain = (_, value) => ArrayBuffer.isView(value) ? [...value] : value;
return JSON.stringify({...recorded, now, movie, diagnosis}, plain);
"""
FRAMES = """
window.drawn = window.drawn || 0;
const count = () => { window.drawn += 1; requestAnimationFrame(count); };
requestAnimationFrame(count);
"""


class Laboratory(Page):
    """The laboratory in a page from disk."""

    def __init__(self, chrome: webdriver.Chrome, site, settings, width: int = DESKTOP) -> None:
        shape = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        chrome.get("about:blank")
        address = f"file://{site}/book/09_play.html"
        chrome.get(f"{address}#laboratory={quote(json.dumps(settings))}")
        super().__init__(chrome, "laboratory")
        self.waits_for("simulated")

    def waits_for(self, state: str, seconds: float = 120) -> None:
        WebDriverWait(self.chrome, seconds).until(
            lambda page: page.execute_script(STATE) == state
        )

    def found(self):
        return json.loads(self.chrome.execute_script(FOUND))


@pytest.fixture
def laboratory(browser, built_site) -> Iterator:
    seen_since(browser)
    yield lambda settings, width=DESKTOP: Laboratory(browser, built_site, settings, width)
    errors, requests, failures = seen_since(browser)
    assert (errors, failures) == ([], [])
    assert [one for one in requests if one.startswith("http")] == []


def last_of(recording: Recording, monkeypatch) -> State:
    """The library's own result, without the Gauss–Newton steps that the page does not have."""
    monkeypatch.setattr(algorithm, "LARGEST_NETWORK", 0)
    learner = load_experiment(TEST_CONFIG, {"inference.shared_sweeps": 5}).learner
    return list(converge(recording, learner))[-1]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_it_agrees_with_the_library_on_the_same_recording(laboratory, monkeypatch) -> None:
    page = laboratory(WORLD)
    page.chrome.execute_script(FRAMES)
    began = time.perf_counter()
    page.button("Run to the end").click()
    page.waits_for("finished")
    seconds = time.perf_counter() - began
    assert page.chrome.execute_script("return window.drawn") > 5 * seconds  # it never froze
    assert "Verdict, without the truth: trusted." in page.readout()
    for theme in ("light", "dark"):  # colours of the page fade from one to the other
        WebDriverWait(page.chrome, 30).until(lambda chrome, t=theme: not barriers(chrome, t))
    found = page.found()

    neurons, frames = found["neurons"], found["frames"]
    activity, derivative = (
        torch.tensor(found[name], dtype=torch.float32).view(neurons, frames).T.contiguous()
        for name in ("activity", "derivative")
    )
    kinds = load_experiment(TEST_CONFIG).neuron_types
    kinds = tuple(one.model_copy(update={"gain": one.gain / 4}) for one in kinds)
    own = of_each_neuron(kinds, torch.tensor(found["types"]))
    modulated = torch.tensor(found["modulated"]).bool()
    field = torch.ones(frames, neurons)
    images = torch.tensor(found["movie"], dtype=torch.float32)
    field[:, modulated] = images[torch.arange(frames) * len(images) // frames]
    now, shape = found["now"], (neurons, neurons)
    truth = torch.tensor(now["truth"], dtype=torch.float32).view(shape)
    neuron = load_experiment(TEST_CONFIG).neuron
    assert apart(Dynamics(neuron, own, truth).derivative(activity, field), derivative) < 1e-6

    recording = Recording(
        activity, derivative, torch.zeros(neurons, 2), modulated, own["gain"], 0.01
    )
    last = last_of(recording, monkeypatch)
    estimate = last.estimate
    assert last.types is not None and last.types.tolist() == now["types"]
    weights = torch.tensor(now["connectivity"]).view(shape).double()
    library = estimate.connectivity.double()
    assert apart(fit_scales(library, weights), library) < CLOSE
    assert apart(torch.tensor(now["update"]).view(neurons, -1), estimate.update) < CLOSE
    transfer = torch.tensor(now["transfer"]).view(neurons, -1)
    own_scale = estimate.transfer[0].norm(dim=1) / transfer.norm(dim=1)
    assert apart(transfer * own_scale[:, None], estimate.transfer[0]) < CLOSE
    learned = torch.tensor(now["field"]["learned"]).view(int(modulated.sum()), -1)
    assert (
        apart(learned / learned.mean(1, keepdim=True), estimate.field[modulated].double())
        < CLOSE
    )
    scales = row_scales(weights.float(), modulated)
    assert torch.allclose(scales, torch.ones_like(scales), atol=1e-4)  # it is in this gauge
    judged = by_tables(recording, last)
    assert found["diagnosis"]["heldoutR2"] == pytest.approx(judged.explained, abs=1e-5)
    assert found["diagnosis"]["structure"] == pytest.approx(judged.structure, abs=1e-5)
    assert now["scores"]["connectivityScaled"] > 0.9999


def test_a_recording_that_is_too_short_is_not_trusted(laboratory) -> None:
    page = laboratory({**WORLD, "frames": 250}, PHONE)
    page.button("Run to the end").click()
    page.waits_for("finished")
    assert "not trusted. Reasons: " in page.readout()
    width = page.chrome.execute_script("return document.documentElement.scrollWidth")
    assert width <= PHONE


def test_one_sweep_at_a_time_moves_every_picture_of_the_result(laboratory) -> None:
    page = laboratory({**WORLD, "frames": 1000})
    results = [False, False, False] + [True] * 6  # after the movie and the activity
    for number in (1, 2):

        def press(number: int = number) -> None:
            page.button("One sweep").click()
            page.waits_for(f"sweep {number}")

        assert page.changes(press) == results
        assert page.readout().startswith(f"Sweep {number}, one ψ for all neurons:")


def test_a_drawn_movie_is_hidden_in_the_network(laboratory) -> None:
    page = laboratory(WORLD)
    before = page.found()
    canvas = page.find("canvas")
    seen = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
    page.chrome.execute_script(seen, canvas)
    reach = canvas.size["width"] // 2 - 5
    draw = ActionChains(page.chrome).move_to_element_with_offset(canvas, -reach, 0)
    draw.click_and_hold().move_by_offset(2 * reach, 0).release().perform()
    WebDriverWait(page.chrome, 20).until(lambda _: page.found()["movie"] != before["movie"])
    movie = np.array(page.found()["movie"]).reshape(16, 5, 5)  # image, column, row from below
    changed = movie != np.array(before["movie"]).reshape(movie.shape)
    assert changed.any((1, 2)).sum() == 1  # of the images only the one that is shown
    shown = int(changed.any((1, 2)).argmax())
    assert changed[shown].any(1).all()  # a white line from side to side
    assert page.found()["activity"] != before["activity"]


def test_a_movie_from_a_file_is_hidden_in_the_network(laboratory, tmp_path) -> None:
    page = laboratory(WORLD)
    before = page.found()["movie"]
    images = np.zeros((4, 40, 40, 3), np.uint8)
    for k, image in enumerate(images):
        image[:, 10 * k : 10 * k + 10] = 255  # a bar that moves to the right
    path = tmp_path / "bar.gif"
    iio.imwrite(path, images, duration=100)
    page.find("input[type=file]").send_keys(str(path))
    WebDriverWait(page.chrome, 20).until(lambda _: page.found()["movie"] != before)
    movie = np.array(page.found()["movie"]).reshape(16, 5, 5)  # image, column, row from below
    assert movie[0, 0].min() > 1.5 and movie[0, 2:].max() < 0.5
    assert movie[15, 4].min() > 1.5 and movie[15, :3].max() < 0.5


def test_the_address_holds_every_setting_and_the_movie(laboratory) -> None:
    page = laboratory({**WORLD, "types": 1, "derivative": "differences", "contrast": 0.5})
    page.button("Address").click()
    address = page.find(".laboratory-address").get_attribute("value")
    first = page.found()
    page.chrome.get("about:blank")
    page.chrome.get(address)
    again = Page(page.chrome, "laboratory")
    page.waits_for("simulated")
    assert page.found() == first
    assert again.labelled("dx/dt").get_attribute("value") == "differences"
    assert max(first["types"]) == 0


@pytest.mark.parametrize("settings", [{"neurons": "x", "frames": 1e9, "movie": 7}, [], 5])
def test_an_address_of_nonsense_is_ignored(laboratory, settings) -> None:
    found = laboratory(settings).found()
    assert found["neurons"] == 64 and found["frames"] <= 8000


SET = """
const input = [...document.querySelectorAll(`#viewer-${arguments[0]} label`)]
  .find((label) => label.textContent.includes(arguments[1])).querySelector('input, select');
input.value = arguments[2];
input.dispatchEvent(new Event(input.tagName === 'SELECT' ? 'change' : 'input'));
"""


@pytest.fixture
def why(browser, built_site) -> Iterator:
    """Opens a figure of the page that explains; the second function moves a control."""
    seen_since(browser)

    def go(kind: str):
        browser.get(f"file://{built_site}/book/why.html")
        page = Page(browser, kind)

        def told(label: str, value: object) -> list[float]:
            """The numbers that the figure tells after a change."""
            browser.execute_script(SET, kind, label, str(value))
            text = page.readout().replace("−", "-").replace(",", "")
            return [
                float(one.rstrip(".")) for one in re.findall(r"-?\d[\d.]*(?:e-?\d+)?", text)
            ]

        return page, told

    yield go
    errors, _, failures = seen_since(browser)
    assert (errors, failures) == ([], [])


def test_a_row_of_weights_locks_when_there_are_as_many_frames_as_neurons(why) -> None:
    page, told = why("one_neuron")
    assert barriers(page.chrome, "light") == []
    count, neurons, used, others, weights = told("frames", 3)
    assert (count, neurons) == (16, 32)
    assert used > 0.99 and others < 0.95 and weights < 0.9
    count, _, used, others, weights = told("frames", 9)
    assert count == 34 and min(used, others, weights) > 0.999
    assert told("dx/dt", "differences")[-1] < 0.5  # the noise hides it


def test_the_matrix_is_the_same_for_every_receiver(why) -> None:
    page, _ = why("all_rows")
    change = "arguments[0].value = 7; arguments[0].dispatchEvent(new Event('input'))"
    slider = page.labelled("receiver")
    assert page.changes(lambda: page.chrome.execute_script(change, slider)) == [
        *(False, True, True),
    ]


def test_the_movie_at_a_neuron_is_a_slope_that_differs_between_images(why) -> None:
    page, told = why("product")
    slopes = [told("image", k)[1] for k in (0, 8, 15)]
    assert len({round(slope, 2) for slope in slopes}) > 1
    assert all(0.1 < slope < 2 for slope in slopes)


def test_factors_change_the_scores_but_not_the_prediction(why) -> None:
    _, told = why("gauge")
    assert told("r of", 1)[-3:] == [1, 1, 1]
    told("r of", 3)
    prediction, weights, movie = told("rows", 1)[-3:]
    assert prediction == 1 and weights < 0.95 and movie < 0.9


def test_noise_moves_the_activity_in_more_directions(why) -> None:
    _, told = why("noise")
    quiet, loud = told("noise", 0), told("noise", 1)
    assert quiet[0] < loud[0] and quiet[-1] < 0.1 * loud[-1]
