"""Fields, positions, connectivity and recording: input and output of a simulation."""

import subprocess
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
import scipy.sparse
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from figures_lib.config import Connectivity, ExternalInput
from figures_lib.errors import ConfigError
from figures_lib.recording import Recording
from figures_lib.simulate.movie import field_on_grid, image_index, images_from_grid, load_movie
from figures_lib.simulate.movie_file import read_movie
from figures_lib.simulate.network import draw_connectivity, neuron_positions
from figures_lib.simulate.truth import Truth
from figures_lib.weights import cauchy


@pytest.mark.parametrize("side", [1, 4, 16, 32])
def test_procedural_movie(side):
    movie = load_movie(ExternalInput(images=9), side, seed=0)
    assert movie.shape == (9, side, side)
    assert movie.dtype == torch.float32
    if side > 1:
        assert movie.min() == pytest.approx(0.5)
        assert movie.max() == pytest.approx(1.5)
        assert (movie[4] - movie[0]).abs().max() > 0.05


def test_the_animal_is_dark_and_moves():
    movie = load_movie(ExternalInput(), 32, seed=0)
    dark = movie < 0.8
    columns = torch.arange(32).float()
    centres = [
        (dark[k].float().sum(0) @ columns / dark[k].sum()).item() for k in (90, 128, 160)
    ]
    assert centres[0] < centres[1] < centres[2]


def test_grid_field_matches_positions():
    """A bright pixel in the upper left corner sits at small x and large y."""
    movie = torch.zeros(1, 4, 4)
    movie[0, 0, 0] = 1
    bright = int(field_on_grid(movie)[0].argmax())
    x, y = neuron_positions(16, 20)[bright].tolist()
    assert (x, y) == (0.125, 0.875)


def test_field_is_the_published_rotation():
    movie = torch.rand(3, 5, 5)
    expected = np.stack([np.rot90(image, 3).reshape(-1) for image in movie.numpy()])
    assert np.array_equal(field_on_grid(movie).numpy(), expected)


@given(st.integers(1, 9), st.integers(1, 4))
def test_images_from_grid_inverts(side, images):
    movie = torch.rand(images, side, side)
    assert torch.equal(images_from_grid(field_on_grid(movie)), movie)


def test_image_index_is_the_published_one():
    index = image_index(torch.arange(50_000), 50_000, 257)
    assert index[0] == 0
    assert index[-1] == 255
    assert index[196] == 1
    assert torch.equal(index, torch.tensor([int(256 * t / 50_000) for t in range(50_000)]))


def _sources(folder):
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16), dtype=np.uint8)
    floats = frames.astype(np.float32) / 255 + 0.5
    tifffile.imwrite(folder / "movie.tif", floats)
    np.save(folder / "movie.npy", floats)
    iio.imwrite(folder / "movie.gif", np.repeat(frames[..., None], 3, -1))
    iio.imwrite(
        folder / "movie.mp4", np.repeat(frames[..., None], 3, -1), plugin="FFMPEG", fps=5
    )
    (folder / "images").mkdir()
    for number, frame in enumerate(frames):
        iio.imwrite(folder / "images" / f"{number}.png", frame)
    return floats


@pytest.mark.parametrize("name", ["movie.tif", "movie.npy", "movie.gif", "movie.mp4", "images"])
def test_movie_files(tmp_path, name):
    floats = _sources(tmp_path)
    movie = load_movie(ExternalInput(source=str(tmp_path / name)), 16, seed=0)
    assert movie.shape[1:] == (16, 16)
    if name in ("movie.tif", "movie.npy"):
        assert np.array_equal(movie.numpy(), floats)
    else:
        assert len(movie) >= 4
        assert movie.min() == pytest.approx(0.5)
        assert movie.max() == pytest.approx(1.5)
    if name == "images":
        correlation = np.corrcoef(movie.numpy().ravel(), floats.ravel())[0, 1]
        assert correlation > 0.9999


def test_movie_is_averaged_over_area(tmp_path):
    np.save(tmp_path / "movie.npy", np.full((2, 64, 64), 0.7, np.float32))
    movie = load_movie(ExternalInput(source=str(tmp_path / "movie.npy")), 8, seed=0)
    assert torch.allclose(movie, torch.tensor(0.7), atol=1e-6)


