"""The benchmark is complete, and what it compares computes the same thing."""

import json
import re

import numpy as np
import psutil
import pytest
import torch
from matplotlib import pyplot as plt

from figures_lib.__main__ import main
from figures_lib.bench import ablation, measurements, sharing
from figures_lib.bench.benchmark import benchmark, memory_plan
from figures_lib.bench.gpu import GpuPlan, failures, gpu_benchmark
from figures_lib.bench.kept import benchmark_results, gpu_results
from figures_lib.bench.measuring import PeakMemory, Work, exponent, interleave, ratio, spread
from figures_lib.bench.plans import FULL, Plan, experiment_of
from figures_lib.bench.rivals import RIVALS, obstacle
from figures_lib.draw import benchmark_figures, benchmark_tables
from figures_lib.errors import ConfigError
from figures_lib.infer.algorithm import converge
from figures_lib.learner import GraphNetwork, Learner
from figures_lib.model.cuda_graph import gradients
from figures_lib.model.gnn import GNN
from figures_lib.model.message_passing import MessagePassingGNN
from figures_lib.runs.cost import inference_cost
from figures_lib.runs.files import write_json
from figures_lib.runs.run import Run
from figures_lib.score.scoring import gauge_free_r2
from figures_lib.simulate.integrate import simulate

PARTS = {
    *("plan", "commit", "date", "machine", "iteration", "accuracy", "rates", "simulators"),
    *("scaling", "memory_plan", "streaming", "ablation", "sharing", "seconds"),
}
TINY = Plan(
    name="tiny",
    iteration=(8, 16),
    accuracy=32,
    accuracy_frames=1000,
    seeds=1,
    network_steps=20,
    rates=32,
    rivals=(16,),
    rival_steps=10,
    scaling=(32, 64),
    scaling_frames=256,
    lengths=(128, 256),
    ablation=32,
    adam_steps=30,
    clustering=(0, 4),
    shared=False,
)
SPREAD = {"median", "q1", "q3", "repeats"}


@pytest.fixture(scope="module")
def report():
    return benchmark(TINY)


