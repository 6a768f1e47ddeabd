"""A recording of one's own: every format, what is understood, and what is refused."""

import csv
import html
import json
import re
import zipfile
from datetime import UTC, datetime

import h5py
import networkx
import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
import zarr
from pynwb import NWBHDF5IO, TimeSeries
from pynwb.ophys import Fluorescence, ImageSegmentation, PlaneSegmentation, RoiResponseSeries
from pynwb.testing.mock.file import mock_NWBFile
from pynwb.testing.mock.ophys import mock_ImagingPlane

import figures_lib as fl
from figures_lib.__main__ import main
from figures_lib.errors import ConfigError
from figures_lib.learner import Inference
from figures_lib.recordings.files import READERS
from figures_lib.recordings.reading import open_file
from figures_lib.recordings.settings import FileSettings, load_analysis
from figures_lib.runs.learned import LearnedNetwork
from figures_lib.score.rollout import roll_out

RATE = FileSettings(sampling_rate=20.0)
TOTAL, COUNT = 60, 4


@pytest.fixture
def activity():
    return np.random.default_rng(0).normal(size=(TOTAL, COUNT)).astype(np.float32)


def npz(folder, **arrays):
    np.savez(folder / "r.npz", **arrays)
    return folder / "r.npz"


def table(activity, **more):
    columns = {f"cell {k}": activity[:, k] for k in range(COUNT)}
    return pyarrow.table({**more, **columns})


def test_every_format_gives_the_same_recording(tmp_path, activity):
    times = np.arange(TOTAL) / 20
    np.save(tmp_path / "r.npy", activity)
    pyarrow.csv.write_csv(table(activity, time=times), tmp_path / "r.csv")
    pyarrow.parquet.write_table(table(activity, time=times), tmp_path / "r.parquet")
    npz(tmp_path, activity=activity, sampling_rate=20)
    for suffix in (".h5", ".hdf5"):
        with h5py.File(tmp_path / f"r{suffix}", "w") as file:
            file["session/activity"] = activity
            file["movie"] = np.zeros((5, 3, 3))
            file.attrs["sampling_rate"] = 20.0
    group = zarr.open_group(tmp_path / "r.zarr", mode="w", attributes={"sampling_rate": 20.0})
    group.create_array("activity", data=activity)
    nwb(tmp_path, activity)
    assert {f"r{suffix}" for suffix in READERS} == {path.name for path in tmp_path.iterdir()}
    first = open_file(tmp_path / "r.npz", FileSettings())
    assert np.array_equal(first.recording.activity, activity[:-1])
    expected = np.diff(activity, axis=0) * 20
    assert np.allclose(first.recording.derivative, expected, rtol=1e-5)
    assert first.recording.time_step == 0.05 and first.names == ("0", "1", "2", "3")
    for suffix in READERS:
        settings = RATE if suffix == ".npy" else FileSettings()
        one = open_file(tmp_path / f"r{suffix}", settings)
        assert np.allclose(one.recording.activity, activity[:-1])
        assert np.allclose(one.recording.derivative, expected, atol=1e-3)
        if suffix in (".csv", ".parquet"):
            assert one.names == ("cell 0", "cell 1", "cell 2", "cell 3")


def nwb(folder, activity, **series):
    """Optical responses of four regions, drawn as masks in the corners of a plane."""
    now = datetime(2020, 1, 1, tzinfo=UTC)
    file = mock_NWBFile(session_start_time=now)
    plane = mock_ImagingPlane(nwbfile=file)
    regions = PlaneSegmentation(description="all", imaging_plane=plane, name="regions")
    for k in range(COUNT):
        regions.add_roi(pixel_mask=[(k, 2 * k, 1.0), (k + 2, 2 * k, 1.0)], id=10 + k)
    module = file.create_processing_module("ophys", "responses")
    module.add(ImageSegmentation(name="segmentation", plane_segmentations=[regions]))
    rois = regions.create_roi_table_region("all", region=list(range(COUNT)))
    about = {"name": "responses", "unit": "n.a.", "rate": 20.0} | series
    module.add(Fluorescence(RoiResponseSeries(data=activity, rois=rois, **about)))
    speed = TimeSeries(name="speed", data=np.zeros((TOTAL, 2)), unit="m/s", rate=20.0)
    file.add_acquisition(speed)
    with NWBHDF5IO(folder / "r.nwb", "w") as io:
        io.write(file)
    return folder / "r.nwb"


