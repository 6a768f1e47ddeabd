"""The studies of the book: their files, their results and their pictures."""

import json
import re

import numpy as np
import pytest
from conftest import ROOT, TEST_CONFIG
from test_pipeline import METRIC_KEYS

from figures_lib.config import load_experiment
from figures_lib.draw import study_figures, study_tables
from figures_lib.errors import ConfigError
from figures_lib.paths import SHIPPED
from figures_lib.runs.run import open_run
from figures_lib.studies.benchmark_claims import OF_BENCHMARK
from figures_lib.studies.claims import CLAIMS, Findings, findings
from figures_lib.studies.experiments import FIGURE
from figures_lib.studies.points import load_study
from figures_lib.studies.results import (
    NAME,
    REASON,
    STATUS,
    Status,
    read_results,
    varied_keys,
    write_results,
)
from figures_lib.studies.studies import (
    STUDIES,
    SWEEPS,
    Spread,
    shipped_results,
    spreads,
    study_results,
    sweep_results,
)

ROWS = [
    {"run": "a", "k": 1, "seed": 0, "status": "done", "reason": None, "connectivity.r2": 0.2},
    {"run": "b", "k": 1, "seed": 1, "status": "done", "reason": None, "connectivity.r2": 0.6},
    {"run": "c", "k": 1, "seed": 2, "status": "done", "reason": None, "connectivity.r2": 0.5},
    {"run": "d", "k": 0, "seed": 0, "status": "failed", "reason": "diverged"},
]


def test_every_study_has_a_file_and_one_at_the_published_size():
    names = {path.stem for path in SWEEPS.glob("*.yaml")}
    others = {"test", "calibration", "methods", "methods_continuum", "methods_figure2"}
    assert names == {*STUDIES, *(f"{name}_paper" for name in STUDIES), *others}


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "figures").glob("*.yaml")), ids=str)
def test_every_figure_of_the_paper_can_be_run_in_full_and_in_small(path):
    full, quick = load_study(path), load_study(path, quick=True)
    assert full.config == quick.config == ROOT / "config" / path.name
    for study in (full, quick):
        assert all(point.problem is None for point in study.points)
    sizes = [
        min(load_experiment(s.config, p.overrides).simulation.neurons for p in s.points)
        for s in (full, quick)
    ]
    assert sizes[0] >= 1000 and sizes[1] <= 512


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_at_the_published_size_varies_the_same(name):
    small, large = (load_study(SWEEPS / f"{name}{kind}.yaml") for kind in ("", "_paper"))
    assert [load_experiment(s.config).profile for s in (small, large)] == ["test", "paper"]
    kinds = [{frozenset(p.varied) for p in s.points} for s in (small, large)]
    if name != "theta":  # a slope per type, and the numbers of types differ
        assert kinds[0] == kinds[1]
    assert len(large.points) / 5 >= len(small.points) / 3  # seeds
    assert {p.overrides["seed"] for p in large.points} == set(range(5))


@pytest.mark.parametrize("name", STUDIES)
def test_no_run_of_a_study_is_impossible(name):
    for sweep in (
        load_study(SWEEPS / f"{name}.yaml"),
        load_study(SWEEPS / f"{name}.yaml", quick=True),
        load_study(SWEEPS / f"{name}_paper.yaml"),
    ):
        assert not [point.problem for point in sweep.points if point.problem]


def test_spread_is_over_the_seeds_of_a_value():
    assert spreads(ROWS, "k", "connectivity.r2") == [Spread(1.0, 0.5, 0.2, 0.6)]
    lists = [row | {"k": [{}] * 3} for row in ROWS]
    assert spreads(lists, "k", "connectivity.r2")[0].value == 3


def test_results_in_the_folder_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr("figures_lib.studies.studies.STUDIES", ("noise", "types"))
    run = open_run(TEST_CONFIG, tmp_path)
    here = study_results(run)
    assert [row["status"] for row in here["noise"]] == ["done", "done"]
    assert all(row[key] is not None for row in here["noise"] for key in METRIC_KEYS)
    assert here["types"] == shipped("types")
    assert study_results(run) == here
    for name in ("noise", "types"):
        folder = tmp_path / "studies" / name
        folder.mkdir(parents=True)
        write_results(folder / "results.csv", ROWS)
        assert [row["run"] for row in study_results(run)[name]] == ["a", "b", "c", "d"]
    (folder / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=r"types/results\.csv: holds no results of a sweep"):
        study_results(run)