def _spreads(tree):
    if isinstance(tree, dict):
        if tree.keys() == SPREAD:
            yield tree
        else:
            for value in tree.values():
                yield from _spreads(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _spreads(value)


def test_report_has_every_key(report):
    assert set(report) == PARTS
    assert report == json.loads(json.dumps(report))
    assert {"processor", "cores", "threads", "memory_bytes", "packages"} <= set(
        report["machine"]
    )
    for row in report["iteration"]:
        assert {"neurons", "transfer", "edges", "dense", "edges_over_dense"} <= set(row)
        assert ("edges_over_sweep_frame" in row) == (row["transfer"] == "sender")
    assert [t["r2"] for t in report["accuracy"]["targets"]] == [0.95, 0.99, 0.993, 0.999]
    assert {"gemm_flops", "copy_bytes", "mv_seconds", "sweep", "simulator"} <= set(
        report["rates"]
    )
    for row in report["simulators"]:
        assert {"ours", "theirs", "ratio"} <= set(row) or row["skipped"]
    assert len(report["scaling"]["by_neurons"]) == len(TINY.scaling)
    assert len(report["scaling"]["by_frames"]) == len(TINY.lengths)
    assert set(report["ablation"]) == {
        *("neurons", "weights", "tables", "table_errors", "gauge", "sweeps", "clustering")
    }


def test_every_ratio_has_a_spread_over_five_rounds(report):
    ratios = [s for row in report["iteration"] for s in _spreads(row)]
    ratios += list(_spreads(report["rates"])) + list(_spreads(report["simulators"]))
    assert len(ratios) > 10
    for one in ratios:
        assert one["repeats"] >= 5
        assert 0 < one["q1"] <= one["median"] <= one["q3"]


def test_every_figure_and_table_can_be_drawn(report):
    parts, draw, tabulate = report["ablation"], benchmark_figures, benchmark_tables
    figures = [
        draw.iteration(report["iteration"]),
        draw.accuracy(report["accuracy"]["curves"], report["accuracy"]["targets"]),
        draw.machine_rates(report["rates"]),
        draw.simulators(report["simulators"]),
        draw.scaling(report["scaling"]),
        draw.memory_plan(report["memory_plan"]),
        draw.connectivity_solvers(parts["weights"]),
        draw.tables(parts["tables"], parts["table_errors"]),
        draw.gauge(parts["gauge"]),
        draw.sweeps(parts["sweeps"]),
        draw.clustering(parts["clustering"]),
    ]
    for figure in figures:
        figure.canvas.draw()
        plt.close(figure)
    tables = [
        tabulate.machine(report),
        tabulate.summary(report),
        tabulate.targets(report["accuracy"]),
    ]
    tables += [
        tabulate.simulators(report["simulators"]),
        tabulate.streaming(report["streaming"]),
    ]
    tables += [tabulate.solvers(parts["weights"]), tabulate.gauge(parts["gauge"])]
    tables.append(tabulate.clustering(parts["clustering"]))
    for table in tables:
        assert len(repr(table).splitlines()) == len(table.rows) + 1
        assert table._repr_html_().count("<tr>") == len(table.rows) + 1


def test_what_does_not_fit_is_reported(report, monkeypatch):
    monkeypatch.setattr(measurements, "ROOM", 0.0)
    rows = measurements.iterations(TINY, "cpu")
    grown = measurements.scaling(TINY, "cpu")
    assert all("GB available" in row["skipped"] for row in rows + grown["by_neurons"])
    assert set(grown["exponents"].values()) == {None}
    changed = report | {"iteration": rows, "scaling": grown}
    assert "skipped" in repr(benchmark_tables.machine(changed))


@pytest.mark.parametrize("name", RIVALS)
def test_rival_roll_out_equals_ours_without_noise(name):
    if obstacle(name):
        pytest.skip(obstacle(name))
    experiment, start = measurements.common_start(24, 120)
    recording, _ = simulate(experiment)
    other = RIVALS[name](start)(100)
    assert (other - recording.activity[100]).abs().max() < 1e-4 * recording.activity.abs().max()


def test_rival_that_is_absent_is_skipped(monkeypatch):
    monkeypatch.setattr(measurements, "RIVALS", {"no_such_simulator": None})
    (row,) = measurements.simulators(TINY)
    assert row["rival"] == "no_such_simulator" and "pip install" in row["skipped"]


@pytest.mark.parametrize("transfer", ["sender", "pair"])
def test_the_compared_iterations_are_the_same_step(transfer):
    torch.manual_seed(0)
    config = GraphNetwork.model_validate({"transfer": transfer})
    first, second = GNN(config, 12), GNN(config, 12)
    torch.nn.init.normal_(first.connectivity)
    second.load_state_dict(first.state_dict())
    activity, target = torch.randn(2, 3, 12)
    for model, gnn in ((MessagePassingGNN(first), first), (second, second)):
        optimiser = torch.optim.SGD(gnn.parameters(), lr=0.01)  # Adam magnifies rounding
        measurements.train_step(model, optimiser, activity, target)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_the_time_of_the_caller_is_not_counted(monkeypatch):
    clock = iter([0.0, 1.0, 50.0, 52.0, 90.0])
    monkeypatch.setattr(ablation.time, "perf_counter", lambda: next(clock))
    assert [seconds for _, seconds in ablation.timed(iter(["a", "b"]))] == [1.0, 3.0]


def test_variants_of_the_sweeps_start_alike_and_end_well(experiment, simulated):
    recording, truth = simulated
    rows = ablation.sweep_variants(
        recording, truth, list(converge(recording, experiment.learner))
    )
    assert len({row["loss"][0] for row in rows}) == 1
    plain, extrapolated, full = (row["r2_gauge_free"][-1] for row in rows)
    assert min(plain, extrapolated, full) > 0.999  # the windows were right from the start
    assert len({row["windows"] for row in rows[:2]}) == 1


def test_linear_problem_has_the_true_weights_as_its_solution():
    experiment = experiment_of(24, 4000, **{"simulation.type_order": "shuffled"})
    recording, truth = simulate(experiment)
    rows = ablation.connectivity_solvers(recording, truth, steps=20)
    assert [row["data"] for row in rows] == ["plenty", "scarce", "noisy"]
    assert rows[0]["least_squares"]["r2"] > 0.9999
    steps = [one["step"] for one in rows[0]["adam"]]
    assert steps == sorted(set(steps)) and steps[-1] == 20


def test_gauge_free_score_ignores_row_and_column_scales():
    torch.manual_seed(1)
    true = torch.randn(20, 20)
    scaled = (0.5 + torch.rand(20, 1)) * true * (0.5 + torch.rand(1, 20))
    assert gauge_free_r2(true, scaled) > 0.9999


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
def test_exponent_of_a_power_law_is_recovered(power):
    sizes = np.array([512.0, 1024, 2048, 4096, 8192])
    noise = np.random.default_rng(0).normal(0, 0.01, 5)
    assert exponent(sizes.tolist(), (3e-9 * sizes**power).tolist()) == pytest.approx(power)
    assert exponent(sizes.tolist(), (sizes**power * np.exp(noise)).tolist()) == pytest.approx(
        power, abs=0.03
    )
    with pytest.raises(ValueError, match="two sizes"):
        exponent([8.0, 8.0], [1.0, 2.0])


def test_work_counts_products_and_bytes():
    left, right = torch.randn(30, 20), torch.randn(20, 10)
    with Work() as work:
        _ = left @ right
    assert work.flops == 2 * 30 * 20 * 10
    assert work.bytes == 4 * (30 * 20 + 20 * 10 + 30 * 10)
    with Work() as work:
        torch.zeros(30, 10).addmm_(left, right)
        torch.mv(left, right[:, 0])
        torch.linalg.cholesky(torch.eye(6))
        left.T  # a view moves nothing  # noqa: B018
    assert work.flops == 2 * 30 * 20 * 10 + 2 * 30 * 20 + 6**3 / 3


def test_peak_memory_sees_what_was_freed():
    with PeakMemory() as peak:
        block = torch.ones(2**25)
        del block
    assert peak.bytes > 0.9 * 4 * 2**25


def test_spread_and_ratio():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "q1": 1.5, "q3": 2.5, "repeats": 3}
    assert ratio([2.0, 8.0], [1.0, 2.0])["median"] == 3.0
    with pytest.raises(ValueError, match="at least one"):
        spread([])
    calls = []
    (durations,) = interleave(3, lambda: calls.append(1))
    assert len(calls) == 4 and len(durations) == 3


