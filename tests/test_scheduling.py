"""Scheduling of runs: GPUs, threads, workers that die, and progress lines."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from distributed import Client, LocalCluster
from test_batch import SWEEP, written
from test_pipeline import METRIC_KEYS

from figures_lib.__main__ import main
from figures_lib.studies import batch
from figures_lib.studies.batch import local_cluster, outcomes, progress_lines
from figures_lib.studies.jobs import Job
from figures_lib.studies.points import load_study
from figures_lib.studies.results import read_results
from figures_lib.studies.studies import HARDLY_TRAINED, SWEEPS


@dataclass(frozen=True)
class Stub(Job):
    """A job that only records when it ran, or ends its worker."""

    device: str = "cpu"
    deadly: bool = False

    def open(self) -> SimpleNamespace:
        experiment = SimpleNamespace(device=self.device)
        return SimpleNamespace(experiment=experiment, key=lambda stage: stage + self.config)

    def simulate(self) -> None:
        self._work("simulate")

    def complete(self, problem: str | None) -> tuple[float, str | None]:
        self._work("complete")
        return 0.0, problem

    def _work(self, task: str) -> None:
        note = Path(self.out, f"{task}-{self.config}-{time.monotonic_ns()}")
        started = time.monotonic()
        note.touch()
        if self.deadly:
            os._exit(1)
        time.sleep(0.2)
        note.write_text(f"{started} {time.monotonic()}")


def at_once(folder: Path) -> int:
    """The largest number of tasks that ran at the same time."""
    spans = [tuple(map(float, note.read_text().split())) for note in folder.iterdir()]
    return max(sum(a <= start < b for a, b in spans) for start, _ in spans)


@pytest.mark.parametrize(("device", "most"), [("cuda", 1), ("cpu", 2)])
def test_a_gpu_is_given_to_one_run_at_a_time(tmp_path, device, most):
    """Even if its worker has more threads."""
    jobs = {name: Stub(name, {}, str(tmp_path), False, device) for name in "abc"}
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            dashboard_address=None,
            resources={batch.GPU: 1},
        ) as cluster,
        Client(cluster) as client,
    ):
        ended = {name for name, _, problem in outcomes(client, jobs) if problem is None}
    assert ended == set(jobs)
    assert at_once(tmp_path) == most


def test_workers_share_the_cores_and_are_seen_from_here_only(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for workers in (1, 2):
        with local_cluster(workers, 4) as client:
            threads = client.run(torch.get_num_threads)
            assert list(threads.values()) == [max(1, cores // workers)] * workers
            assert os.environ["OMP_NUM_THREADS"] != "7"
            assert "127.0.0.1" in client.dashboard_link
            assert all("127.0.0.1" in address for address in threads)
        assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_run_that_ends_every_worker_fails_alone(tmp_path, monkeypatch):
    """The other run waits behind it, and dask blames both."""
    monkeypatch.setattr(batch, "ATTEMPTS", 2)  # the next run may meet the dying worker once
    jobs = {
        name: Stub(name, {}, str(tmp_path), False, deadly=name == "bad")
        for name in ("bad", "good")
    }
    with local_cluster(1, 2) as client:
        ended = {name: problem for name, _, problem in outcomes(client, jobs)}
    assert ended["good"] is None
    assert "KilledWorker" in ended["bad"]
    assert len(list(tmp_path.glob("*-bad-*"))) == 4  # tried again, alone: it is the cause


def test_progress_is_plain_lines_without_a_terminal(capsys):
    lines = []
    with progress_lines(4, 1, lines.append) as step:
        step("done a")
        step("failed b")
    assert lines == ["[2/4] done a", "[3/4] failed b"]
    assert capsys.readouterr() == ("", "")


def test_progress_is_a_bar_with_the_time_left_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with progress_lines(4, 1, pytest.fail) as step:
        time.sleep(0.2)
        step("done a")
        time.sleep(0.2)
        step("done b")
    out, bar = capsys.readouterr()
    assert out.splitlines() == ["done a", "done b"]
    last = bar.rstrip().splitlines()[-1].rpartition("\r")[2]
    assert "75%" in last and "3/4" in last
    assert "<00:0" in last  # elapsed<left


def test_the_study_of_noise_has_one_row_per_run_with_every_metric(tmp_path, monkeypatch):
    tree = yaml.safe_load((SWEEPS / "noise.yaml").read_text())
    tree["overrides"] |= {"simulation.neurons": 16, "simulation.input_neurons": 4}
    tree["overrides"] |= {"simulation.frames": 400, "simulation.warm_up": 5} | HARDLY_TRAINED
    tree["seeds"] = 1
    path, out = tmp_path / "noise.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(tree))
    monkeypatch.setattr("figures_lib.commands.summarise", lambda _: None)
    assert main(["sweep", str(path), "--out", str(out), "--workers", "0"]) == 0
    rows = read_results(out / "results.csv")
    assert [row["simulation.noise"] for row in rows] == tree["grid"]["simulation.noise"]
    for row in rows:
        assert all(row[key] is not None for key in METRIC_KEYS)
    assert len({row["config_hash"] for row in rows}) == len(rows) == 7


def test_a_cluster_without_workers_is_waited_for(tmp_path, monkeypatch, capsys):
    """Workers in a queue may start hours later; a line says that the command waits."""
    monkeypatch.setattr("figures_lib.commands.summarise", lambda _: None)
    path = written(tmp_path, grid={"simulation.noise": [1.0]}, overrides=HARDLY_TRAINED)
    with LocalCluster(
        n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        waiting = Client.wait_for_workers

        def grow(client, count):
            cluster.scale(1)
            waiting(client, count)

        monkeypatch.setattr(Client, "wait_for_workers", grow)
        arguments = ["--out", str(tmp_path / "out"), "--scheduler", address]
        assert main(["sweep", str(path), *arguments]) == 0
    assert f"waiting for the first worker of {address}" in capsys.readouterr().out


def test_default_is_one_worker_per_core_and_at_most_one_per_run(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(3)))
    monkeypatch.setattr(batch, "LocalCluster", lambda **given: _raise(given))
    for runs, workers in ((9, 3), (2, 2)):
        with pytest.raises(Started) as started, local_cluster(None, runs):
            pass
        assert started.value.args[0]["n_workers"] == workers
    assert len(load_study(SWEEP).points) == 4


class Started(Exception):
    pass


def _raise(given: dict) -> None:
    raise Started(given)
