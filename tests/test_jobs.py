"""A run of a sweep as a worker executes it: notebooks, inputs, and when it is finished."""

import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from test_batch import written

from figures_lib import commands
from figures_lib.__main__ import main
from figures_lib.runs.notebooks import RUN_HASH
from figures_lib.studies import batch, jobs
from figures_lib.studies.batch import job_of
from figures_lib.studies.points import load_study
from figures_lib.studies.studies import HARDLY_TRAINED

SOME = ("04_panels",)  # of the notebooks


@pytest.fixture
def job(tmp_path):
    sweep = load_study(written(tmp_path, overrides=HARDLY_TRAINED))
    return job_of(sweep.config, sweep.points[0], tmp_path / "out", False, notebooks=False)


def test_every_run_keeps_its_notebooks_on_request(tmp_path, monkeypatch):
    """They are executed with the settings of the run and contain no path of this machine."""
    monkeypatch.setattr(jobs, "FIGURE_3", SOME)
    np.save(
        tmp_path / "movie.npy", np.linspace(0.5, 1.5, 48, dtype=np.float32).reshape(3, 4, 4)
    )
    movie = {"external_input.source": str(tmp_path / "movie.npy")}
    path = written(tmp_path, grid={"simulation.noise": [0.5]}, overrides=HARDLY_TRAINED | movie)
    sweep = load_study(path)
    job = job_of(sweep.config, sweep.points[0], tmp_path / "out", False, notebooks=True)
    assert job.complete(None)[1] is None
    folder = Path(job.out)
    for name in SOME:
        executed = nbformat.read(folder / "notebooks" / f"{name}.ipynb", as_version=4)
        assert executed.metadata[RUN_HASH] == job.metrics()["config_hash"]
        assert f'"{tmp_path}' not in json.dumps(executed) and "'/" not in str(executed.cells)
        assert "simulation.noise" in str(executed.cells)
    assert (folder / "figures" / "fig3d_connectivity.svg").exists()
    page = folder / "notebooks" / f"{SOME[-1]}.ipynb"
    assert job.finished()
    page.unlink()
    assert not job.finished()


@pytest.mark.parametrize("asked", [True, False])
def test_notebooks_are_kept_only_on_request(tmp_path, monkeypatch, asked):
    given = []
    monkeypatch.setattr(batch, "run_study", lambda *all_of: given.extend(all_of) or [])
    monkeypatch.setattr(commands, "summarise", lambda _: None)
    option = ["--notebooks"] if asked else []
    assert main(["sweep", str(written(tmp_path)), "--out", str(tmp_path / "o"), *option]) == 0
    assert given[-1] is asked


def test_what_is_damaged_is_not_finished(job):
    assert not job.finished()
    _, problem = job.complete(None)
    assert problem is None and job.finished()
    (scores,) = Path(job.out, "stages").glob("score-*/*.safetensors")
    whole = scores.read_bytes()
    scores.write_bytes(whole[:-1])
    assert not job.finished()
    _, problem = job.complete(None)
    assert problem is None and job.finished()
    assert scores.read_bytes() == whole


def test_a_failure_that_may_not_recur_is_tried_again(job, monkeypatch):
    """A full disk may have space later; a simulation that diverged would diverge again."""
    monkeypatch.setattr(jobs.Job, "_finish", lambda _: (_ for _ in ()).throw(OSError("odd")))
    _, problem = job.complete(None)
    assert problem == "OSError: odd"
    assert job.known_failure() is None
    error = jobs.SimulationError("diverged at frame 3")
    monkeypatch.setattr(jobs.Job, "_finish", lambda _: (_ for _ in ()).throw(error))
    _, problem = job.complete(None)
    assert problem == job.known_failure() == "diverged at frame 3"
    monkeypatch.undo()
    assert job.complete(None)[1] is None
    assert job.known_failure() is None


def test_a_worker_elsewhere_finds_the_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("movie.npy", np.ones((3, 4, 4), np.float32))
    movie = {"external_input.source": "movie.npy"}
    sweep = load_study(written(tmp_path, overrides=HARDLY_TRAINED | movie))
    job = job_of(sweep.config, sweep.points[0], tmp_path / "out", False, notebooks=False)
    monkeypatch.chdir(ROOT)
    assert job.open().experiment.external_input.source == str(tmp_path / "movie.npy")
    assert job.open().experiment.device == "cpu"
    assert Path(job.config).is_absolute()