def test_regions_of_an_nwb_file_have_names_and_places(tmp_path, activity):
    path = nwb(tmp_path, activity, conversion=2.0)
    one = open_file(path, FileSettings())
    assert one.names == ("10", "11", "12", "13")
    assert np.allclose(one.recording.activity, 2 * activity[:-1])
    assert np.allclose(one.recording.positions, [(k + 1, 2 * k) for k in range(COUNT)])
    assert one.description[0].startswith("r.nwb: responses")
    with pytest.raises(ConfigError, match=r"0 time series .*it holds .*speed \(60, 2\)"):
        open_file(path, FileSettings(array="absent"))
    assert open_file(nwb(tmp_path, activity), FileSettings()).names == one.names


def test_a_zarr_of_pickles_is_not_read(tmp_path, activity):
    path = tmp_path / "r.zarr"
    zarr.create_array(path, data=activity, compressors=None, zarr_format=2)
    settings = json.loads((path / ".zarray").read_text())
    settings["compressor"] = {"id": "pickle", "protocol": 5}
    (path / ".zarray").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=r"r\.zarr: cannot be read .*pickle"):
        open_file(path, RATE)


def test_no_difference_crosses_a_gap(tmp_path, activity):
    """Gaps are those of the time stamps, between sessions, and where a sample is missing."""
    times = np.arange(TOTAL) / 20
    times[30:] += 1
    activity[10, 2] = np.nan
    session = np.repeat([7, 3], [45, 15])
    path = npz(tmp_path, activity=activity, times=times, session=session)
    opened = open_file(path, FileSettings())
    lost = {9, 10, 29, 44, 59}
    assert {*range(TOTAL)} - {*opened.frames.tolist()} == lost
    assert opened.recording.time_step == pytest.approx(0.05)
    expected = (activity[1:] - activity[:-1])[opened.frames] * 20
    assert np.allclose(opened.recording.derivative, expected, rtol=1e-4)
    text = "\n".join(opened.description)
    assert "sessions: 2; gaps: 3; frames used: 55 of 60" in text
    assert "missing samples: 1 (2)" in text


def test_a_derivative_of_the_file_needs_no_differences(tmp_path, activity):
    path = npz(tmp_path, activity=activity, derivative=2 * activity, sampling_rate=20)
    opened = open_file(path, FileSettings())
    assert np.array_equal(opened.recording.derivative, 2 * activity)
    assert len(opened.frames) == TOTAL


def test_rows_may_be_neurons(tmp_path, activity):
    path = npz(tmp_path, activity=activity.T, derivative=activity.T)
    settings = RATE.model_copy(update={"layout": "neuron_by_time"})
    assert np.array_equal(open_file(path, settings).recording.activity, activity)


def test_positions_of_modulated_neurons_fill_a_square(tmp_path, activity):
    positions = np.array([[10, 5], [30, 5], [20, 15], [99, 99]])
    path = npz(
        tmp_path,
        activity=activity,
        sampling_rate=20,
        positions=positions,
        modulated=[True, True, True, False],
        gain=[10, 10, 10, 10],
    )
    recording = open_file(path, FileSettings()).recording
    assert recording.positions[:3].tolist() == [[0, 0], [1, 0], [0.5, 0.5]]
    assert recording.modulated.tolist() == [True, True, True, False]
    assert recording.gain.tolist() == [10] * 4


def test_silent_and_equal_neurons_are_named(tmp_path, activity):
    activity[:, 1], activity[:, 3] = 2.0, activity[:, 0]
    names = np.array(["a", "b", "c", "d"])
    path = npz(tmp_path, activity=activity, sampling_rate=20, names=names)
    text = open_file(path, FileSettings()).description
    assert "neurons that never change: 1 (b)" in text
    assert "neurons with equal activity: a = d" in text