def test_overview_shows_every_metric_against_every_varied_key_over_the_seeds():
    rows = [
        {"run": f"{k}{d}{seed}", "k": k, "d": d, "seed": seed, "status": "done", "reason": None}
        | {"a": 0.1 * k + 0.01 * seed, "b": seed, "config_hash": "x"}
        for k in (1, 2)
        for d in ("slow", "quick")
        for seed in range(3)
    ]
    rows.append(ROWS[3] | {"d": "slow"})
    axes = [ax for ax in study_figures.overview(rows).axes if ax.axison]
    assert [ax.get_title() for ax in axes] == ["a", "b", "a", "b"]
    assert [ax.get_xlabel() for ax in axes] == ["k", "k", "d", "d"]
    assert len(axes[0].containers) == 2  # one line per value of d
    line, caps, _ = axes[0].containers[0].lines
    assert line.get_ydata() == pytest.approx([0.11, 0.21])
    assert [list(cap.get_ydata()) for cap in caps] == [
        pytest.approx([0.1, 0.2]),
        pytest.approx([0.12, 0.22]),
    ]
    assert [text.get_text() for text in axes[3].get_xticklabels()] == ["quick", "slow"]


def test_overview_of_a_sweep_without_finished_runs():
    figure = study_figures.overview(ROWS[3:])
    assert figure.get_suptitle() == "1 failed"


def test_a_summary_without_results_is_bad_input(tmp_path):
    with pytest.raises(ConfigError, match=r"results: .*absent.csv is not a file"):
        sweep_results(str(tmp_path / "absent.csv"))


def test_figure_shows_every_value_and_counts_failures():
    metrics = {m: 0.5 for _, named in study_figures.PANELS for m in named}
    rows = [row | metrics if row["status"] == "done" else row for row in ROWS]
    rows += [rows[0] | {"run": "e", "k": 100}]
    figure = study_figures.study(rows, "k", "a label")
    assert [ax.get_xscale() for ax in figure.axes] == ["log"] * 3
    assert list(figure.axes[0].containers[0].lines[0].get_xdata()) == [1, 100]
    assert figure.get_suptitle() == "of 5 runs 1 failed"
    rows += [rows[0] | {"status": "missing"}]
    figure = study_figures.study(rows, "k", "a label")
    assert figure.get_suptitle() == "of 6 runs 1 failed, 1 missing"
    figure = study_figures.study(rows[:2], "k", "a label")
    assert figure.get_suptitle() == ""
    assert (ROOT / "book" / "08_studies.md").read_text().count("study_figures.study(") == 9


def shipped(name):
    """What claims of this name are about: a sweep, a part of the benchmark, or a figure."""
    if (SHIPPED / f"{name}.csv").exists():
        return read_results(SHIPPED / f"{name}.csv")
    if name in OF_BENCHMARK:
        report = json.loads((SHIPPED / "benchmark.json").read_text())
        return (report | report["ablation"])[name]
    return [row for row in read_results(SHIPPED / "experiments.csv") if row[FIGURE] == name]


SWEPT = (
    *("types", "inputs", "contrast", "speed", "theta", "differences"),
    *("calibration", "methods", "methods_continuum", "methods_figure2"),
)


def test_shipped_results_are_those_of_their_sweeps():
    """Every run of the file, with the origin beside it."""
    for name in SWEPT:
        wanted = {point.name for point in load_study(SWEEPS / f"{name}.yaml").points}
        assert {row[NAME] for row in shipped(name)} == wanted, name
        origin = json.loads((SHIPPED / f"{name}.json").read_text())
        assert origin["sweep"] == f"config/sweeps/{name}.yaml" and not origin["quick"]
        assert re.fullmatch("[0-9a-f]{40}", origin["commit"]), name
        assert origin["processor"] and origin["date"], name


