"""One inference on two processes: equal to one process, each with its own rows of W."""

import os
import shutil
import subprocess
import sys

import psutil
import pytest
import shard_worker
import torch
from conftest import ROOT, TEST_CONFIG
from test_batch import PATIENCE, finished_stages, until

from figures_lib.__main__ import main
from figures_lib.draw import benchmark_figures, benchmark_tables
from figures_lib.infer.algorithm import converge
from figures_lib.infer.shards import Shard, inverse, product
from figures_lib.model.inferred import Model
from figures_lib.runs.cost import shard_plan
from figures_lib.runs.run import open_run
from figures_lib.score.scoring import score

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
TORCHRUN += ["--nproc-per-node", "2"]
NEURONS = shard_worker.NEURONS


def together(*arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [*TORCHRUN, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        text=True,
        **options,
    )


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """The results of two processes for a small network, and the records of each."""
    folder = tmp_path_factory.mktemp("halves")
    worker = ROOT / "tests" / "shard_worker.py"
    with together(worker, folder, stderr=subprocess.PIPE) as process:
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def single():
    torch.manual_seed(0)
    return list(converge(shard_worker.recorded(), shard_worker.experiment().learner))


@pytest.mark.parametrize(("neurons", "ranks"), [(21, 2), (7, 7), (2048, 3), (5, 1)])
def test_every_neuron_is_in_one_shard(neurons, ranks):
    held = [Shard(neurons, rank, ranks).own for rank in range(ranks)]
    assert [n for own in held for n in range(neurons)[own]] == list(range(neurons))
    sizes = [own.stop - own.start for own in held]
    assert max(sizes) - min(sizes) <= 1


def test_the_inverse_is_that_of_the_complete_matrix(halves):
    matrix, left = shard_worker.factors()
    exact = torch.linalg.inv(matrix.double()).float()
    alone = Shard(NEURONS)
    inverted = inverse(matrix.clone(), alone)
    here = {"inverse": inverted, "product": product(left, inverted, alone)}
    for found in (here, *halves):
        for name, expected in (("inverse", exact), ("product", left @ exact)):
            assert (found[name] - expected).abs().max() < 1e-4 * expected.abs().max()


def test_each_process_holds_its_rows_only(halves):
    assert [half["rows"] for half in halves] == [10, 11]
    for half in halves:
        assert half["last"]["connectivity"].shape == (half["rows"], NEURONS)
        assert half["held"] == {half["rows"]}
        assert all(len(values) == half["rows"] for values in half["last"].values())
        assert half["threads"] == max(1, len(os.sched_getaffinity(0)) // 2)
    assert [half["collected"] for half in halves] == [NEURONS, 11]


@pytest.mark.parametrize("when", ["early", "last"])
def test_two_processes_find_the_result_of_one(halves, single, when):
    """All that differs is the order of sums in float32."""
    stage = single[shard_worker.EARLY if when == "early" else -1]
    for name, expected in shard_worker.unknowns(stage).items():
        found = torch.cat([half[when][name] for half in halves])
        error = (found - expected).abs().max() / expected.abs().max()
        assert error < 1e-4, name
    for half in halves:
        assert torch.equal(half["types"], single[-1].types)


def test_plan_counts_what_a_sweep_exchanges(halves):
    plan = dict(shard_plan(NEURONS, 2, shard_worker.FRAMES).exchange)
    back = plan.pop("back-projection")
    for half in halves:
        share = (NEURONS - half["rows"]) / (NEURONS - 11)  # the plan is that of the largest
        # single numbers and lists of silent neurons are not in the plan
        assert half["exchanged"]["reduce"] == pytest.approx(back * share, rel=1e-3)
        sent = sum(plan.values()) * share
        assert half["exchanged"]["broadcast"] == pytest.approx(sent, rel=1e-3)


def test_plan_counts_the_arrays_of_a_sweep(single):
    """Sizes in the plan against those that a single process holds, at the same knots."""
    data = single[-1].data
    plan = shard_plan(NEURONS, 1, shard_worker.FRAMES).memory
    sizes = [tensor.nbytes for one in data.blocks for tensor in (one.position, one.derivative)]
    assert 2 * sum(sizes) == plan["activity and derivative, on both sets of knots"]
    assert 3 * single[-1].estimate.connectivity.nbytes == plan["W: by neuron, old and new"]
    normal = plan["normal matrices of the tables"]
    assert single[0].data.normal.nbytes + 5 * data.normal.nbytes <= normal  # fewer splines


def test_more_processes_hold_less_and_exchange_as_much():
    few, many = shard_plan(100_000, 8), shard_plan(100_000, 64)
    ratio = sum(few.memory.values()) / sum(many.memory.values())
    assert 3 < ratio < 8  # every process holds the messages of a block
    assert few.operations == pytest.approx(8 * many.operations, rel=1e-3)
    assert sum(few.exchange.values()) == pytest.approx(sum(many.exchange.values()), rel=0.15)
    alone = shard_plan(2048, 1)
    assert not any(alone.exchange.values())
    assert alone.exchange_seconds == 0 < alone.compute_seconds


def test_plans_are_drawn_and_tabulated():
    plans = [shard_plan(1000, ranks) for ranks in (1, 2, 4)]
    memory, times = benchmark_figures.shards(plans).axes
    total = [sum(plan.memory.values()) / 1e9 for plan in plans]
    assert list(memory.lines[0].get_ydata()) == total
    assert len(memory.lines) == 1 + len(plans[0].memory)
    assert list(times.lines[0].get_ydata()) == [plan.compute_seconds for plan in plans]
    assert [row[0] for row in benchmark_tables.shards(plans).rows] == ["1", "2", "4"]


@pytest.mark.parametrize("arguments", [["--config", "absent.yaml"], ["-p", "seed=x"]])
def test_bad_input_of_an_inference_is_one_line(tmp_path, capsys, arguments):
    config = [] if "--config" in arguments else ["--config", str(TEST_CONFIG)]
    assert main(["infer", *config, *arguments, "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.crash
def test_a_killed_process_ends_the_command_and_the_same_command_continues(tmp_path):
    """The result is the stage of a single process, and replaces a damaged one."""
    few = {"simulation.frames": 2000, "graph_network.steps": 600, "field_network.steps": 40}
    out = tmp_path / "two"
    command = ["-m", "figures_lib", "infer", "--config", TEST_CONFIG, "--out", out]
    command += [word for key, value in few.items() for word in ("-p", f"{key}={value}")]
    with together(*command, stderr=subprocess.DEVNULL) as process:
        until(lambda: list(out.glob("stages/.infer-*")))
        ranks = psutil.Process(process.pid).children(recursive=True)
        workers = [one for one in ranks if "figures_lib" in one.cmdline()]
        assert len(workers) == 2
        workers[1].kill()
        assert process.wait(timeout=60) == 1
    assert not list(out.glob("stages/infer-*"))
    before = finished_stages(out)
    run = open_run(TEST_CONFIG, tmp_path / "one", few)
    model, simulated = run.infer(), run.simulate()
    (sound,) = run.out.glob("stages/infer-*")
    damaged = shutil.copytree(sound, out / "stages" / sound.name)
    (damaged / "siren.safetensors").write_bytes(b"damaged")
    with together(*command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    after = finished_stages(out)
    assert {name: after[name] for name in before} == before

    (folder,) = out.glob("stages/*infer-*")  # no files of the killed attempt remain
    assert folder.name == run.key("infer")
    found = Model.load(folder)
    assert output.count("sweep") == len(model.history.sweeps)
    assert torch.equal(found.types, model.types)
    weights, expected = found.gnn.connectivity.detach(), model.gnn.connectivity.detach()
    # sweeps end at a loss of 4e-7; what is left of it depends on the order of sums
    assert (weights - expected).abs().max() < 5e-3 * expected.abs().max()
    frames, x = torch.arange(0, 2000, 100), torch.linspace(-5, 5, 50).expand(2, -1)
    for one, other in (
        (found.field(frames), model.field(frames)),
        (found.update(x), model.update(x)),
        (found.transfer(x), model.transfer(x)),
    ):
        assert (one - other).abs().max() < 0.03 * other.abs().max()  # training amplifies
    ours, theirs = (score(*simulated, one).metrics for one in (found, model))
    for key in ("connectivity.r2", "external_input.r2", "types.accuracy"):
        near = 5e-3 if key == "external_input.r2" else 1e-3  # a field network of 40 steps
        assert ours[key] == pytest.approx(theirs[key], abs=near), key
