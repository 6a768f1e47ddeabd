"""The viewers: their data decode to the arrays, every control moves its picture, offline."""

import re
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from test_site import HEAVIEST, LOADED, PHONE, barriers, seen_since, tap, weight
from viewer_pages import PAGES, Page, read, written

import figures_lib as fl
from figures_lib.score.scoring import fit_line, fit_scales
from figures_lib.show import viewers


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_quantised_values_are_off_by_half_a_step_at_most(kind: type) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) ** 3
    packed = viewers.quantised(values, kind)
    worst = np.abs(packed.values() - values.numpy()).max()
    assert packed.step is not None and 0.4 * packed.step < worst <= 0.5001 * packed.step
    assert packed.step == pytest.approx(float(values.max() - values.min()) / np.iinfo(kind).max)


def test_constant_values_are_kept() -> None:
    assert np.array_equal(viewers.quantised(torch.full((3,), 0.25)).values(), [0.25] * 3)


def test_a_data_file_gives_back_every_array() -> None:
    arrays = {
        "small": viewers.exact([1, 2, 3], np.uint8),
        "wide": viewers.exact([[1, 70000], [2, 3]], np.uint32),
        "real": viewers.exact([0.1, -3.5], np.float32),
        "coded": viewers.quantised(torch.tensor([0.0, 1.0, 2.0]), np.uint16),
    }
    about, back = read(viewers.encode("some", arrays, {"total": 3}))
    assert about["total"] == 3
    for name, packed in arrays.items():
        assert back[name].dtype.kind == packed.values().dtype.kind
        np.testing.assert_array_equal(back[name], packed.values())


def test_movie_decodes_to_field_model_and_activity(run: fl.Run) -> None:
    about, arrays = written(run, "movie")
    recording, truth = run.simulate()
    frames = torch.from_numpy(arrays["frames"].astype(np.int64))
    assert frames[0] == 0 and frames[-1] == len(recording.activity) - 1
    true, learned = truth.field_at(frames).numpy(), run.infer().field(frames).numpy()
    steps = {name: part["step"] for name, part in about["arrays"].items()}
    for name, wanted in (
        ("truth", true),
        ("difference", learned - true),
        ("activity", recording.activity[frames].numpy()),
        ("positions", recording.positions.numpy()),
    ):
        worst = np.abs(arrays[name] - wanted).max()
        assert worst <= 0.5001 * steps[name], name
    assert np.array_equal(arrays["grid"], np.flatnonzero(recording.modulated))


def test_movie_follows_the_slider_by_keyboard(opened: Callable[..., Page]) -> None:
    page = opened("movie")
    slider = page.labelled("time")
    changed = page.changes(lambda: slider.send_keys(Keys.END))
    assert changed == [True] * 5
    assert slider.get_attribute("aria-valuetext") == "frame 3,999"
    assert page.readout().startswith("Frame 3,999 of 4,000")
    assert page.changes(lambda: None) == [False] * 5


def test_movie_plays_and_pauses(opened: Callable[..., Page]) -> None:
    page = opened("movie")
    slider = page.labelled("time")
    page.button("Play").click()
    WebDriverWait(page.chrome, 10).until(lambda _: int(slider.get_attribute("value")) > 3)
    page.button("Pause").click()
    stopped = slider.get_attribute("value")
    assert page.changes(lambda: None) == [False] * 5
    assert slider.get_attribute("value") == stopped


def test_hero_plays_both_movies_until_paused(opened: Callable[..., Page]) -> None:
    page = opened("hero")
    slider = page.labelled("time")
    WebDriverWait(page.chrome, 10).until(lambda _: int(slider.get_attribute("value")) > 3)
    page.chrome.execute_script("scrollTo({top: 1e6, behavior: 'instant'})")
    time.sleep(0.5)
    out_of_sight = slider.get_attribute("value")
    time.sleep(0.5)
    assert slider.get_attribute("value") == out_of_sight
    page.scroll()
    page.button("Pause").click()
    assert page.changes(lambda: None) == [False] * 2
    assert page.changes(lambda: slider.send_keys(Keys.END)) == [True] * 2