def test_folder_is_sorted_by_number(tmp_path):
    for number in range(12):
        iio.imwrite(tmp_path / f"frame{number}.png", np.full((4, 4), number, np.uint8))
    movie = load_movie(ExternalInput(source=str(tmp_path)), 4, seed=0)
    assert (movie[:, 0, 0].diff() > 0).all()


def test_colour_is_averaged(tmp_path):
    colours = np.random.default_rng(0).uniform(0.5, 1.5, (3, 8, 8, 3)).astype(np.float32)
    np.save(tmp_path / "movie.npy", colours)
    movie = load_movie(ExternalInput(source=str(tmp_path / "movie.npy")), 8, seed=0)
    assert np.allclose(movie.numpy(), colours.mean(-1), atol=1e-6)


def test_tif_of_separate_pages(tmp_path):
    images = np.random.default_rng(0).uniform(0.5, 1.5, (5, 8, 8)).astype(np.float32)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for image in images:
            writer.write(image, compression="zlib")
    movie = load_movie(ExternalInput(source=str(tmp_path / "pages.tif")), 8, seed=0)
    assert np.array_equal(movie.numpy(), images)


@pytest.mark.parametrize(("suffix", "kept"), [("tif", 0.5), ("gif", 0.7), ("mp4", 0.5)])
def test_truncated_movie_is_refused(tmp_path, caplog, suffix, kept):
    images = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, images[..., 0], imagej=True)
    elif suffix == "gif":
        iio.imwrite(path, images)
    else:  # with its index in front, a cut video still decodes, only shorter
        index_first = ["-movflags", "+faststart"]
        iio.imwrite(path, images, plugin="FFMPEG", fps=5, output_params=index_first)
    content = path.read_bytes()
    assert load_movie(ExternalInput(source=str(path)), 8, seed=0).shape == (12, 8, 8)
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ConfigError, match=r"external_input\.source") as error:
        load_movie(ExternalInput(source=str(path)), 8, seed=0)
    assert "\n" not in str(error.value)
    assert not caplog.records


BAD_MOVIES = {
    "absent.tif": None,
    "empty.tif": b"",
    "cut.tif": b"II*\x00\x08\x00\x00",
    "noise.gif": b"GIF89a nonsense",
    "noise.mp4": b"nonsense",
    "words.npy": np.array([["a"]]),
    "flat.npy": np.ones((4, 4)),
    "nan.npy": np.full((2, 4, 4), np.nan),
    "negative.npy": np.full((2, 4, 4), -1.0),
    "one_negative.npy": np.where(np.arange(2 * 64 * 64).reshape(2, 64, 64) == 70, -0.1, 1.0),
    "complex.npy": np.ones((2, 4, 4), complex),
    "beyond_float32.npy": np.full((2, 4, 4), 1e300),
    "none.npy": np.ones((0, 4, 4)),
    "pickled.npy": np.array([{}], dtype=object),
    "movie.xyz": b"1",
}


@pytest.mark.parametrize("name", BAD_MOVIES)
def test_bad_movie_is_one_line(tmp_path, name):
    content = BAD_MOVIES[name]
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        np.save(tmp_path / name, content, allow_pickle=True)
    with pytest.raises(ConfigError, match=r"external_input\.source") as error:
        load_movie(ExternalInput(source=str(tmp_path / name)), 4, seed=0)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_huge_movie_header_is_refused(tmp_path):
    path = tmp_path / "huge.npy"
    header = np.lib.format
    with path.open("wb") as file:
        about = {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**10, 2**10)}
        header.write_array_header_1_0(file, about)
    with pytest.raises(ConfigError):
        load_movie(ExternalInput(source=str(path)), 4, seed=0)


def test_positions_on_grid_and_disc():
    positions = neuron_positions(9, 30)
    assert positions.shape == (30, 2)
    assert positions[:9].min() > 0
    assert positions[:9].max() < 1
    radius = (positions[9:] - torch.tensor([1.75, 0.5])).norm(dim=1)
    assert radius.max() <= 0.5
    distances = torch.cdist(positions, positions) + torch.eye(30)
    assert distances.min() > 0.05
    assert neuron_positions(0, 5).shape == neuron_positions(4, 5).shape == (5, 2)
    assert neuron_positions(4, 4).shape == (4, 2)