GOOD = {"sampling_rate": 20}
WRONG = {
    "no rate": ({"sampling_rate": None}, "no sampling rate"),
    "rate of zero": ({"sampling_rate": 0}, "no positive number"),
    "text as rate": ({"sampling_rate": "fast"}, "no positive number"),
    "transposed": (lambda a: {"activity": a.T}, "recording.layout=neuron_by_time"),
    "one neuron's trace": (lambda a: {"activity": a[:, 0]}, "give time × neuron"),
    "an image stack": (lambda a: {"activity": a[None]}, "give time × neuron"),
    "no neurons": (lambda a: {"activity": a[:, :0]}, "no neurons"),
    "text": (lambda a: {"activity": a.astype(str)}, "give real numbers"),
    "complex": (lambda a: {"activity": a + 1j}, "complex"),
    "infinite": (lambda a: {"activity": np.where(a > 2, np.inf, a)}, "at frame"),
    "constant": (lambda a: {"activity": np.ones_like(a)}, "ever changes"),
    "all missing": (lambda a: {"activity": np.full_like(a, np.nan)}, "only 0 of 60 frames"),
    "half missing": (
        lambda a: {"activity": np.where(np.arange(TOTAL)[:, None] % 2, a, np.nan)},
        "of 60 frames",
    ),
    "sessions of a frame": (lambda a: {"session": np.arange(TOTAL)}, "give longer sessions"),
    "few frames": (lambda a: {"activity": a[:10]}, "at least 20"),
    "another derivative": (lambda a: {"derivative": a[:-1]}, "one value for each"),
    "uneven times": (
        lambda a: {"times": np.sort(np.random.default_rng(1).random(TOTAL))},
        "resample",
    ),
    "times that fall": (lambda a: {"times": -np.arange(TOTAL) / 20}, "do not rise"),
    "too few times": (lambda a: {"times": np.arange(3)}, "one for each of 60 frames"),
    "another rate": (lambda a: {"times": np.arange(TOTAL) / 30}, "correct one of them"),
    "mixed sessions": (lambda a: {"session": np.arange(TOTAL) % 2}, "not consecutive"),
    "three names": (lambda a: {"names": ["a", "b", "c"]}, "3 different ones"),
    "equal names": (lambda a: {"names": ["a"] * 4}, "1 different ones"),
    "positions in space": (lambda a: {"positions": np.zeros((4, 3))}, "(x, y) for 4"),
    "modulated by half": (lambda a: {"modulated": np.full(4, 0.5)}, "write 0 or 1"),
    "modulated nowhere": (lambda a: {"modulated": np.ones(4)}, "no positions"),
    "modulated with gaps": (
        lambda a: {
            "modulated": np.ones(4),
            "positions": np.eye(4)[:, :2],
            "session": np.repeat([0, 1], 30),
        },
        "across gaps",
    ),
    "no gain": (lambda a: {"gain": np.zeros(4)}, "different from 0"),
    "a tiny unit": (lambda a: {"activity": 1e-6 * a}, "choose a unit in which"),
    "a baseline": (lambda a: {"activity": a + 1e4}, "subtract the baseline"),
    "an empty name": (lambda a: {"names": ["a", "b", "", "d"]}, "one is empty"),
    "a name that beeps": (lambda a: {"names": ["a", "b", "c\x07", "d"]}, "cannot be printed"),
    "two tables": (lambda a: {"activity": None, "b": a, "c": a}, "2 tables"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, activity, capsys, what):
    change, expected = WRONG[what]
    arrays = {"activity": activity, **GOOD}
    arrays |= change if isinstance(change, dict) else change(activity)
    path = npz(tmp_path, **{key: value for key, value in arrays.items() if value is not None})
    assert main(["infer", "--recording", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert expected in error and "r.npz" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def damaged(name, content):
    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


def pickled(folder):
    np.save(folder / "p.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    return folder / "p.npy"


def encrypted(folder):
    path = npz(folder, activity=np.zeros((30, 2)))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.infolist()[0].header_offset
    data[start + 6] |= 1  # the flag of an encrypted member, there and in the directory
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (damaged("r.npz", b"PK\x03\x04 no archive"), "cannot be read"),
        (damaged("r.npy", b"\x93NUMPY\x01\x00\xff\xff{"), "cannot be read"),
        (damaged("r.parquet", b"PAR1"), "cannot be read"),
        (damaged("r.h5", b"\x89HDF\r\n\x1a\n no"), "cannot be read"),
        (damaged("r.nwb", b"no"), "cannot be read"),
        (damaged("r.zarr", b"no"), "cannot be read"),
        (damaged("r.csv", b"a,b\n1,2\n3\n"), "cannot be read"),
        (damaged("r.csv", b"a,b\n1,2\n3,x\n"), "column 'b' holds string such as '2'"),
        (damaged("r.csv", b"a,a\n1,2\n3,4\n"), "same name"),
        (damaged("r.csv", b"time\n1\n2\n"), "no neurons"),
        (damaged("r.csv", b"0.5,1.5\n1,2\n3,4\n"), "the heading is numbers, such as '0.5'"),
        (damaged("r.csv", b",a\n0,5\n1,2\n2,7\n3,1\n"), "column '' rises by the same"),
        (damaged("r.csv", b"t (s),a\n0,5\n.5,2\n1,7\n1.5,1\n"), "call it `time`"),
        (damaged("r.xlsx", b"PK"), "unknown format; give a file of .npy, .npz"),
        (lambda folder: folder / "absent.npz", "no such file"),
        (pickled, "cannot be read"),
        (encrypted, "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, capsys, make, expected):
    path = make(tmp_path)
    assert main(["infer", "--describe", str(path), "-p", "recording.sampling_rate=2"]) == 2
    error = capsys.readouterr().err
    assert expected in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--out", "x"], "--config: required, unless --recording"),
        (["--recording", "r.npz"], "--out: required"),
        (["--describe", "r.npz", "-p", "recording.rate=1"], "recording.rate: unknown key"),
        (["--describe", "r.npz", "-p", "simulation.neurons=9"], "simulation: unknown key"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(capsys, arguments, expected):
    assert main(["infer", *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error and len(error.splitlines()) == 1


def test_a_file_is_described_before_anything_is_computed(tmp_path, activity, capsys):
    path = npz(tmp_path, activity=activity, sampling_rate=20)
    assert main(["infer", "--describe", str(path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "r.npz: activity, 60 frames of 4 neurons"
    assert said[1] == "names: 0, 1, 2, 3"
    assert said[2] == "sampling rate: 20 frames per time unit; 3 time units"
    assert list(tmp_path.iterdir()) == [path]


def test_settings_of_a_file_of_settings_are_read(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("recording: {array: spikes}\ninference: {types: one}\n")
    analysis = load_analysis(path, {"recording.sampling_rate": 3.0})
    assert analysis.recording.array == "spikes" and analysis.recording.sampling_rate == 3
    assert analysis.learner.inference.types == "one"
    with pytest.raises(ConfigError, match=r"own.yaml: recording.layout: .* \(found 'rows'\)"):
        load_analysis(path, {"recording.layout": "rows"})


def test_weights_are_inferred_once_and_written_with_the_names(tmp_path, small, capsys):
    """The simulated recording, given as a file, leads to the same weights."""
    names = [f"cell {k}" for k in range(40)]
    arrays = {"activity": small.recording.activity, "derivative": small.recording.derivative}
    arrays |= {
        name: getattr(small.recording, name) for name in ("positions", "modulated", "gain")
    }
    path = npz(tmp_path, names=names, sampling_rate=100, **arrays)
    learner = small.experiment.learner
    sections = ("inference", "graph_network", "field_network", "training")
    settings = {name: getattr(learner, name).model_dump() for name in sections}
    del settings["inference"]["errors"]  # by default they are found
    out = tmp_path / "out"
    own = fl.open_recording(path, out, overrides={**settings, "seed": learner.seed})
    reports = []
    model = own.results(reports.append)
    expected = small.model.gnn.connectivity.detach()
    assert np.allclose(model.gnn.connectivity.detach(), expected, atol=1e-4)
    with (out / "connectivity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40 * 39
    assert list(rows[0]) == ["from", "to", "weight", "error", "q"]
    assert (rows[0]["from"], rows[0]["to"]) == ("cell 1", "cell 0")
    assert float(rows[0]["weight"]) == pytest.approx(float(expected[0, 1]), abs=1e-4)
    assert float(rows[0]["error"]) == pytest.approx(float(model.errors.standard[0, 1]))
    columns = pyarrow.parquet.read_table(out / "connectivity.parquet").to_pydict()
    assert columns["from"] == [row["from"] for row in rows]
    found = [row for row in rows if float(row["q"]) <= 0.05]
    graph = networkx.read_graphml(out / "connections.graphml")
    assert graph.number_of_edges() == len(found) > 0 and "cell 39" in graph
    one = graph.edges[found[0]["from"], found[0]["to"]]
    assert one["weight"] == pytest.approx(float(found[0]["weight"]), rel=1e-5)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["types.n_found"] == 2 and metrics["profile"] == "own"
    assert not {"connectivity.r2", "types.accuracy", "external_input.r2"} & metrics.keys()
    about = json.loads((out / "provenance.json").read_text())
    assert about["recording"] == "r.npz" and str(tmp_path) not in json.dumps(about)
    assert metrics["edges.found"] == len(found)
    assert 0 <= metrics["errors.false_positives"] < 0.2
    assert metrics["prediction.model.derivative_r2"] == metrics["diagnosis.heldout_r2"]
    count = len(reports)
    again = own.results(reports.append)
    assert len(reports) == count  # nothing was computed again
    assert torch.equal(again.errors.standard, model.errors.standard)
    network = fl.load_model(out)
    assert torch.equal(network.model.gnn.connectivity, model.gnn.connectivity)
    assert network.names == tuple(names) and network.time_step == pytest.approx(0.01)
    report = fl.write_report(own, again).read_text()
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", report)
    assert "cell 1" in report and all(html.escape(r) in report for r in model.diagnosis.reasons)


def test_a_name_in_the_report_is_text(tmp_path, small):
    names = [f"<b>{k}</b>" for k in range(40)]
    arrays = {"activity": small.recording.activity, "derivative": small.recording.derivative}
    own = fl.open_recording(npz(tmp_path, names=names, sampling_rate=100, **arrays), tmp_path)
    report = fl.write_report(own, small.model).read_text()
    assert "&lt;b&gt;" in report and "<b>" not in report
    assert "not known" in report  # the errors of this model


def test_differences_are_inferred_from_every_frame(tmp_path, activity):
    """They are mostly noise; a derivative of the file is read like that of a simulation."""
    alone = fl.open_recording(npz(tmp_path, activity=activity, sampling_rate=20))
    frames = len(alone.opened.recording.activity)
    assert alone.learner.inference.frames_per_neuron * COUNT >= frames
    assert alone.learner.inference.errors
    few = {"inference.frames_per_neuron": 2.0, "inference.errors": False}
    asked = fl.open_recording(tmp_path / "r.npz", overrides=few).learner.inference
    assert asked.frames_per_neuron == 2 and not asked.errors
    given = fl.open_recording(
        npz(tmp_path, activity=activity, derivative=activity, sampling_rate=20)
    )
    assert given.learner.inference.frames_per_neuron == Inference().frames_per_neuron


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("all", [1, 1, 1, 1]), ("none", [0, 0, 0, 0]), (["2", "0"], [1, 0, 1, 0])],
)
def test_modulated_neurons_are_named_by_a_setting(tmp_path, activity, chosen, expected):
    path = npz(tmp_path, activity=activity, positions=np.eye(4)[:, :2], modulated=[1, 0, 0, 0])
    settings = RATE.model_copy(update={"modulated": chosen})
    assert open_file(path, settings).recording.modulated.tolist() == [bool(x) for x in expected]


def test_a_modulated_neuron_that_is_not_there_is_refused(tmp_path, activity):
    settings = RATE.model_copy(update={"modulated": ["cell 9"]})
    with pytest.raises(
        ConfigError, match="no neuron is called cell 9; the names begin 0, 1, 2"
    ):
        open_file(npz(tmp_path, activity=activity), settings)


def test_connections_are_cut_and_neurons_silenced(small, tmp_path):
    names = tuple(f"cell {k}" for k in range(40))
    network = LearnedNetwork.of(small.model, small.recording, names)
    start = small.recording.activity[100]
    whole = network.roll_out(start, 50, first=100)
    assert whole.shape == (50, 40) and torch.equal(whole[0], start)
    expected = roll_out(
        *(small.model, small.recording.gain, start[None], torch.tensor([100]), 50),
        small.recording.time_step,
    )
    assert torch.equal(whole, expected[:, 0])
    cut = network.cut([("cell 1", "cell 0")])
    changed = cut.model.gnn.connectivity != small.model.gnn.connectivity
    assert changed.nonzero().tolist() == [[0, 1]]
    moved = (cut.roll_out(start, 2, first=100) != whole[:2]).nonzero()
    assert moved.tolist() == [[1, 0]]  # only the receiver, at the next frame
    silent = network.silence(["cell 1"])
    assert not silent.model.gnn.connectivity[:, 1].any()
    assert silent.model.gnn.connectivity[1].any()
    with pytest.raises(ConfigError, match="no neuron is called nobody"):
        network.silence(["nobody"])
    with pytest.raises(ConfigError, match="give the activity of 40 neurons"):
        network.roll_out(start[:3], 5)
    with pytest.raises(ConfigError, match="no model; write one with figures_lib infer"):
        fl.load_model(tmp_path)


def linear_network(weights, frames, step, every=1, sensor=0.0):
    """dx/dt = −x + W·tanh x + noise, recorded at some frames by a sensor that adds noise."""
    generator, x, seen = np.random.default_rng(5), np.zeros(len(weights)), []
    for _ in range(frames * every):
        seen.append(x)
        drift = -x + weights @ np.tanh(x)
        x = x + step * drift + step**0.5 * 0.5 * generator.normal(size=len(x))
    return np.array(seen[::every]) + sensor * generator.normal(size=(frames, len(x)))


SPOILT = {
    "no connections": ({"none": True}, "the connections explain nothing", False),
    "noise of the sensor": ({"sensor": 0.2}, "the sensor adds noise to the activity", True),
    "coarse sampling": ({"every": 10}, "% of their activity by themselves", True),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_spoils_differences_is_noticed(tmp_path, what):
    """Weights from these are wrong, though halves of the recording agree on them."""
    how, expected, tested = SPOILT[what]
    generator = np.random.default_rng(8)
    weights = 1.2 * generator.normal(size=(6, 6)) * (generator.random((6, 6)) < 0.4)
    np.fill_diagonal(weights, 0)
    if how.pop("none", False):
        weights[:] = 0
    activity = linear_network(weights, 12_000, 0.1, **how)
    rate = 10 / how.get("every", 1)
    small = {"graph_network.steps": 30, "inference.shared_sweeps": 5}
    path = npz(tmp_path, activity=activity.astype(np.float32), sampling_rate=rate)
    own = fl.open_recording(path, tmp_path / "out", overrides=small)
    model = own.results()
    assert any(expected in reason for reason in model.diagnosis.reasons)
    tests = pyarrow.parquet.read_table(tmp_path / "out" / "connectivity.parquet")["q"]
    assert (tests.null_count == 0) == tested
    report = fl.write_report(own, model).read_text()
    said = "provided that the model is right" if tested else "all together they explain nothing"
    assert said in report


def test_senders_that_cannot_be_told_apart_have_no_errors(tmp_path):
    """They are called by their names."""
    activity = linear_network(np.eye(5, k=1), 4000, 0.1).astype(np.float32)
    activity[:, 4] = activity[:, 2]
    path = npz(tmp_path, activity=activity, sampling_rate=10, names=["p", "q", "r", "s", "t"])
    own = fl.open_recording(path, tmp_path / "out", overrides={"graph_network.steps": 30})
    model = own.results()
    assert "the activities of neurons r, t are not independent" in model.diagnosis.reasons
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "connectivity.parquet").to_pylist()
    unknown = {row["from"] for row in rows if row["error"] is None}
    assert unknown == {"r", "t"}
    assert all(row["q"] is None for row in rows if row["error"] is None)


def test_neurons_that_are_nearly_the_same_are_named(tmp_path):
    """Their weights scatter widely, which a longer recording would hardly help."""
    activity = linear_network(np.eye(5, k=1), 4000, 0.1)
    noise = np.random.default_rng(1).normal(size=len(activity))
    activity[:, 4] = activity[:, 2] + 1e-3 * noise
    path = npz(tmp_path, activity=activity.astype(np.float32), sampling_rate=10)
    own = fl.open_recording(path, tmp_path / "out", overrides={"graph_network.steps": 30})
    reasons = "; ".join(own.results().diagnosis.reasons)
    assert "the activities of neurons 2, 4 are nearly the same" in reasons
