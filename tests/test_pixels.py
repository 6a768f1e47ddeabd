"""The pixels of the viewers against the arrays of the run, in the places of the figures."""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from scipy.spatial import cKDTree
from selenium.webdriver.common.keys import Keys
from viewer_pages import Page, written

import figures_lib as fl
from figures_lib.score.scoring import fit_line
from figures_lib.simulate.movie import load_movie

SIDE = 4  # of the grid in the configuration of the tests
Values = np.ndarray


def at_cells(picture: Values, side: int) -> Values:
    """The colour in the middle of every cell of a grid that fills a picture."""
    across, down = (
        ((np.arange(side) + 0.5) * length / side).astype(int)
        for length in (picture.shape[1], picture.shape[0])
    )
    return picture[down][:, across, :3]


def painted(values: Values, low: float, high: float, name: str = "gray") -> Values:
    """The colour of each value on a colour map of 256 colours."""
    levels = np.rint(255 * np.clip((values - low) / (high - low), 0, 1)).astype(int)
    return mpl.colormaps[name](levels, bytes=True)[..., :3].astype(int)


def panels(run: fl.Run, frame: int) -> tuple[Values, Values]:
    """True and learned field at a frame, as panels f and g of the figure show them."""
    frames = torch.tensor([frame])
    true, learned = run.simulate()[1].field_at(frames), run.infer().field(frames)
    figure = fl.figures.fields([frame], true, learned)
    shown = [ax.images[0] for ax in figure.axes[:2]]
    plt.close(figure)
    assert all(image.origin == "upper" for image in shown)
    return tuple(np.asarray(image.get_array()) for image in shown)


def off(picture: Values, wanted: Values) -> int:
    """The largest difference of a colour."""
    return int(np.abs(picture - wanted).max())


def elsewhere(values: Values) -> list[Values]:
    """A square array in its seven other orientations, mirrored and rotated."""
    turned = [np.rot90(one, k) for one in (values, values.T) for k in range(4)]
    return [one for one in turned if not np.array_equal(one, values)]


@pytest.fixture(params=[Keys.HOME, Keys.END], ids=["first", "last"])
def key(request: pytest.FixtureRequest) -> str:
    """The key that is pressed on the slider over time."""
    return request.param


def test_hero_has_the_true_movie_on_the_left_and_the_learned_one_on_the_right(
    opened: Callable[..., Page], run: fl.Run, key: str
) -> None:
    page = opened("hero")
    page.button("Pause").click()
    page.labelled("time").send_keys(key)
    about, arrays = written(run, "movie")
    true, learned = panels(run, int(arrays["frames"][0 if key == Keys.HOME else -1]))
    places = [box["x"] for box in page.boxes()]
    assert page.titles() == ["the hidden movie", "recovered from the activity"]
    assert places == sorted(places)
    wanted = [painted(values, about["low"], about["high"]) for values in (true, learned)]
    for index, colours in enumerate(wanted):
        found = at_cells(page.pixels(index), SIDE)
        assert off(found, colours) <= 3 < off(found, wanted[1 - index])


def test_movie_is_upright_as_in_the_figure(
    opened: Callable[..., Page], run: fl.Run, key: str
) -> None:
    page = opened("movie")
    page.labelled("time").send_keys(key)
    about, arrays = written(run, "movie")
    frame = int(arrays["frames"][0 if key == Keys.HOME else -1])
    true, learned = panels(run, frame)
    upright = load_movie(run.experiment.external_input, SIDE, run.experiment.seed)
    assert np.allclose(true, upright[0 if frame == 0 else -2])  # the last image has no frame
    grey = about["low"], about["high"], "gray"
    spread = -about["spread"], about["spread"], "RdBu_r"
    titles = ["true Ω", "learned Ω*", "difference Ω*−Ω"]
    assert page.titles()[:3] == titles
    for index, (values, scale) in enumerate(
        ((true, grey), (learned, grey), (learned - true, spread))
    ):
        found = at_cells(page.pixels(index), SIDE)
        tolerance = 3 if scale is grey else 6  # a step of a colour map is wider
        assert off(found, painted(values, *scale)) <= tolerance
        for other in elsewhere(values):
            assert off(found, painted(other, *scale)) > 2 * tolerance