@pytest.mark.parametrize(
    ("neurons", "exponent"),
    [(100, 0.7), (2048, 0.675), (4000, 0.67), (8000, 0.66), (9000, 0.5)],
)
def test_published_exponents(neurons, exponent):
    assert cauchy.exponent(neurons) == exponent


def test_cauchy_connectivity():
    weights = draw_connectivity(Connectivity(), 600, torch.Generator().manual_seed(0))
    standard = weights * 600**0.7
    assert (weights.diagonal() == 0).all()
    assert standard.abs().max() <= 25
    off = standard[~torch.eye(600, dtype=bool)]
    beyond = 1 - 2 / np.pi * np.arctan(25)
    median = np.tan(np.pi / 4 * (1 - beyond))  # of the entries that are kept
    assert off[off != 0].abs().median() == pytest.approx(median, abs=0.01)
    assert (off == 0).float().mean() == pytest.approx(beyond, abs=0.003)


def test_gaussian_and_sparse_connectivity():
    settings = Connectivity(distribution="gaussian", density=0.2)
    weights = draw_connectivity(settings, 400, torch.Generator().manual_seed(0))
    kept = weights != 0
    assert kept.float().mean() == pytest.approx(0.2, abs=0.01)
    assert weights[kept].std() == pytest.approx(400**-0.5, rel=0.03)


def test_weights_by_dales_law():
    """Every sender has one sign; both signs send the same variance; one in five inhibits."""
    settings = Connectivity(distribution="dale")
    weights = draw_connectivity(settings, 500, torch.Generator().manual_seed(0))
    signs = weights.sign().sum(0)
    assert (signs.abs() == 499).all()  # the diagonal is zero
    assert (signs < 0).float().mean() == pytest.approx(0.2, abs=0.05)
    power = [weights[:, signs * sign > 0].square().sum() for sign in (1, -1)]
    assert float(power[0] / power[1]) == pytest.approx(1, abs=0.3)


def test_weights_of_low_rank():
    """Eight patterns, apart from the diagonal, and entries of unit variance over N."""
    settings = Connectivity(distribution="low_rank")
    weights = draw_connectivity(settings, 300, torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(weights.double())
    assert values[8] < 0.1 * values[7]
    assert float(weights.std()) == pytest.approx(300**-0.5, rel=0.1)


@pytest.mark.parametrize(
    "suffix",
    ["npy", "NPY", "npz", "named.npz", "sparse.npz", "safetensors", "named.safetensors"],
)
def test_connectivity_files(tmp_path, suffix):
    matrix = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    path = tmp_path / f"w.{suffix}"
    if suffix in ("npy", "NPY"):
        with path.open("wb") as file:  # given a name, NumPy appends another suffix
            np.save(file, matrix)
    elif suffix == "sparse.npz":
        matrix *= np.abs(matrix) > 1
        scipy.sparse.save_npz(path, scipy.sparse.csr_array(matrix))
    elif suffix == "npz":
        np.savez(path, w=matrix)
    elif suffix == "named.npz":  # beside it the names of the neurons, and where they are
        np.savez(path, names=np.array(list("abcdef")), W=matrix, where=np.ones((6, 2)))
    else:
        more = {"where": np.ones((6, 2))} if suffix.startswith("named") else {}
        save_file(more | {"w": matrix}, path)
    weights = draw_connectivity(Connectivity(source=str(path)), 6, torch.Generator())
    np.fill_diagonal(matrix, 0)
    assert np.array_equal(weights.numpy(), matrix)


def test_connectivity_in_fortran_order(tmp_path):
    """As ``np.save(W.T)`` writes it; all that follows needs rows that lie together."""
    matrix = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    np.save(tmp_path / "w.npy", matrix.T)
    source = Connectivity(source=str(tmp_path / "w.npy"))
    weights = draw_connectivity(source, 6, torch.Generator())
    np.fill_diagonal(matrix, 0)
    assert np.array_equal(weights.numpy(), matrix.T)
    assert weights.is_contiguous()


def test_of_several_arrays_one_alone_may_be_the_matrix(tmp_path):
    path = tmp_path / "w.npz"
    for arrays in ({"a": np.ones((6, 6)), "b": np.ones((6, 6))}, {"a": np.ones(6), "b": 1}):
        np.savez(path, **arrays)
        with pytest.raises(ConfigError, match=r"of its arrays are 6×6 \(it holds a \(6.*b \("):
            draw_connectivity(Connectivity(source=str(path)), 6, torch.Generator())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent.npy", None),
        ("small.npy", np.ones((3, 3))),
        ("nan.npy", np.full((6, 6), np.nan)),
        ("beyond_float32.npy", np.full((6, 6), 1e300)),
        ("words.npy", np.full((6, 6), "a")),
        ("complex.npy", np.ones((6, 6), complex)),
        ("broken.npz", b"PK"),
        ("another_size.npz", scipy.sparse.eye_array(5, format="csr")),
        ("damaged.npz", b"PK\x03\x04" + bytes(50)),
        ("broken.safetensors", b"123"),
        ("matrix.csv", b"1,2"),
    ],
)
def test_bad_connectivity_file_is_one_line(tmp_path, name, content):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif isinstance(content, scipy.sparse.sparray):
        scipy.sparse.save_npz(tmp_path / name, content)
    elif content is not None:
        np.save(tmp_path / name, content)
    with pytest.raises(ConfigError, match=r"connectivity\.source") as error:
        draw_connectivity(Connectivity(source=str(tmp_path / name)), 6, torch.Generator())
    assert "\n" not in str(error.value)


