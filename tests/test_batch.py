"""Parameter sweeps: their runs, none of which is lost or repeated."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import ROOT
from pyarrow import parquet
from test_pipeline import METRIC_KEYS

from figures_lib import commands
from figures_lib.__main__ import main
from figures_lib.config import load_experiment
from figures_lib.errors import ConfigError
from figures_lib.studies.points import Axes, Draws, load_study, plan
from figures_lib.studies.results import read_results, varied_keys, write_results

SWEEP = ROOT / "config" / "sweeps" / "test.yaml"
PATIENCE = 400  # seconds: beside other tests, processes start slowly
COMMAND = [sys.executable, "-m", "figures_lib", "sweep"]


def written(folder: Path, **changes) -> Path:
    """The sweep of the tests with some sections replaced."""
    tree = yaml.safe_load(SWEEP.read_text())
    tree["overrides"] |= changes.pop("overrides", {})
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(tree | changes))
    return path


def started(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [*map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def until(condition, seconds: float = PATIENCE):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def finished_stages(out: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in out.glob("stages/*/done.json")}


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_draws_are_the_same_every_time_and_within_their_ranges(method):
    keys = {"a": {"low": 1, "high": 1000, "scale": "log"}, "b": {"low": 2, "high": 9}}
    keys["b"]["integer"] = True
    drawn = Draws(count=5, method=method, seed=3, keys=keys).settings()
    assert drawn == Draws(count=5, method=method, seed=3, keys=keys).settings()
    assert drawn != Draws(count=5, method=method, seed=4, keys=keys).settings()
    assert drawn == Draws(count=8, method=method, seed=3, keys=keys).settings()[:5]
    assert all(1 <= one["a"] <= 1000 and one["b"] in range(2, 10) for one in drawn)


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_draws_choose_among_listed_values(method):
    """Every value comes up, as often as it is listed; ranges refine a chosen list."""
    types = [
        [{"decay": 1.0, "self_coupling": 1.0, "width": 1.0} for _ in range(n)] for n in (1, 2)
    ]
    draws = {
        "count": 64,
        "method": method,
        "keys": {"neuron_types.0.width": {"low": 2.0, "high": 3.0}},
        "choices": {"neuron_types": types, "inference.knots": [16, 16, 16, 24]},
    }
    drawn = Draws(**draws).settings()
    assert drawn == Draws(**draws | {"count": 128}).settings()[:64]
    assert {len(one["neuron_types"]) for one in drawn} == {1, 2}
    assert 0.1 < sum(one["inference.knots"] == 24 for one in drawn) / 64 < 0.4
    study = plan(ROOT / "config" / "fig3_test.yaml", Axes(draws=draws), "here")
    assert all(point.problem is None for point in study.points)
    assert all("width" in str(one) and one[0]["width"] == 1.0 for one in types)  # unchanged
    two = next(point for point in study.points if len(point.varied["neuron_types"]) == 2)
    widths = [one.width for one in load_experiment(study.config, two.overrides).neuron_types]
    assert widths == [two.varied["neuron_types.0.width"], 1.0]


def test_runs_are_the_product_of_all_axes(tmp_path):
    sweep = load_study(
        written(
            tmp_path,
            points=[{"external_input.images": 5, "profile": "x"}, {"external_input.images": 9}],
            draws={"count": 3, "keys": {"connectivity.density": {"low": 0.5, "high": 1}}},
            seeds=2,
        )
    )
    assert len(sweep.points) == 2 * 4 * 3 * 2
    assert len({point.name for point in sweep.points}) == len(sweep.points)
    assert {point.overrides["seed"] for point in sweep.points} == {0, 1}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grid": {"simulation.nose": [1]}}, "simulation.nose: unknown key"),
        ({"grid": {"simulation.noise": [1, "loud"]}}, "simulation.noise"),
        ({"grids": {}}, "grids: unknown key; the keys here are overrides"),
        (
            {"draws": {"count": 2, "keys": {"seed": {"low": 1, "high": 2, "lo": 1}}}},
            "the keys here are low, high",
        ),
        ({"draws": {"count": 2, "keys": {"a.b": {"low": 2, "high": 1}}}}, "is not below"),
        ({"overrides": {"simulation.noise": 1}}, "keep one"),
        ({"grid": {"simulation.noise": [1, 1]}}, "keep one"),
        ({"config": "absent.yaml"}, "absent.yaml"),
    ],
)
def test_bad_sweep_is_one_line_and_exit_code_2(tmp_path, capsys, changes, expected):
    path = written(tmp_path, **changes)
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_unreachable_scheduler_is_bad_input(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--scheduler", "nonsense://here"]
    assert main(["sweep", str(SWEEP), *arguments]) == 2
    assert "--scheduler" in capsys.readouterr().err


def test_a_sweep_without_quick_axes():
    with pytest.raises(ConfigError, match="quick"):
        load_study(SWEEP, quick=True)


def test_results_are_read_as_written(tmp_path):
    rows = [
        {"run": "a,b", "k": [1, {"x": 0.1}], "n": 0.1 + 0.2, "status": "done", "reason": None},
        {"run": "c", "k": "text", "n": 3, "status": "failed", "reason": 'said "no"', "more": 1},
    ]
    write_results(tmp_path / "r.csv", rows)
    assert read_results(tmp_path / "r.csv") == [rows[0] | {"more": None}, rows[1]]
    assert varied_keys(rows) == ["k", "n"]
    table = parquet.read_table(tmp_path / "r.parquet").to_pydict()
    assert table["run"] == ["a,b", "c"]
    assert table["n"] == [0.1 + 0.2, 3.0]
    assert table["k"] == ['[1, {"x": 0.1}]', "text"]
    assert table["more"] == [None, 1]


@pytest.mark.parametrize("values", [[1, "a"], [True, 2], [None, [1]], ["x", [1]]])
def test_columns_of_mixed_values_reach_the_parquet_file(tmp_path, values):
    write_results(tmp_path / "r.csv", [{"k": value} for value in values])
    (column,) = parquet.read_table(tmp_path / "r.parquet").to_pydict().values()
    assert len(column) == 2
    for cell, value in zip(column, values, strict=True):
        assert cell == value or json.loads(cell) == value


def assert_summarised(out: Path) -> None:
    """The summary was executed at the end, with a picture and the failed runs."""
    cells = nbformat.read(out / "summary.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [o for o in outputs if "image/png" in o.get("data", {})]
    assert "diverged" in str(outputs)
    assert str(out) not in str(cells)


def test_failures_are_recorded_and_the_sweep_goes_on(tmp_path, capsys, monkeypatch):
    """Some runs are impossible, some diverge, two finish; a second command repeats none."""
    noise = {"simulation.noise": [1.0, 1e9], "simulation.input_neurons": [4, 25]}
    overrides = {"simulation.neurons": 24}
    path = written(tmp_path, grid=noise | {"simulation.neurons": [24, 25]}, overrides=overrides)
    tree = yaml.safe_load(path.read_text())
    del tree["overrides"]["simulation.neurons"], tree["overrides"]["simulation.input_neurons"]
    path.write_text(yaml.safe_dump(tree))
    out = tmp_path / "out"
    assert main(["sweep", str(path), "--out", str(out), "--workers", "0"]) == 1
    rows = read_results(out / "results.csv")
    assert len(rows) == 8
    for row in rows:
        impossible = row["simulation.input_neurons"] > row["simulation.neurons"]
        diverges = row["simulation.noise"] > 1
        assert row["status"] == ("failed" if impossible or diverges else "done")
        if impossible:
            assert "exceeds" in row["reason"]
        elif diverges:
            assert "diverged" in row["reason"]
        else:
            assert all(row[key] is not None for key in METRIC_KEYS)
    assert_summarised(out)
    monkeypatch.setattr(commands, "summarise", lambda _: None)
    before = finished_stages(out)
    capsys.readouterr()
    assert main(["sweep", str(path), "--out", str(out), "--workers", "0"]) == 1
    assert "8 runs, 0 to do" in capsys.readouterr().out  # diverged runs would diverge again
    assert finished_stages(out) == before
    assert read_results(out / "results.csv") == rows


def test_a_killed_sweep_is_continued(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands, "summarise", lambda _: None)
    path = written(tmp_path, overrides={"graph_network.steps": 100})
    out = tmp_path / "out"
    with started(*COMMAND, path, "--out", out, "--workers", "2") as process:
        until(lambda: list(out.glob("runs/*/excerpt.safetensors")))
        process.send_signal(signal.SIGKILL)
    time.sleep(1)  # its workers notice and end
    before = finished_stages(out)
    missing = 4 - len(list(out.glob("runs/*/excerpt.safetensors")))
    assert missing > 0
    assert main(["sweep", str(path), "--out", str(out), "--workers", "0"]) == 0
    assert f"4 runs, {missing} to do" in capsys.readouterr().out
    after = finished_stages(out)
    assert {name: after[name] for name in before} == before
    assert sorted(name.split("-")[0] for name in after) == sorted(
        ["simulate"] * 2 + ["infer"] * 4 + ["score"] * 4
    )
    rows = read_results(out / "results.csv")
    assert len(rows) == 4
    assert all(row[key] is not None for row in rows for key in METRIC_KEYS)


def test_a_worker_of_a_real_cluster_is_killed(tmp_path):
    """A scheduler and two workers in separate processes; one worker dies during a run."""
    path = written(tmp_path, overrides={"graph_network.steps": 100})
    out = tmp_path / "out"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    port = address.rpartition(":")[2]
    plain = ("--host", "127.0.0.1", "--no-dashboard")
    processes = [started(*dask, "scheduler", "--port", port, *plain)]
    worker = (*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--memory-limit", "0")
    processes += [started(*worker, *plain) for _ in range(2)]
    try:
        until(lambda: _listens(address))
        processes.append(started(*COMMAND, path, "--out", out, "--scheduler", address))
        workers = {process.pid: process for process in processes[1:3]}
        owner = until(lambda: _owner(out, "infer", workers))
        workers[owner].kill()
        workers[owner].wait()
        at_kill = finished_stages(out)
        assert processes[3].wait(timeout=PATIENCE) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
    rows = read_results(out / "results.csv")
    assert [row["status"] for row in rows] == ["done"] * 4
    after = finished_stages(out)
    assert {name: after[name] for name in at_kill} == at_kill
    assert len(after) == 2 + 4 + 4
    assert not list(out.glob("stages/.*"))


def _listens(address: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0


def _owner(out: Path, stage: str, workers) -> int | None:
    """The worker that is computing a stage."""
    parts = out.glob(f"stages/.{stage}-*")
    owners = [int(part.name.split(".")[2].partition("@")[0]) for part in parts]
    return next((owner for owner in owners if owner in workers), None)