def test_memory_plan_keeps_the_recording_on_disk():
    rows = memory_plan(8000, 100_000)
    disk = [row["bytes"] for row in rows if row["where"] == "disk"]
    assert disk == [2 * 4 * 8000 * 100_000]
    inferring = inference_cost(8000, 100_000, Learner()).memory
    assert {row["what"]: row["bytes"] for row in rows if row["where"] == "memory"} == inferring


def test_run_shows_the_file_of_the_command_or_the_shipped_one(experiment, tmp_path):
    run = Run(experiment, tmp_path)
    shipped = benchmark_results(run)
    assert shipped["plan"]["name"] == "full" and shipped.keys() == PARTS
    assert re.fullmatch("[0-9a-f]{40}", shipped["commit"])
    assert not any("skipped" in row for row in shipped["simulators"])
    write_json(tmp_path / "benchmark.json", {"plan": {"name": "given"}})
    assert benchmark_results(run)["plan"]["name"] == "given"


def test_command_writes_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "figures_lib.bench.benchmark.benchmark", lambda plan, say: {"plan": plan.name}
    )
    path = tmp_path / "new" / "bench.json"
    assert main(["bench", "--json", str(path)]) == 0
    assert json.loads(path.read_text()) == {"plan": FULL.name}
    assert main(["bench", "--quick", "--json", str(path)]) == 0
    assert json.loads(path.read_text()) == {"plan": "quick"}
    assert main(["bench", "--json", str(tmp_path)]) == 2
    assert "--json" in capsys.readouterr().err


def test_unknown_sizes_are_refused():
    with pytest.raises(ConfigError):
        experiment_of(1, 100)


@pytest.fixture(scope="module")
def of_gpu(tmp_path_factory):
    """The benchmark of a GPU, tried on the CPU with small networks and two tests."""
    folder = tmp_path_factory.mktemp("gpu")
    file = folder / "test_two.py"
    file.write_text("def test_right(): pass\ndef test_wrong(): assert False\n")
    small = {
        "simulation.neurons": 20,
        "simulation.frames": 1000,
        "simulation.warm_up": 10,
        "graph_network.steps": 20,
        "graph_network.width": 8,
    }
    field = {"simulation.input_neurons": 4, "field_network.steps": 8, "training.steps": 10}
    plan = GpuPlan(changes=small | field, large_changes=small, tests=str(file))
    lines, kept = [], []
    result = gpu_benchmark(plan, lines.append, lambda found: kept.append([*found]), "cpu")
    return result, lines, kept