def test_recording_and_truth_survive_the_disk(tmp_path, simulated):
    recording, truth = simulated
    recording.save(tmp_path)
    truth.save(tmp_path)
    back, known = Recording.load(tmp_path), Truth.load(tmp_path)
    for name in ("activity", "derivative", "positions", "modulated", "gain"):
        assert torch.equal(getattr(back, name), getattr(recording, name)), name
    assert back.time_step == recording.time_step
    for name in ("connectivity", "types", "field"):
        assert torch.equal(getattr(known, name), getattr(truth, name)), name
    assert known.neuron_types == truth.neuron_types
    kept = back.activity[0, 0].item()
    back.activity[0, 0] += 1  # mapped copy-on-write: nothing reaches the file
    assert Recording.load(tmp_path).activity[0, 0].item() == kept
    assert not any(
        torch.equal(value, truth.connectivity)
        for value in vars(recording).values()
        if torch.is_tensor(value) and value.shape == truth.connectivity.shape
    )


def test_finite_differences_carry_the_noise_of_the_recording(experiment, simulated):
    """Their error is the noise of a step divided by Δt: white, σ/Δt per sample."""
    recording, _ = simulated
    change = recording.with_differences().derivative
    error = (change - recording.derivative)[:-1]
    expected = experiment.simulation.noise / experiment.simulation.time_step
    assert float(error.std()) == pytest.approx(expected, rel=0.01)
    assert change.shape == recording.derivative.shape
    assert torch.equal(change[-1], change[-2])  # the last frame has no successor


def grey(side=8):
    """Five images of noise, of more columns than rows."""
    shape = (5, side, side + 2)
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def _tiff(path, **about):
    def write(movie):
        tifffile.imwrite(path / "movie.tif", movie, **about)
        return path / "movie.tif"

    return write