def test_activity_is_painted_where_the_neurons_are(
    opened: Callable[..., Page], run: fl.Run
) -> None:
    page = opened("movie")
    page.labelled("time").send_keys(Keys.END)
    about, _ = written(run, "movie")
    recording = run.simulate()[0]
    picture = page.pixels(4)
    margin, length = 0.03, 2.25 + 2 * 0.03  # grid widths: y grows upwards, as in panel b
    places = recording.positions.numpy() * [1, -1] + [margin, 1 + margin]
    x, y = (places * picture.shape[1] / length).astype(int).T
    wanted = painted(recording.activity[-1].numpy(), -about["bound"], about["bound"], "RdBu_r")
    assert off(picture[y, x, :3], wanted) <= 12  # activity has 256 steps, too
    assert off(picture[-y, x, :3], wanted) > 100


@pytest.mark.parametrize(("sender", "receiver"), [(0, 1), (1, 0)])
def test_connectivity_shows_the_edges_from_one_type_to_another(
    opened: Callable[..., Page], run: fl.Run, sender: int, receiver: int
) -> None:
    page = opened("connectivity")
    page.labelled("from (sender j)").send_keys(f"type {sender + 1}")
    page.labelled("to (receiver i)").send_keys(f"type {receiver + 1}")
    about, arrays = written(run, "connectivity")
    types, picture = run.simulate()[1].types, page.pixels(0)
    (height, width), bound = picture.shape[:2], about["bound"]
    box = np.array([width - 76, height - 44])  # of the axes, whose middle is the origin
    origin = np.array([(52 + width - 24) / 2, (8 + height - 36) / 2])
    places = np.stack([arrays["truth"], -arrays["learned"]], 1) * box / (2 * bound) + origin
    ends = [arrays["types"][arrays[end]] for end in ("sender", "receiver")]
    chosen = (ends[0] == sender) & (ends[1] == receiver)
    turned = (ends[0] == receiver) & (ends[1] == sender)
    nearest = cKDTree(places[chosen]).query(places[turned])[0]

    def tinted(where: Values, kind: int) -> Values:
        """Whether places have the colour of a type."""
        colour = np.array(mpl.colors.to_rgb(about["colours"][kind])) * 255
        x, y = where.astype(int).T
        return np.abs(picture[y, x, :3] - colour).max(1) < 50

    assert tinted(places[chosen], sender).mean() > 0.95  # the mark and the axes cover some
    alone = places[turned][nearest > 4]
    assert len(alone) > 5 and not any(tinted(alone, kind).any() for kind in (0, 1))
    scores = run.score()
    block = (types == receiver).nonzero(), (types == sender).nonzero()[:, 0]
    r2, slope = fit_line(scores.connectivity_true[block], scores.connectivity_learned[block])
    assert f"R² = {r2:.{4 if r2 < 0.9999 else 6}f}, slope {slope:.3f}" in page.readout()


def test_field_network_paints_itself_at_four_times_the_resolution(
    opened: Callable[..., Page], run: fl.Run
) -> None:
    page = opened("siren")
    about, _ = written(run, "siren")
    page.labelled("time").send_keys(Keys.END)
    page.settle()
    time = 1 - 1 / run.experiment.simulation.frames  # of the last frame
    network = run.infer().siren.double()
    for index, side in enumerate((SIDE, 4 * SIDE)):
        picture = page.pixels(index)
        centres = (torch.arange(side).double() + 0.5) / side
        x, y = torch.meshgrid(centres, centres.flip(0), indexing="xy")  # y upwards
        points = torch.stack([x, y, torch.full_like(x, time)], -1).flatten(0, 1)
        with torch.no_grad():
            values = network(points).unflatten(0, (side, side)).numpy()
        wanted = painted(values, about["low"], about["high"])
        assert off(at_cells(picture, side), wanted) <= 1
        for other in elsewhere(values):
            assert off(at_cells(picture, side), painted(other, about["low"], about["high"])) > 3
        whole = np.arange(picture.shape[0]) * side // picture.shape[0]
        same = (picture[..., :3] == at_cells(picture, side)[whole][:, whole]).all(-1)
        assert same.mean() > 0.93  # all but the ring and the seams of the cells
        assert len(np.unique(at_cells(picture, side).reshape(-1, 3), axis=0)) > side**2 / 4