def test_hero_does_not_move_if_reduced_motion_is_preferred(
    opened: Callable[..., Page], browser: webdriver.Chrome
) -> None:
    feature = {"name": "prefers-reduced-motion", "value": "reduce"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        page = opened("hero")
        assert page.changes(lambda: time.sleep(0.3)) == [False] * 2
        assert page.button("Play").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_movie_shows_the_values_of_the_neuron_under_the_pointer(
    opened: Callable[..., Page], run: fl.Run
) -> None:
    page = opened("movie")
    page.labelled("time").send_keys(Keys.END)
    canvas = page.find("canvas")
    corner = canvas.size["width"] // 2 - 3  # top right: the last of the grid neurons
    ActionChains(page.chrome).move_to_element_with_offset(canvas, corner, -corner).perform()
    frame = torch.tensor([3999])
    true = float(run.simulate()[1].field_at(frame)[0, -1])
    learned = float(run.infer().field(frame)[0, -1])
    shown = re.search(r"Neuron 15: Ω = (\d\.\d+), Ω\* = (\d\.\d+)", page.readout())
    assert shown is not None
    assert float(shown[1]) == pytest.approx(true, abs=0.005)
    assert float(shown[2]) == pytest.approx(learned, abs=0.01)
    changed = page.changes(lambda: canvas.send_keys(Keys.ARROW_LEFT))
    assert changed == [True, True, True, True, False]
    assert "Neuron 11:" in page.readout()


def test_sample_has_every_outlier_and_no_self_connection() -> None:
    generator = torch.Generator().manual_seed(1)
    true = torch.randn(40, 40, generator=generator)
    learned = true + 0.01 * torch.randn(40, 40, generator=generator)
    learned.fill_diagonal_(50.0)
    worst = [3 * 40 + 7, 20 * 40 + 1, 39 * 40 + 0]
    learned.view(-1)[worst] += 5.0
    edges = viewers.sample_edges(true, learned, 100).tolist()
    assert len(set(edges)) == 100
    assert set(worst) <= set(edges)
    assert all(edge // 40 != edge % 40 for edge in edges)
    everything = viewers.sample_edges(true, learned, 10**6).tolist()
    assert everything == [k for k in range(1600) if k // 40 != k % 40]


def test_sample_prefers_large_weights() -> None:
    true = torch.randn(60, 60, generator=torch.Generator().manual_seed(2)) ** 3
    edges = viewers.sample_edges(true, true, 400)
    assert true.flatten()[edges].abs().mean() > 1.5 * true.abs().mean()


@pytest.mark.parametrize("seed", range(3))
def test_sample_is_independent_of_the_random_numbers_behind_the_weights(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    true = torch.empty(300, 300).cauchy_(generator=generator).clamp_(-25, 25)
    edges = viewers.sample_edges(true, true, 3000)
    assert 0.4 < float((true.flatten()[edges] > 0).float().mean()) < 0.6


def test_scores_of_pairs_of_types_are_those_of_their_edges() -> None:
    generator = torch.Generator().manual_seed(3)
    true = torch.randn(30, 30, generator=generator)
    learned = 0.9 * true + 0.2 * torch.randn(30, 30, generator=generator)
    types = torch.arange(30) % 3
    scores = viewers.pair_scores(true, learned, types)
    for row, receiver in enumerate([types == 0, types == 1, types == 2, types >= 0]):
        for column, sender in enumerate([types == 0, types == 1, types == 2, types >= 0]):
            part = [matrix[receiver][:, sender] for matrix in (true, learned)]
            wanted = fit_line(*part)
            found = scores[row][column]
            assert (found["r2"], found["slope"]) == pytest.approx(wanted, abs=1e-9)


def test_connectivity_decodes_to_the_compared_weights(run: fl.Run) -> None:
    about, arrays = written(run, "connectivity")
    scores, (receiver, sender) = run.score(), (arrays["receiver"], arrays["sender"])
    assert len(sender) == 64 * 63 and not (sender == receiver).any()
    true, learned = scores.connectivity_true, scores.connectivity_learned
    for name, matrix in (
        ("truth", true),
        ("learned", learned),
        ("fitted", fit_scales(true, learned)),
    ):
        worst = np.abs(arrays[name] - matrix.numpy()[receiver, sender]).max()
        assert worst <= 0.5001 * about["arrays"][name]["step"], name
    kinds = {"raw": "connectivity.r2", "fitted": "connectivity.r2_gauge_free"}
    for kind, key in kinds.items():
        assert about["scores"][kind][-1][-1]["r2"] == pytest.approx(run.metrics()[key])


def test_connectivity_is_filtered_rescaled_and_zoomed(opened: Callable[..., Page]) -> None:
    page = opened("connectivity")
    slider = page.labelled("zoom")
    for act in (
        lambda: page.labelled("from (sender j)").send_keys("type 1"),
        lambda: page.labelled("to (receiver i)").send_keys("type 2"),
        lambda: page.labelled("row and column").send_keys(Keys.SPACE),
        lambda: slider.send_keys(Keys.PAGE_UP),
    ):
        shown = page.readout()
        assert page.changes(act) == [True]
        assert page.readout() != shown or act.__code__.co_freevars == ("slider",)
    assert "scales fitted to the truth" in page.readout()


def test_connectivity_shows_the_edge_under_the_pointer(
    opened: Callable[..., Page], run: fl.Run
) -> None:
    page = opened("connectivity")
    canvas = page.find("canvas")
    canvas.send_keys(Keys.END)  # the edge with the largest true weight, by keyboard
    pattern = r"Edge i = (\d+) .* from j = (\d+) .*: true (\S+), learned (\S+)\."
    shown = re.search(pattern, page.readout())
    scores = run.score()
    true, learned = scores.connectivity_true, scores.connectivity_learned

    def check(shown: re.Match[str] | None) -> tuple[int, int]:
        assert shown is not None
        i, j = int(shown[1]), int(shown[2])
        for text, matrix in ((shown[3], true), (shown[4], learned)):
            value = float(text.replace("−", "-"))
            assert value == pytest.approx(float(matrix[i, j]), rel=6e-3, abs=1e-4)
        return i, j

    i, j = check(shown)
    assert true[i, j] == true.max()
    canvas.send_keys(Keys.HOME)
    i, j = check(re.search(pattern, page.readout()))
    assert true[i, j] == true.min()
    ActionChains(page.chrome).move_to_element_with_offset(canvas, 12, -6).perform()
    i, j = check(re.search(pattern, page.readout()))
    about, arrays = written(run, "connectivity")
    width, height = canvas.rect["width"], canvas.rect["height"]
    pixels = np.array([width - 76, height - 44]) / (2 * about["bound"])  # inside the axes
    origin = np.array([(52 + width - 24) / 2, (8 + height - 36) / 2])
    points = origin + np.stack([arrays["truth"], -arrays["learned"]], 1) * pixels
    distance = np.linalg.norm(points - [width / 2 + 12, height / 2 - 6], axis=1)
    shown_edge = (arrays["receiver"] == i) & (arrays["sender"] == j)
    assert distance[shown_edge].item() <= distance.min() + 1  # the pointer is on whole pixels


def test_functions_decode_to_history_and_scores(run: fl.Run) -> None:
    about, arrays = written(run, "functions")
    history, scores = run.infer().history, run.score()
    shown = torch.from_numpy(arrays["neurons"].astype(np.int64))
    assert len(about["sweeps"]) == len(history.sweeps)
    wanted = {
        "cloud": history.embedding_steps,
        "updateTrue": scores.update_true,
        "updateLearned": scores.update_learned,
        "transferTrue": scores.transfer_true,
        "transferLearned": scores.transfer_learned,
    }
    for sweep in history.sweeps:
        inside = sweep.knots.abs() <= about["bound"]
        wanted[f"update{sweep.index}"] = sweep.update[shown][:, inside]
        largest = np.abs(arrays[f"transfer{sweep.index}"]).max(1)
        assert largest == pytest.approx(1.0, abs=1e-3)
        assert np.array_equal(arrays[f"knots{sweep.index}"], sweep.knots[inside].numpy())
    for name, values in wanted.items():
        worst = np.abs(arrays[name] - values.numpy()).max()
        assert worst <= 0.5001 * about["arrays"][name]["step"], name


def test_functions_follow_sweep_stage_types_and_truth(
    opened: Callable[..., Page], run: fl.Run
) -> None:
    page = opened("functions")
    update, transfer, cloud, loss = range(4)
    for label, key, pictures in (
        ("sweep", Keys.ARROW_LEFT, {update, transfer}),
        ("sweep", Keys.HOME, {update, transfer, loss}),
        ("embedding", Keys.HOME, {cloud}),
        ("type 1", Keys.SPACE, {update, transfer, cloud}),
        ("true functions", Keys.SPACE, {update, transfer}),
    ):
        control, shown = page.labelled(label), page.readout()
        changed = page.changes(lambda control=control, key=key: control.send_keys(key))
        assert {k for k, one in enumerate(changed) if one} == pictures, label
        assert (page.readout() != shown) == (control.get_attribute("type") == "range")
    assert page.readout().startswith("Sweep 0, one ψ for all neurons:")
    page.labelled("sweep").send_keys(Keys.END)
    loss = re.match(r"The networks φ\* and ψ\* of every type: (\S+) of the", page.readout())
    assert loss is not None
    assert float(loss[1].replace("−", "-")) == pytest.approx(
        run.metrics()["loss.final"], rel=6e-3
    )


def test_traces_decode_to_the_activity(run: fl.Run) -> None:
    about, arrays = written(run, "traces")
    recording, truth = run.simulate()
    shown = arrays["neurons"].astype(np.int64)
    assert about["timeStep"] == recording.time_step
    assert np.array_equal(arrays["types"], truth.types.numpy()[shown])
    wanted = recording.activity[: viewers.TRACE_FRAMES].numpy().T[shown]
    step = about["arrays"]["activity"]["step"]
    assert arrays["activity"].shape == wanted.shape
    assert np.abs(arrays["activity"] - wanted).max() <= 0.5001 * step


def test_traces_are_chosen_zoomed_and_read(opened: Callable[..., Page], run: fl.Run) -> None:
    page = opened("traces")
    shown = page.readout()
    assert shown.startswith("10 of 64 neurons")
    assert page.changes(lambda: page.button("type 2").click()) == [True]
    types = run.simulate()[1].types
    chosen = (types == 1).nonzero()[:, 0]
    assert page.readout().startswith(f"{len(chosen)} of 64 neurons")
    assert page.changes(lambda: page.labelled("zoom").send_keys(Keys.END)) == [True]
    assert page.changes(lambda: page.labelled("from").send_keys(Keys.END)) == [True]
    canvas = page.find("canvas")
    ActionChains(page.chrome).move_to_element(canvas).perform()
    pattern = r"Neuron (\d+) \(type 2\) at frame ([\d,]+) .*: x = (\S+)\."
    read = re.search(pattern, page.readout())
    assert read is not None
    neuron, frame = int(read[1]), int(read[2].replace(",", ""))
    assert neuron in chosen and frame > 3900  # the middle of the last frames
    activity = float(run.simulate()[0].activity[frame, neuron])
    off = 0.26  # half a step of the 8-bit codes and half a digit
    assert float(read[3].replace("−", "-")) == pytest.approx(activity, abs=off)
    assert page.changes(lambda: canvas.send_keys(Keys.ARROW_RIGHT)) == [True]
    assert f"at frame {frame + 1:,}" in page.readout()


def test_field_network_is_loaded_on_request_only(
    browser: webdriver.Chrome, served_site: str
) -> None:
    browser.get("about:blank")
    seen_since(browser)
    browser.get(f"{served_site}/book/{PAGES['siren']}.html")
    page = Page(browser, "siren")
    assert page.ready == "asks"
    before = seen_since(browser)[1]
    page.begin()
    after = seen_since(browser)[1]
    loaded = [
        [address.endswith("data/siren.js") for address in part] for part in (before, after)
    ]
    assert (any(loaded[0]), any(loaded[1])) == (False, True)


def test_field_network_in_the_page_is_the_network(
    opened: Callable[..., Page], run: fl.Run
) -> None:
    page = opened("siren")
    points = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))
    script = """
    const {evaluate} = document.querySelector(arguments[0]);
    return [...evaluate(Float32Array.from(arguments[1]))];
    """
    found = page.chrome.execute_script(script, page.root, points.flatten().tolist())
    with torch.no_grad():
        wanted = run.infer().siren.double()(points.double())
    assert found == pytest.approx(wanted.tolist(), abs=1e-5)
    assert float(wanted.std()) > 0.01


def test_field_network_follows_time_and_place(opened: Callable[..., Page]) -> None:
    page = opened("siren")
    shown = page.readout()
    coarse, fine = page.chrome.find_elements(By.CSS_SELECTOR, f"{page.root} canvas")[:2]
    assert page.changes(lambda: fine.send_keys(Keys.ARROW_RIGHT)) == [True] * 3
    assert page.readout() != shown
    assert page.changes(lambda: page.labelled("time").send_keys(Keys.HOME)) == [True] * 3
    ActionChains(page.chrome).move_to_element_with_offset(coarse, 20, 20).perform()
    width = coarse.size["width"]
    x = re.search(r"x = (\d\.\d+), y = (\d\.\d+)", page.readout())
    assert x is not None
    assert float(x[1]) == pytest.approx(0.5 + 20 / width, abs=2 / width)
    assert float(x[2]) == pytest.approx(0.5 - 20 / width, abs=2 / width)


@pytest.mark.parametrize("kind", ["hero", "movie", "siren"])
def test_time_ends_at_the_last_frame(kind: str, opened: Callable[..., Page]) -> None:
    page = opened(kind)
    if kind == "hero":
        page.button("Pause").click()
    slider = page.labelled("time")
    slider.send_keys(Keys.END)
    assert slider.get_attribute("aria-valuetext") == "frame 3,999"


def test_traces_end_at_the_last_frame(opened: Callable[..., Page]) -> None:
    page = opened("traces")
    for label in ("zoom", "from"):
        page.labelled(label).send_keys(Keys.END)
    canvas = page.find("canvas")
    page.hashes()
    actions = ActionChains(page.chrome).move_to_element(canvas)
    actions.move_by_offset(int(canvas.rect["width"]) // 2 - 2, 0).perform()
    assert "at frame 3,999 " in page.readout()


@pytest.fixture(params=sorted(set(PAGES.values())))
def full_page(
    request: pytest.FixtureRequest, browser: webdriver.Chrome, served_site: str
) -> webdriver.Chrome:
    """A page on which all viewers were opened and have loaded their data."""
    browser.get("about:blank")
    seen_since(browser)
    browser.get(f"{served_site}/book/{request.param}.html")
    for kind in (kind for kind, place in PAGES.items() if place == request.param):
        viewer = Page(browser, kind)
        if viewer.ready == "asks":
            viewer.begin()
        viewer.hashes()
    return browser


def test_a_page_with_all_it_can_load_stays_light(full_page: webdriver.Chrome) -> None:
    loaded = [name for name, *_ in full_page.execute_script(LOADED)]
    assert any("/viewers/data/" in name for name in loaded)
    assert 0 < weight(full_page) <= HEAVIEST


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_open_viewers_have_no_serious_barrier(full_page: webdriver.Chrome, theme: str) -> None:
    assert full_page.find_elements(By.CSS_SELECTOR, ".viewer canvas")
    assert barriers(full_page, theme) == []


@pytest.mark.parametrize("kind", sorted(PAGES.keys() - {"hero"}))
def test_pictures_follow_the_theme(kind: str, opened: Callable[..., Page]) -> None:
    page = opened(kind)
    script = "document.documentElement.dataset.theme = 'dark'"
    assert any(page.changes(lambda: page.chrome.execute_script(script)))


@pytest.mark.parametrize("kind", PAGES)
def test_on_a_phone_controls_fit_and_are_large_enough(
    kind: str, opened: Callable[..., Page]
) -> None:
    page = opened(kind, PHONE)
    page.hashes()
    script = """
    const shape = (e) => { const r = e.getBoundingClientRect(); return [r.right, r.height]; };
    const all = document.querySelectorAll(`${arguments[0]} :is(button, label, canvas)`);
    return [...all].map(shape);
    """
    for right, height in page.chrome.execute_script(script, page.root):
        assert right <= PHONE and height >= 32


@pytest.mark.parametrize("kind", PAGES)
def test_sliders_and_pictures_answer_to_a_finger(
    kind: str, opened: Callable[..., Page], touch: None
) -> None:
    page = opened(kind, PHONE)
    if kind == "hero":
        tap(page.chrome, page.button("Pause"))
    for slider in page.chrome.find_elements(By.CSS_SELECTOR, f"{page.root} [type=range]"):
        before = slider.get_property("value")
        across = 0.25 if float(before) > float(slider.get_property("max")) / 2 else 0.75
        assert any(page.changes(lambda s=slider, a=across: tap(page.chrome, s, a)))
        assert slider.get_property("value") != before
    for canvas in page.chrome.find_elements(By.CSS_SELECTOR, f"{page.root} canvas[tabindex]"):
        before = page.readout()
        tap(page.chrome, canvas, 0.5 if kind == "connectivity" else 0.3)  # where its edges are
        page.settle()
        assert page.readout() != before


@pytest.mark.parametrize("kind", PAGES)
def test_every_control_and_picture_has_a_name(kind: str, opened: Callable[..., Page]) -> None:
    page = opened(kind)
    for element in page.chrome.find_elements(
        By.CSS_SELECTOR, f"{page.root} :is(input, select, button, canvas)"
    ):
        assert element.accessible_name.strip(), element.get_attribute("outerHTML")