TIFFS = {  # how an array of grey images is stored
    "pages": lambda m, p: _tiff(p)(m),
    "imagej": lambda m, p: _tiff(p, imagej=True)(m),
    "lzw": lambda m, p: _tiff(p, compression="lzw")(m),
    "interleaved": lambda m, p: _tiff(p, photometric="rgb")(np.repeat(m[..., None], 3, -1)),
    "planar": lambda m, p: _tiff(p, photometric="rgb", planarconfig="separate")(
        np.repeat(m[:, None], 3, 1)
    ),
    "with alpha": lambda m, p: _tiff(p, photometric="rgb", extrasamples=["unassalpha"])(
        np.concatenate([np.repeat(m[..., None], 3, -1), np.full_like(m, 9)[..., None]], -1)
    ),
    "time and channel": lambda m, p: _tiff(p, imagej=True, metadata={"axes": "TCYX"})(
        np.repeat(m[:, None], 3, 1)
    ),
    "white is zero": lambda m, p: _tiff(p, photometric="miniswhite")(255 - m),
    "turned": lambda m, p: _tiff(p, extratags=[(274, 3, 1, 6, True)])(
        m.swapaxes(1, 2)[:, ::-1]
    ),
    "palette of imagej": lambda m, p: _tiff(
        p, imagej=True, photometric="palette", colormap=np.zeros((3, 256), np.uint16)
    )(m),
    "colours without names": lambda m, p: _tiff(p, photometric="minisblack")(
        np.repeat(m[..., None], 3, -1)
    ),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_axes_of_a_tiff_are_read(tmp_path, kind):
    movie = grey()
    found = read_movie(TIFFS[kind](movie, tmp_path), "m")
    assert found.dtype == movie.dtype and np.array_equal(found, movie)


@pytest.mark.parametrize(
    ("name", "pixels", "about"),
    [
        ("a.tif", (64, 48, 3), {"photometric": "rgb"}),
        ("a.tif", (3, 64, 48), {"photometric": "rgb", "planarconfig": "separate"}),
        ("a.tif", (64, 48), {}),
        ("a.png", (64, 48, 3), {}),
        ("a.gif", (1, 64, 48), {}),
        ("a.npy", (64, 48, 3), {}),
        ("a.npy", (64, 48, 4), {}),
    ],
)
def test_a_lone_image_is_refused(tmp_path, name, pixels, about):
    image = np.random.default_rng(0).integers(0, 255, pixels).astype(np.uint8)
    write = {".tif": tifffile.imwrite, ".npy": np.save}.get(Path(name).suffix, iio.imwrite)
    write(tmp_path / name, image, **about)
    with pytest.raises(ConfigError, match="one image of shape .* put several into a folder"):
        read_movie(tmp_path / name, "m")


@pytest.mark.parametrize(("axes", "length"), [("TZYX", 4), ("TCYX", 2), ("TCYX", 5)])
def test_a_tiff_with_two_axes_of_images_is_refused(tmp_path, axes, length):
    stack = np.zeros((3, length, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": axes})
    said = f"axes T of length 3, {axes[1]} of length {length}; keep one"
    with pytest.raises(ConfigError, match=said):
        read_movie(tmp_path / "a.tif", "m")


def test_the_colours_of_a_palette_are_read_not_their_numbers(tmp_path):
    colours = np.arange(256, dtype=np.uint16)[::-1].repeat(3).reshape(256, 3).T * 257
    path = _tiff(tmp_path, photometric="palette", colormap=colours)(grey())
    assert np.array_equal(read_movie(path, "m"), (255 - grey().astype(int)) * 257)


@pytest.mark.parametrize(
    ("turned", "seen"),
    [
        (1, [[0, 1, 2], [3, 4, 5]]),
        (2, [[2, 1, 0], [5, 4, 3]]),
        (3, [[5, 4, 3], [2, 1, 0]]),
        (4, [[3, 4, 5], [0, 1, 2]]),
        (5, [[0, 3], [1, 4], [2, 5]]),
        (6, [[3, 0], [4, 1], [5, 2]]),
        (7, [[5, 2], [4, 1], [3, 0]]),
        (8, [[2, 5], [1, 4], [0, 3]]),
    ],
)
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_images_that_a_camera_stored_turned_are_upright(tmp_path, turned, seen, suffix):
    folder = tmp_path / "m"
    folder.mkdir()
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for number in range(2):
        path = folder / f"{number}.{suffix}"
        if suffix == "tif":
            tifffile.imwrite(path, image, extratags=[(274, 3, 1, turned, True)])
        else:
            about = Image.Exif()
            about[274] = turned
            Image.fromarray(image).save(path, exif=about)
    assert read_movie(folder, "m").tolist() == [seen, seen]


def test_movies_of_other_layouts_and_types(tmp_path):
    """Big-endian, in Fortran order, and of bits: what follows gets plain numbers."""
    for name, stored in {
        "big": grey().astype(">u2"),
        "fortran": np.asfortranarray(grey()),
        "bits": grey() > 100,
        "float": np.asfortranarray(grey().astype(">f8")),
    }.items():
        np.save(tmp_path / f"{name}.npy", stored)
        movie = read_movie(tmp_path / f"{name}.npy", "m")
        assert np.array_equal(movie, stored), name
        assert movie.flags.c_contiguous and torch.from_numpy(movie).shape == (5, 8, 10)


@pytest.mark.parametrize("suffix", ["mov", "avi", "mkv", "webm"])
def test_videos_in_other_containers(tmp_path, suffix):
    iio.imwrite(tmp_path / "a.mp4", grey(64)[..., :64], plugin="FFMPEG", fps=5)
    video = tmp_path / f"b.{suffix}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "a.mp4", video]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    assert read_movie(video, "m").shape == (5, 64, 64)


def test_a_video_on_its_side_is_upright(tmp_path):
    """As telephones store it; the images keep their order and number."""
    iio.imwrite(tmp_path / "a.mp4", grey(64)[..., :48], plugin="FFMPEG", fps=5)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90"]
    command += ["-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "b.mp4"]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    upright = read_movie(tmp_path / "b.mp4", "m").astype(int)
    lying = read_movie(tmp_path / "a.mp4", "m").astype(int)
    assert np.abs(upright - np.rot90(lying, 1, (1, 2))).mean() < 3


def _saved(folder, images, modes):
    """Images of one movie, saved in turn in several modes."""
    folder.mkdir()
    for number, image in enumerate(images):
        mode = modes[number % len(modes)]
        if mode == "I;16":
            picture = Image.fromarray(image.astype(np.uint16) * 257)
        elif mode == "RGBA on black":
            white = np.full((*image.shape, 3), 255, np.uint8)
            picture = Image.fromarray(np.dstack([white, image]))
        else:
            picture = Image.fromarray(image).convert(mode)
        picture.save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "modes",
    [("L",), ("RGB", "RGBA"), ("L", "LA", "P"), ("L", "RGBA on black")],
    ids=" ".join,
)
def test_images_of_several_modes_are_one_movie(tmp_path, modes):
    movie = grey()
    assert np.array_equal(read_movie(_saved(tmp_path / "m", movie, modes), "m"), movie)


def test_images_of_8_and_16_bits_are_on_one_scale(tmp_path):
    movie = grey()
    found = read_movie(_saved(tmp_path / "m", movie, ("L", "I;16")), "m")
    assert np.array_equal(found, movie.astype(int) * 257)


def test_images_that_do_not_fit_together_are_named(tmp_path):
    folder = _saved(tmp_path / "m", grey(), ("L",))
    Image.new("L", (3, 3)).save(folder / "9.png")
    with pytest.raises(ConfigError, match="9.png has the shape .* give all images one size"):
        read_movie(folder, "m")
    Image.fromarray(grey()[0].astype(np.float32)).save(folder / "9.tif")
    (folder / "9.png").unlink()
    with pytest.raises(ConfigError, match="types float32, uint8; store them as one type"):
        read_movie(folder, "m")


def test_a_transparent_gif_is_a_movie(tmp_path):
    images = [Image.fromarray(image).convert("P") for image in grey()]
    images[0].save(
        tmp_path / "a.gif", save_all=True, append_images=images[1:], transparency=0, disposal=2
    )
    assert read_movie(tmp_path / "a.gif", "m").shape == grey().shape


def test_equal_images_of_a_gif_count(tmp_path):
    """Pillow stores equal successive images once, for a longer time."""
    movie = grey()[[0, 1, 1, 1, 2, 2, 3]]
    images = [Image.fromarray(image) for image in movie]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=40)
    with Image.open(tmp_path / "a.gif") as stored:
        assert stored.n_frames == 4
    assert np.array_equal(read_movie(tmp_path / "a.gif", "m"), movie)


def test_a_tiff_of_several_sizes_is_refused(tmp_path):
    """A microscope may put a small picture in front of the movie."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for shape in ((4, 4), (5, 8, 8)):
            writer.write(np.ones(shape, np.uint8), photometric="minisblack")
    with pytest.raises(ConfigError, match="images of several sizes; give all of them one"):
        read_movie(tmp_path / "a.tif", "m")


def test_sound_may_last_longer_than_the_images(tmp_path):
    iio.imwrite(tmp_path / "a.mp4", grey(64)[..., :64], plugin="FFMPEG", fps=5)
    sound = ["-f", "lavfi", "-t", "10", "-i", "anullsrc", "-c:v", "copy"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "a.mp4"]
    subprocess.run([*command, *sound, tmp_path / "b.mp4"], stdin=subprocess.DEVNULL, check=True)
    assert len(read_movie(tmp_path / "b.mp4", "m")) == len(read_movie(tmp_path / "a.mp4", "m"))