def test_benchmark_of_a_gpu_measures_every_part(of_gpu):
    """CPU and CPU agree; what is known is kept after every part; a failure does not stop it."""
    result, lines, kept = of_gpu
    parts = ["machine", "equal", "simulator", "sweeps", "gradient", "tests", "large"]
    assert [line.split()[2] for line in lines] == parts
    assert [names[-1] for names in kept] == ["seconds", *parts[1:]]
    assert result["equal"]["weights_r2"] == pytest.approx(1.0)
    assert result["equal"]["simulation_error"] == 0
    assert result["sweeps"]["scores"].keys() == result["gradient"]["scores"].keys()
    assert result["large"]["scores"]["external_input.r2"] is None  # no neuron is modulated
    assert (result["tests"]["passed"], result["tests"]["failed"]) == (1, 1)
    assert "assert False" in result["tests"]["output"]
    assert failures(result) == ["tests"]
    json.dumps(result, allow_nan=False)


def test_tables_of_a_gpu(of_gpu, finished, tmp_path):
    """Those of the shipped benchmark, and of one in the folder of a run."""
    shipped = gpu_results(finished)
    rows = benchmark_tables.on_gpu(shipped).rows
    assert [row[1:3] for row in rows][-1] == ("8,000", "101,000")
    assert shipped["machine"]["device"] in str(benchmark_tables.card(shipped))
    run = Run(finished.experiment, tmp_path)
    write_json(tmp_path / "gpu.json", of_gpu[0])
    assert gpu_results(run) == of_gpu[0]
    assert "1 passed, 1 failed" in str(benchmark_tables.card(of_gpu[0]))
    dashes = [row.count("–") for row in benchmark_tables.on_gpu(of_gpu[0]).rows]
    assert dashes == [5, 0, 0, 5, 1]
    for part in ("equal", "simulator", "sweeps", "gradient", "tests", "large"):
        broken = of_gpu[0] | {part: {"failed": "RuntimeError: no memory"}, "commit": None}
        assert "RuntimeError: no memory" in str(benchmark_tables.card(broken))
        left = {"simulator": 4, "sweeps": 4, "gradient": 4, "large": 3}.get(part, 5)
        assert len(benchmark_tables.on_gpu(broken).rows) == left


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_a_gpu_is_measured_only_where_there_is_one(tmp_path, capsys):
    assert main(["bench", "--gpu", "--json", str(tmp_path / "gpu.json")]) == 2
    assert "needs a GPU" in capsys.readouterr().err


def test_gradients_are_those_of_the_last_call():
    """They do not add up, and parameters may move in between."""
    layer = torch.nn.Linear(3, 1)
    descend = gradients(lambda x: layer(x).sum(), [*layer.parameters()], [torch.zeros(2, 3)])
    for x in (torch.ones(2, 3), torch.full((2, 3), 5.0)):
        loss = descend(x)
        assert not loss.requires_grad and loss == layer(x).sum()
        assert torch.equal(layer.weight.grad, x.sum(0)[None])
        layer.weight.data.add_(1.0)


def test_stages_are_compared_with_those_beside_other_work(monkeypatch):
    """The ratio is that of the slower of two; a process that keeps a core busy has ended."""
    one = sharing.staged(20, 500, 2)
    assert list(one) == list(sharing.STAGES) and min(one.values()) > 0
    beside = psutil.Process().children
    seen = []

    def processes(plan, count):
        seen.append(sum(sharing.BUSY in child.cmdline() for child in beside()))
        slower = {stage: 3 * seconds for stage, seconds in one.items()}
        return [one, slower][:count]

    monkeypatch.setattr(sharing, "_processes", processes)
    rows = sharing.sharing(FULL)
    assert seen == [0, 1, 0] and not any(sharing.BUSY in child.cmdline() for child in beside())
    assert [row["beside_busy"] for row in rows] == [1, 1, 1]
    assert [row["two_at_once"] for row in rows] == pytest.approx([3, 3, 3])
    assert "3.0 times" in str(benchmark_tables.sharing(rows))
    assert not sharing.sharing(TINY)
