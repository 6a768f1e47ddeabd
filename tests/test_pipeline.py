"""The staged cache: nothing is computed twice, stale or incomplete."""

import errno
import inspect
import json
import re
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import imageio.v3 as iio
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT, TEST_CONFIG
from kills import TINY as FAST

from figures_lib import paths
from figures_lib.draw.dark import darkened
from figures_lib.draw.saving import save_figure
from figures_lib.draw.style import style
from figures_lib.errors import ConfigError, StorageError
from figures_lib.runs import files, keys, stages
from figures_lib.runs import run as run_module
from figures_lib.runs.run import open_run
from figures_lib.show import viewers

METRIC_KEYS = {
    *("connectivity.r2", "connectivity.slope", "connectivity.r2_gauge_free"),
    *("external_input.r2", "external_input.r2_gauge_free", "types.accuracy", "types.n_found"),
    "external_input.windows",
    *("phi.max_error", "psi.max_error", "rollout.r2", "rollout.horizon_frames", "loss.final"),
    *("time.simulate_s", "time.infer_s", "time.total_s", "memory.peak_bytes", "device"),
    *("profile", "seed", "config_hash", "identifiability.rank", "identifiability.reasons"),
    *("identifiability.unresolved_neurons", "inference.method", "diagnosis.trusted"),
    *("diagnosis.reasons", "diagnosis.heldout_r2", "diagnosis.structure"),
    *("diagnosis.heldout_r2_tables", "diagnosis.saturated"),
    *("edges.found", "edges.precision", "edges.recall", "edges.signs"),
    *("excitation.r2", "inhibition.r2"),
    *("spectrum.radius", "spectrum.radius_true", "spectrum.alignment"),
    *("diagnosis.halves_r2", "diagnosis.entanglement", "diagnosis.expected_r2"),
    *("diagnosis.connected", "diagnosis.opposed"),
}


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, to be continued."""
    shutil.copytree(finished.out, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture
def known(finished, monkeypatch):
    """What inference and scores return is known: only which of them are asked for counts."""
    model, scores = finished.infer(), finished.score()
    monkeypatch.setattr(run_module, "infer", lambda *_: model)
    monkeypatch.setattr(run_module, "score", lambda *_: scores)


@pytest.fixture
def computed(monkeypatch):
    """The stages that were computed, in order."""
    calls = []
    verbs = {"simulate_to_disk": "simulate", "infer": "infer", "score": "score"}
    for name, stage in verbs.items():
        real = getattr(run_module, name)

        def spy(*args, _real=real, _stage=stage, **kwargs):
            calls.append(_stage)
            return _real(*args, **kwargs)

        monkeypatch.setattr(run_module, name, spy)
    return calls


def test_nothing_is_computed_twice(tmp_path, computed):
    first = open_run(TEST_CONFIG, tmp_path, FAST).score().metrics
    assert computed == ["simulate", "infer", "score"]
    again = open_run(TEST_CONFIG, tmp_path, FAST).score().metrics
    assert computed == ["simulate", "infer", "score"]
    assert again == first
    open_run(TEST_CONFIG, tmp_path, FAST | {"profile": "other"}).score()
    assert computed == ["simulate", "infer", "score"]


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"simulation.noise": 0.9}, ["simulate", "infer", "score"]),
        ({"neuron_types.0.width": 1.5}, ["simulate", "infer", "score"]),
        ({"connectivity.density": 0.9}, ["simulate", "infer", "score"]),
        ({"external_input.images": 5}, ["simulate", "infer", "score"]),
        ({"seed": 1}, ["simulate", "infer", "score"]),
        ({"inference.window": 50}, ["infer", "score"]),
        ({"graph_network.steps": 8}, ["infer", "score"]),
        ({"field_network.steps": 6}, ["infer", "score"]),
    ],
    ids=str,
)
def test_a_change_recomputes_exactly_what_depends_on_it(
    copied, known, computed, change, stages
):
    open_run(TEST_CONFIG, copied, FAST | change).score()
    assert computed == stages
    computed.clear()
    open_run(TEST_CONFIG, copied, FAST).score()  # the first results still exist
    assert computed == []


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("simulate.integrate", ["simulate", "infer", "score"]),
        ("infer.fit_networks", ["infer", "score"]),
        ("infer.gauge", ["infer", "score"]),
        ("score.scoring", ["score"]),
        ("draw.figures", []),
    ],
)
def test_changed_code_recomputes_its_stage(
    copied, known, computed, monkeypatch, module, stages
):
    monkeypatch.setitem(keys.LOADED, f"figures_lib.{module}", "edited")
    keys.code_version.cache_clear()
    open_run(TEST_CONFIG, copied, FAST).score()
    monkeypatch.undo()
    keys.code_version.cache_clear()
    assert computed == stages


def test_the_content_of_the_movie_counts_and_not_its_name(tmp_path, computed):
    movie = tmp_path / "movie.npy"
    changes = FAST | {"external_input.source": str(movie)}
    np.save(movie, np.full((3, 2, 2), 1.0, np.float32))
    open_run(TEST_CONFIG, tmp_path / "out", changes).simulate()
    np.save(movie, np.full((3, 2, 2), 1.2, np.float32))
    _, truth = open_run(TEST_CONFIG, tmp_path / "out", changes).simulate()
    assert computed == ["simulate", "simulate"]
    assert torch.allclose(truth.field, torch.tensor(1.2))
    np.save(tmp_path / "renamed.npy", np.full((3, 2, 2), 1.2, np.float32))
    renamed = changes | {"external_input.source": str(tmp_path / "renamed.npy")}
    open_run(TEST_CONFIG, tmp_path / "out", renamed).simulate()
    assert computed == ["simulate", "simulate"]


def _images(folder, values):
    folder.mkdir()
    for number, value in values.items():
        iio.imwrite(folder / f"image_{number}.png", np.full((2, 2), value, np.uint8))
    return FAST | {"external_input.source": str(folder)}


def test_images_that_change_places_are_another_movie(tmp_path, computed):
    """The key covers the files in the order of reading: image 10 comes after image 2."""
    changes = _images(tmp_path / "movie", {1: 10, 2: 200, 10: 90})
    _, before = open_run(TEST_CONFIG, tmp_path / "out", changes).simulate()
    order = tmp_path / "movie" / "image_1.png", tmp_path / "movie" / "image_2.png"
    order[0].rename(tmp_path / "aside.png")
    order[1].rename(order[0])
    (tmp_path / "aside.png").rename(order[1])
    _, after = open_run(TEST_CONFIG, tmp_path / "out", changes).simulate()
    assert computed == ["simulate", "simulate"]
    assert torch.equal(after.field, before.field[[1, 0, 2]])


def test_files_that_are_not_read_do_not_count(tmp_path, computed):
    changes = _images(tmp_path / "movie", {1: 10, 2: 200})
    before = open_run(TEST_CONFIG, tmp_path / "out", changes)
    before.simulate()
    for name in (".DS_Store", "._image_1.png", "notes.txt"):
        (tmp_path / "movie" / name).write_bytes(b"Mac OS X")
    after = open_run(TEST_CONFIG, tmp_path / "out", changes)
    after.simulate()
    assert after.keys == before.keys
    assert computed == ["simulate"]


def test_an_interrupted_stage_is_computed_again(tmp_path, monkeypatch, computed):
    class Killed(BaseException):
        pass

    def dies(_recording, *_):
        raise Killed

    run = open_run(TEST_CONFIG, tmp_path, FAST)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "infer", dies)
        with pytest.raises(Killed):
            run.infer()
    finished = [folder for folder in (tmp_path / "stages").iterdir() if folder.name[0] != "."]
    assert [folder.name.split("-")[0] for folder in finished] == ["simulate"]
    computed.clear()
    run.infer()
    assert computed == ["infer"]
    assert not [f for f in (tmp_path / "stages").iterdir() if f.name[0] == "."]


def test_inference_receives_the_recording_only(tmp_path, monkeypatch):
    seen = {}
    real = run_module.infer

    def spy(recording, *others):
        seen["type"] = type(recording).__name__
        for truth in (tmp_path / "stages").glob("simulate-*/truth/*"):
            truth.write_bytes(b"")  # inference cannot read the truth now
        return real(recording, *others)

    monkeypatch.setattr(run_module, "infer", spy)
    run = open_run(TEST_CONFIG, tmp_path, FAST)
    monkeypatch.setattr(run_module.Run, "simulate", _without_truth(run_module.Run.simulate))
    run.infer()
    assert seen["type"] == "Recording"


def _without_truth(simulate):
    def wrapped(self, progress=None):
        try:
            return simulate(self, progress)
        except Exception:  # the emptied truth cannot be loaded any more
            return None, None

    return wrapped


def test_metrics_and_provenance(finished):
    run, metrics = finished, finished.metrics()
    optional = {key for key in metrics if key.startswith(("formulas.", "rollout.r2_"))}
    assert set(metrics) - optional == METRIC_KEYS
    assert {"formulas.update", "formulas.transfer_missed", "rollout.r2_400"} <= optional
    assert metrics["profile"] == "test"
    assert metrics["time.total_s"] >= metrics["time.simulate_s"] + metrics["time.infer_s"]
    assert metrics["memory.peak_bytes"] > 1e8
    assert json.loads((run.out / "metrics.json").read_text()) == metrics
    text = (run.out / "provenance.json").read_text()
    assert str(run.out) not in text
    assert str(run_module.ROOT) not in text
    provenance = json.loads(text)
    assert provenance["config_hash"] == metrics["config_hash"]
    assert provenance["packages"]["torch"] == torch.__version__
    assert set(provenance["stages"]) == {"simulate", "infer", "score"}


def test_without_a_movie_its_score_is_null(tmp_path):
    """JSON has no NaN."""
    run = open_run(TEST_CONFIG, tmp_path, FAST | {"simulation.input_neurons": 0})
    assert run.metrics()["external_input.r2"] is None

    def refuse(word):
        raise AssertionError(word)

    json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"overrides": 5}, "overrides: expected a mapping"),
        ({"overrides": "simulation.noise"}, "overrides: expected a mapping"),
        ({"overrides": "[1"}, "overrides: expected a mapping"),
        ({"overrides": {1: 2}}, "overrides: expected a mapping"),
        ({"overrides": {"seed": 10**5000}}, "seed: .*a number of thousands of digits"),
        ({"config": 3}, "config: expected a path"),
        ({"out": 3}, "out: expected a path"),
        ({"seed": "x"}, "seed: .*integer"),
    ],
)
def test_a_wrong_argument_is_one_line(tmp_path, arguments, expected):
    """The types are not enforced outside of the tests."""
    open_unchecked = inspect.unwrap(open_run)
    with pytest.raises(ConfigError, match=expected) as error:
        open_unchecked(**{"config": TEST_CONFIG, "out": tmp_path} | arguments)
    assert len(str(error.value).splitlines()) == 1


def test_overrides_may_be_text():
    """As ``papermill -p overrides '{simulation.noise: 0.5}'`` passes them."""
    run = open_run(TEST_CONFIG, None, "{simulation.noise: 0.5, seed: 3}")
    assert (run.experiment.simulation.noise, run.experiment.seed) == (0.5, 3)


@pytest.mark.parametrize("writer", ["json", "figure", "viewer"])
def test_what_fails_while_it_is_written_leaves_the_earlier_file(tmp_path, monkeypatch, writer):
    def fail(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run, number = open_run(TEST_CONFIG, tmp_path), count(1)  # something else every time
    write = {
        "json": lambda: files.write_json(tmp_path / "a.json", {"a": next(number)}),
        "figure": lambda: save_figure(run, plt.figure(figsize=(next(number), 1)), "a"),
        "viewer": lambda: viewers.write_data(run, "a", {}, {"a": next(number)}),
    }[writer]
    write()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert before
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StorageError, match="free some space"):
        write()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before


def test_progress_is_replayed_from_a_finished_inference(tmp_path):
    small = FAST | {"simulation.frames": 500}
    run, first, second = open_run(TEST_CONFIG, tmp_path, small), [], []
    run.infer(first.append)
    run.infer(second.append)
    assert [s.loss for s in first] == [s.loss for s in second]


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_cuda_on_a_machine_without_a_gpu(tmp_path):
    with pytest.raises(ConfigError, match="device"):
        open_run(TEST_CONFIG, tmp_path, {"device": "cuda"}).check()


def test_unfinished_stages_of_ended_processes_only_are_removed(tmp_path):
    run = open_run(TEST_CONFIG, tmp_path, FAST)
    stage = run.out / "stages" / f".simulate-{run.keys.simulate}"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with subprocess.Popen(["sleep", "600"]) as living:
        for process in (living, dead):
            Path(f"{stage}.{process.pid}.x").mkdir(parents=True)
        run.simulate()
        kept = [path.name for path in (run.out / "stages").glob(".*")]
        living.terminate()
    assert kept == [f"{stage.name}.{living.pid}.x"]


def test_unfinished_stages_of_another_machine_are_kept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owners = (files.owner(), f"{dead.pid}@elsewhere")
    mine, theirs = (tmp_path / f".a.{who}.json" for who in owners)
    for part in (mine, theirs):
        part.write_text("{")
    files.write_json(tmp_path / "a.json", {})
    assert theirs.exists() and not mine.exists()


def test_two_runs_that_finish_the_same_stage(tmp_path, monkeypatch):
    """The slower one uses the result of the faster one and leaves no files."""
    real = run_module.simulate_to_disk

    def slower(*args):
        with monkeypatch.context() as patch:
            patch.setattr(run_module, "simulate_to_disk", real)
            patch.setattr(stages, "abandoned", lambda part: False)
            open_run(TEST_CONFIG, tmp_path, FAST).simulate()
        return real(*args)

    monkeypatch.setattr(run_module, "simulate_to_disk", slower)
    run = open_run(TEST_CONFIG, tmp_path, FAST)
    recording, _ = run.simulate()
    assert recording.activity.shape == (1500, 24)
    assert [path.name for path in (tmp_path / "stages").iterdir()] == [
        f"simulate-{run.keys.simulate}"
    ]


def test_a_key_is_that_of_the_code_that_was_loaded(monkeypatch):
    """If a module is edited while a kernel runs, results keep the key of the old code."""
    keys.code_version.cache_clear()
    before = keys.code_version("score")
    keys.code_version.cache_clear()
    monkeypatch.setattr(keys, "file_digest", lambda path: "edited")
    assert keys.code_version("score") == before


@pytest.mark.parametrize("stage", keys.ENTRY)
def test_code_of_a_stage_is_everything_that_it_imports(stage):
    """Including imports in functions and from packages; here found in the text."""
    expected, entry = set(), keys.ENTRY[stage]
    waiting = {entry, entry.rpartition(".")[0]}
    while waiting:
        module = waiting.pop()
        expected.add(module)
        text = Path(ROOT, *module.split(".")).with_suffix(".py")
        text = text if text.exists() else text.with_suffix("") / "__init__.py"
        found = re.findall(
            r"^ *from (figures_lib[\w.]*) import (\([^)]*\)|.*)$", text.read_text(), re.M
        )
        for package, names in found:
            parts = {f"{package}.{name}" for name in re.findall(r"\w+", names)}
            parts |= {package, package.rpartition(".")[0]}
            waiting |= parts & keys.LOADED.keys() - expected - {"figures_lib"}
    assert keys.code_of(stage) == expected
    assert "figures_lib.infer.shards" in expected or stage in ("simulate", "read")


def test_keys_are_computed_once_per_run(finished, monkeypatch):
    """The input files are read for them once, not once for each stage."""
    asked = []
    real = run_module.keys_of
    monkeypatch.setattr(
        run_module, "keys_of", lambda *given: (asked.append(given), real(*given))[1]
    )
    run = open_run(TEST_CONFIG, finished.out, FAST)
    run.score()
    assert run.finished
    assert len(asked) == 1


def test_a_folder_of_results_is_found_from_anywhere(tmp_path, monkeypatch):
    """An executed notebook names it as seen from the root, and may be opened elsewhere."""
    for folder in ("repository/runs/mine", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(paths, "ROOT", tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "elsewhere")
    mine = tmp_path / "repository" / "runs" / "mine"
    assert open_run(TEST_CONFIG, "runs/mine").out == mine
    assert open_run(TEST_CONFIG, "runs/new").out == tmp_path / "elsewhere" / "runs" / "new"
    assert open_run(TEST_CONFIG, mine).out == mine


def test_the_same_figure_is_the_same_file(tmp_path):
    run = open_run(TEST_CONFIG, tmp_path)
    written = []
    for _ in range(2):
        save_figure(run, some_figure(), "line")
        places = [path for path in sorted(tmp_path.rglob("figures/**/*")) if path.is_file()]
        written.append([path.read_bytes() for path in places])
    assert len(written[0]) == 3
    assert written[0] == written[1]


def some_figure():
    with style():
        figure, ax = plt.subplots()
        ax.plot([0, 1], [0, 1], "o-", clip_on=True, label="a line")
        ax.scatter([0, 1], [1, 0], c=[0.2, 0.8], edgecolors="k")
        ax.bar([0.5], [0.5], color="#d0d0d0")
        ax.legend()
    return figure


def test_a_figure_looks_as_before_when_its_dark_version_is_drawn():
    figure, pixels = some_figure(), []
    for _ in range(2):
        figure.canvas.draw()
        pixels.append(np.array(figure.canvas.buffer_rgba()))
        with darkened(figure):
            figure.canvas.draw()
            assert figure.canvas.buffer_rgba()[0, 0, 0] < 40
    assert (pixels[0] == pixels[1]).all()


def test_a_figure_for_a_dark_page_has_light_ink_and_the_same_hues(tmp_path):
    run = open_run(TEST_CONFIG, tmp_path)
    figure, ax = plt.subplots(figsize=(3, 2))
    ax.axhspan(0, 1, color="#0072B2")
    ax.text(0.5, 1.5, "ink", fontsize=40, color="black")
    ax.set(xlim=(0, 1), ylim=(0, 2))
    save_figure(run, figure, "ink")
    light, dark = (
        iio.imread(tmp_path / "figures" / place)[..., :3].astype(int)
        for place in ("ink.png", "dark/ink.png")
    )
    for pixels, ground, ink in ((light, 255, 0), (dark, 0x12, 0xD6)):
        assert np.median(pixels[0, :, 1]) == ground  # at the edge
        greys = pixels[np.ptp(pixels, axis=2) < 20]
        assert abs(greys[:, 1] - ink).min() < 8
        assert (pixels == (0x00, 0x72, 0xB2)).all(2).sum() > 1000
