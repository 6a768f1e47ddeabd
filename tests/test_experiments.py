"""The experiments of the paper: their rows, their excerpts, and how they come into the book."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import TEST_CONFIG

from figures_lib.draw import experiment_figures, experiment_tables, figures
from figures_lib.errors import ConfigError
from figures_lib.runs.excerpt import Excerpt, excerpt_file
from figures_lib.runs.run import open_run
from figures_lib.score.scoring import score
from figures_lib.studies import experiments
from figures_lib.studies.experiments import (
    PUBLISHED,
    SETTINGS,
    all_own_rows,
    own_rows,
    sweep_of,
)
from figures_lib.studies.results import read_results, write_results


@pytest.fixture(scope="module")
def excerpt(small):
    scores = score(small.recording, small.truth, small.model)
    return Excerpt.of(small.recording, small.truth, small.model, scores)


def found(name, **changes):
    """The rows of a sweep of a figure, as if it had been run."""
    metrics = {
        "status": "done",
        "reason": None,
        "inference.method": "sweeps",
        "connectivity.r2": 0.99,
        "connectivity.slope": 0.98,
        "diagnosis.trusted": True,
        "types.n_found": 4,
        "rollout.r2_400": 0.9,
        "rollout.r2_800": 0.8,
        "time.total_s": 120.0,
        "seed": 0,
    }
    points = sweep_of(name).points
    return [{"run": one.name, **metrics, **one.varied, **changes} for one in points]


def run_figure(folder, name, excerpt, quick=False, **changes):
    rows = found(name, **changes)
    for row in rows:
        excerpt_file(folder / name, row["run"]).parent.mkdir(parents=True, exist_ok=True)
        excerpt.save(excerpt_file(folder / name, row["run"]))
    write_results(folder / name / "results.csv", rows)
    (folder / name / "provenance.json").write_text(json.dumps({"quick": quick, "commit": "c"}))
    return rows


def collect(figures, book):
    found = all_own_rows(figures)
    experiments.collect(figures, found, book)
    return list(found)


def test_every_published_number_belongs_to_a_setting_of_its_figure():
    published = read_results(PUBLISHED)
    assert {row["figure"] for row in published} == {*experiments.names()} - {"fig3"}
    for row in published:
        settings = {key: row[key] for key in SETTINGS if row[key] is not None}
        varied = [point.varied for point in sweep_of(row["figure"]).points]
        assert any(settings.items() <= one.items() for one in varied), row
        others = {key for one in varied for key in one if key in SETTINGS}
        assert settings.keys() == others, row


def test_a_row_stands_beside_the_published_numbers_of_its_setting(tmp_path, excerpt):
    run_figure(tmp_path, "s7", excerpt)
    rows = own_rows("s7", tmp_path / "s7")
    of = {row["simulation.frames"]: row["published_r2"] for row in rows}
    assert of == {10_000: 0.45, 20_000: 0.936, 30_000: 0.998, 40_000: 1.0, 50_000: 1.0}
    assert list(rows[0])[:10] == [
        *("figure", "method", "seed", "connectivity.r2", "connectivity.slope"),
        *("published_r2", "published_slope", "trusted", "seconds", "command"),
    ]
    assert rows[0]["command"] == "make figure FIG=s7"
    (tmp_path / "s7" / "provenance.json").unlink()  # the sweep goes on
    assert own_rows("s7", tmp_path / "s7") == []


def test_the_figures_stand_in_the_order_of_the_paper():
    assert experiments.names()[:4] == ["fig2", "fig3", "s3", "s5"]
    assert experiments.names()[-1] == "s14"
    with pytest.raises(ConfigError, match=r"figure: 's99' is unknown; use one of fig2, .*s14"):
        sweep_of("s99")


def test_collecting_replaces_what_was_run_and_keeps_the_rest(tmp_path, excerpt):
    book = tmp_path / "book"
    book.mkdir()
    run_figure(tmp_path / "one", "s8", excerpt)
    assert collect(tmp_path / "one", book) == ["s8"]
    before = read_results(book / "experiments.csv")
    assert len(before) == 12 and {row["figure"] for row in before} == {"s8"}
    first = [row["run"] for row in before if row["seed"] == 0]
    kept = {path.stem for path in (book / "excerpts" / "s8").glob("*.safetensors")}
    assert kept == {*first} and len(first) == 4
    run_figure(tmp_path / "two", "fig2", excerpt)
    run_figure(tmp_path / "two", "s8", excerpt, quick=True)
    assert collect(tmp_path / "two", book) == ["fig2"]
    rows = read_results(book / "experiments.csv")
    assert [row["figure"] for row in rows] == ["fig2"] * 3 + ["s8"] * 12
    assert [row for row in rows if row["figure"] == "s8"] == before
    assert json.loads((book / "experiments.json").read_text()).keys() == {"s8", "fig2"}
    with pytest.raises(ConfigError, match="nothing: holds no results of figures"):
        collect(tmp_path / "nothing", book)
    assert read_results(book / "experiments.csv") == rows
    assert {path.suffix for path in book.iterdir()} == {"", ".csv", ".json"}


def test_a_readers_own_results_take_the_place_of_those_of_the_book(
    tmp_path, excerpt, monkeypatch
):
    book = tmp_path / "book"
    book.mkdir()
    for name in ("fig2", "s8"):
        run_figure(tmp_path / "ours", name, excerpt)
    collect(tmp_path / "ours", book)
    monkeypatch.setattr(experiments, "SHIPPED", book)
    run = open_run(TEST_CONFIG, tmp_path / "runs" / "test")
    assert {row["connectivity.r2"] for row in experiments.experiments(run)} == {0.99}
    run_figure(tmp_path / "runs" / "figures", "s8", excerpt, **{"connectivity.r2": 0.5})
    rows = experiments.experiments(run)
    assert {row["figure"]: row["connectivity.r2"] for row in rows} == {"fig2": 0.99, "s8": 0.5}
    assert len(experiments.excerpts(run, "fig2")) == 1
    assert len(experiments.excerpts(run, "s8")) == 12


def test_the_table_has_a_line_per_setting_with_its_worst_seed(tmp_path, excerpt):
    rows = run_figure(tmp_path, "s7", excerpt)
    for row in rows:
        row["connectivity.r2"] = 0.9 + 0.01 * row["seed"]
        row["connectivity.slope"] = 1.0 + 0.05 * row["seed"]
    write_results(tmp_path / "s7" / "results.csv", rows)
    table = experiment_tables.experiments(own_rows("s7", tmp_path / "s7"))
    assert len(table.rows) == 5
    line = dict(zip(table.header, table.rows[0], strict=True))
    assert line["figure"] == "S7" and line["experiment"] == "short recordings, 10,000 frames"
    assert line["R² of W"] == "0.9100 (0.9000)" and line["published R²"] == "0.450"
    assert line["slope"] == "1.050 (1.100)" and line["trusted"] == "3 of 3"
    assert line["published roll-out"] == "–" and line["roll-out"] == "0.900, 0.800"


def test_an_excerpt_is_small_and_is_read_as_written(tmp_path, excerpt):
    file = tmp_path / "excerpt.safetensors"
    excerpt.save(file)
    assert file.stat().st_size < 150_000
    again = Excerpt.load(file)
    assert all(
        torch.equal(value, getattr(again, name)) for name, value in vars(excerpt).items()
    )


def test_an_excerpt_is_of_its_run(small, excerpt):
    at = excerpt.frames[3], excerpt.neurons[2]
    assert excerpt.activity[3, 2] == small.recording.activity[at]
    assert torch.equal(excerpt.types, small.truth.types[excerpt.neurons])
    assert (excerpt.types.diff() >= 0).all() and len(excerpt.types.unique()) == 2
    assert (excerpt.weights_true - excerpt.weights_learned).abs().median() < 0.05


def test_the_overview_has_a_panel_for_everything(excerpt):
    axes = figures.overview(excerpt).axes
    assert [ax.get_title() for ax in axes] == [
        *("activity", "connectivity", "embedding, coloured by true type"),
        *("update functions", "transfer functions", "roll-out against the true network"),
    ]
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in axes)
    assert all(ax.lines or ax.collections for ax in axes)


def test_our_numbers_stand_beside_the_published_ones(tmp_path, excerpt):
    run_figure(tmp_path, "s7", excerpt)
    rows = own_rows("s7", tmp_path / "s7")
    axes = experiment_figures.against(rows, "simulation.frames", "frames").axes
    for ax, published in zip(axes, ([0.45, 0.936, 0.998, 1, 1], None), strict=True):
        lines = {line.get_label(): line for line in ax.lines}
        assert ax.get_xlabel() == "frames" and ax.get_ylabel()
        assert list(lines["published"].get_xdata()) == [10_000 * k for k in range(1, 6)]
        if published is not None:
            assert list(lines["published"].get_ydata()) == published
        (ours,) = (one for one in ax.containers if one.get_label() == "this book")
        assert len(ours.lines[0].get_xdata()) == 5
    unpublished = [row | {"published_r2": None, "published_slope": None} for row in rows]
    axes = experiment_figures.against(unpublished, "simulation.frames", "frames").axes
    assert not any(line.get_label() == "published" for ax in axes for line in ax.lines)


def test_losses_and_roll_outs_of_other_networks_are_drawn(excerpt):
    other = replace(excerpt, other_drift=excerpt.drift[:2])
    (ax,) = experiment_figures.losses({"one": excerpt, "other": excerpt}).axes
    assert [line.get_label() for line in ax.lines] == ["one", "other"]
    assert len(ax.lines[0].get_ydata()) == len(excerpt.loss)
    axes = experiment_figures.drifts({"S5": other, "S6": other}).axes
    assert [ax.get_title() for ax in axes] == ["S5", "S6"]
    assert all(len(ax.lines) == 3 for ax in axes)  # two states and their median
