"""The experiments of the paper: our results and excerpts of them beside the published numbers.

Every figure of the paper has a sweep in ``config/figures``. Its rows, less what no page shows,
and an excerpt of each first run come with the book; those of a reader's own take their place.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figures_lib.errors import ConfigError
from figures_lib.paths import ROOT, SHIPPED
from figures_lib.runs.excerpt import Excerpt, excerpt_file
from figures_lib.runs.files import read_json, write_json
from figures_lib.runs.run import Run
from figures_lib.studies.points import Study, load_study
from figures_lib.studies.results import NAME, STATUS, Row, done, read_results, write_csv

FIGURES = ROOT / "config" / "figures"
PUBLISHED = FIGURES / "published.csv"
EXPERIMENTS = "experiments"
EXCERPTS = "excerpts"
FIGURE = "figure"
SETTINGS = ("simulation.frames", "connectivity.density")
METRICS = (
    *("connectivity.r2_gauge_free", "types.n_found", "types.accuracy"),
    *("phi.max_error", "psi.max_error", "rollout.r2_400", "rollout.r2_800"),
    *("other_network.r2_400", "other_network.r2_800"),
    *("diagnosis.reasons", "diagnosis.heldout_r2", "time.infer_s", "memory.peak_bytes"),
)


def names() -> list[str]:
    """The figures of the paper that have a sweep, in the order of the paper."""
    found = [path.stem for path in FIGURES.glob("*.yaml")]
    return sorted(found, key=lambda name: (name.startswith("s"), int(name.lstrip("figs"))))


def sweep_of(name: str) -> Study:
    """The runs of a figure at the published size.

    Raises:
        ConfigError: no figure has this name.
    """
    if name not in names():
        raise ConfigError(f"figure: {name!r} is unknown; use one of {', '.join(names())}")
    return load_study(FIGURES / f"{name}.yaml")


def experiments(run: Run, *chosen: str) -> list[Row]:
    """One row per run of every figure: those of the book, or of the reader where there are any.

    The reader's are those that ``make figure`` has left in ``figures/NAME`` beside the run.

    Args:
        run: beside which they are looked for.
        chosen: names of figures; by default all.

    Raises:
        ConfigError: there are no such results.
    """
    shipped, rows = read_results(SHIPPED / f"{EXPERIMENTS}.csv"), []
    for name in chosen or names():
        own = own_rows(name, run.out.parent / "figures" / name)
        rows += own or [row for row in shipped if row[FIGURE] == name]
    return rows


def excerpts(run: Run, name: str) -> dict[str, Excerpt]:
    """The excerpts of a figure by the names of their runs, in the order of its sweep."""
    own, found = run.out.parent / "figures" / name, {}
    for point in sweep_of(name).points:
        files = excerpt_file(own, point.name), _shipped_excerpt(SHIPPED, name, point.name)
        file = next((file for file in files if file.exists()), None)
        if file is not None:
            found[point.name] = Excerpt.load(file)
    return found


def _shipped_excerpt(book: Path, name: str, run_name: str) -> Path:
    return book / EXCERPTS / name / f"{run_name}.safetensors"


def own_rows(name: str, folder: Path) -> list[Row]:
    """What a sweep of a figure at its published size has found; nothing before it has ended."""
    about = folder / "provenance.json"
    if not about.exists() or read_json(about)["quick"]:
        return []
    published = read_results(PUBLISHED)
    return [_row(name, row, published) for row in done(read_results(folder / "results.csv"))]


def _row(name: str, row: Row, published: Sequence[Row]) -> Row:
    printed = _published(name, row, published)
    return {
        FIGURE: name,
        "method": row["inference.method"],
        "seed": row["seed"],
        "connectivity.r2": row["connectivity.r2"],
        "connectivity.slope": row["connectivity.slope"],
        "published_r2": printed.get("connectivity.r2"),
        "published_slope": printed.get("connectivity.slope"),
        "trusted": row["diagnosis.trusted"],
        "seconds": row["time.total_s"],
        "command": f"make figure FIG={name}",
        NAME: row[NAME],
        STATUS: row[STATUS],
        **{key: row.get(key) for key in (*SETTINGS, *METRICS)},
        **{
            f"published_{key}": printed.get(key)
            for key in METRICS
            if key.startswith(("rollout.", "other_network."))
        },
    }


def _published(name: str, row: Mapping[str, Any], published: Sequence[Row]) -> Row:
    """The published numbers of the settings of a row; empty if there are none."""
    for one in published:
        settings = {key: one[key] for key in SETTINGS if one[key] is not None}
        if one[FIGURE] == name and all(row.get(k) == value for k, value in settings.items()):
            return one
    return {}


def all_own_rows(figures: Path) -> dict[str, list[Row]]:
    """The rows of every figure that has been run at its published size.

    Args:
        figures: a folder with the folder of a sweep for each figure.

    Raises:
        ConfigError: none has been run.
    """
    found = {name: rows for name in names() if (rows := own_rows(name, figures / name))}
    if not found:
        raise ConfigError(
            f"{figures}: holds no results of figures at their published size; run "
            "`make figure FIG=…` first"
        )
    return found


def collect(figures: Path, found: Mapping[str, list[Row]], book: Path) -> None:
    """Replace the shipped results of every figure that has been run, and keep the others.

    Args:
        figures: as for :func:`all_own_rows`.
        found: what that returned.
        book: folder of the shipped results.
    """
    table, about = book / f"{EXPERIMENTS}.csv", book / f"{EXPERIMENTS}.json"
    rows = read_results(table) if table.exists() else []
    rows = [row for row in rows if row[FIGURE] not in found]
    rows += [row for own in found.values() for row in own]
    for name, own in found.items():
        shutil.rmtree(book / EXCERPTS / name, ignore_errors=True)
        first = min(row["seed"] for row in own)
        for row in own:
            target = _shipped_excerpt(book, name, row[NAME])
            if row["seed"] == first:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(excerpt_file(figures / name, row[NAME]), target)
    order = names()
    write_csv(table, sorted(rows, key=lambda row: order.index(row[FIGURE])))
    origins = read_json(about) if about.exists() else {}
    new = {name: read_json(figures / name / "provenance.json") for name in found}
    write_json(about, origins | new)