def test_the_random_experiments_are_of_both_kinds():
    """The verdict has to decide."""
    done = [row for row in shipped("calibration") if row[STATUS] == Status.DONE]
    trusted = sum(row["diagnosis.trusted"] for row in done)
    assert len(done) >= 60 and trusted > 20 and len(done) - trusted > 10


@pytest.mark.parametrize("name", CLAIMS)
def test_what_the_book_says_of_its_results_is_true(name):
    """No sentence is left out."""
    said = findings(name, shipped(name))
    assert said.left_out == 0, [c.text for c in CLAIMS[name] if c.text not in said.sentences]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_sentence_can_be_false(name):
    """Each is left out for some results in which every number was drawn at random."""
    rng, never = np.random.default_rng(0), {claim.text for claim in CLAIMS[name]}
    of_a_sweep = STATUS in shipped(name)[0]
    settings = {*varied_keys(shipped(name)), NAME, STATUS} if of_a_sweep else set()
    for _ in range(50):
        rows = [
            {
                key: value if key in settings else _drawn(value, rng)
                for key, value in row.items()
            }
            for row in shipped(name)
        ]
        never &= set(findings(name, rows).sentences)
    assert not never


def _drawn(value, rng):
    if isinstance(value, dict):
        return {key: _drawn(one, rng) for key, one in value.items()}
    if isinstance(value, list):
        return [_drawn(one, rng) for one in value]
    if isinstance(value, bool):
        return bool(rng.integers(2))
    return rng.normal() if isinstance(value, int | float) else value


def test_sentences_that_do_not_hold_are_counted():
    assert repr(Findings(("A.", "B."), 0)) == "A. B."
    assert "One sentence of the book is left out" in repr(Findings(("A.",), 1))
    assert findings("methods", shipped("methods")[:1]).left_out == 2  # without the gradient


def test_the_book_speaks_of_all_results_that_come_with_it():
    pages = [path.read_text() for path in (ROOT / "book").glob("[01]*.md")]
    spoken_of = set(re.findall(r'fl\.findings\("(\w+)", ', "".join(pages)))
    assert spoken_of == CLAIMS.keys()
    figures = {row[FIGURE] for row in shipped("experiments")}
    assert spoken_of == {path.stem for path in SHIPPED.glob("*.csv")} | figures | {
        *OF_BENCHMARK
    }


def test_results_in_the_folder_of_a_run_come_before_the_shipped_ones(tmp_path):
    run = open_run(TEST_CONFIG, tmp_path)
    assert shipped_results(run, "calibration") == shipped("calibration")
    write_results_to(run.out / "studies" / "calibration")
    assert shipped_results(run, "calibration") == [{"run": "a", "status": "done"}]


def write_results_to(folder):
    folder.mkdir(parents=True)
    write_results(folder / "results.csv", [{"run": "a", "status": "done"}])


def test_figures_and_tables_of_methods_and_verdicts():
    """Every finished run is drawn and listed; failures are counted, not drawn."""
    rows = shipped("calibration") + [{NAME: "x", STATUS: Status.FAILED, REASON: "no memory"}]
    drawn = {key: rows[0][key] for key in varied_keys(rows)}
    rows[-1] |= drawn
    (ax,) = study_figures.calibration(rows).axes
    points = sum(len(line.get_xdata()) for line in ax.lines[:2])
    done = [row for row in rows if row[STATUS] == Status.DONE]
    assert points == len(done)
    counts = study_tables.verdicts(rows)
    cells = [int(cell) for row in counts.rows[:3] for cell in row[1:]]
    assert sum(cells) == len(done)
    assert counts.rows[3][1] == str(len(rows) - len(done))
    table = study_tables.experiments(rows)
    assert len(table.rows) == len(rows) and table.rows[-1][-1] == "error: no memory"
    recordings = {name: shipped(name) for name in ("methods", "methods_continuum")}
    axes = study_figures.methods(recordings).axes
    assert [ax.get_title() for ax in axes] == list(recordings)
    assert len(study_tables.methods(recordings).rows) == sum(map(len, recordings.values()))
