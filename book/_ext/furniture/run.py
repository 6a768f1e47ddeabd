"""What the pages show of a run: its numbers and its origin as text, and files to download."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures_lib.config import load_experiment
from figures_lib.paths import ROOT
from figures_lib.runs.files import read_json

PROGRAM = ".venv/bin/python -m figures_lib"
METHODS = {  # of inference, in words
    "sweeps": "alternating least squares",
    "gradient": "stochastic gradients in all unknowns together",
}
PUBLISHED = {  # of Figure 3
    "published_connectivity": "0.993, 1.03, corrected with the true weights",
    "published_r2": "0.993, corrected with the true weights",
    "published_slope": "1.03, likewise",
    "published_field": "0.975",
    "published_types": "4 separate clusters",
    "published_functions": "not given",
    "published_time": "about a day on a data-centre GPU",
}
PUBLISHED_MOVIE = "b933bcba00b0eef2c54646a615e6ae8d0027c7014ed74d7bdf08cdde9d0cef0f"  # SHA-256
FOLDER = "run"  # folder of the site that holds what can be downloaded
OTHERS = (  # how a page gets results of which the run is not the source, and what makes them
    (r"fl\.benchmark_results\(", f"{PROGRAM} bench --json benchmark.json"),
    (r"fl\.study_results\(", "make studies"),
    (r'fl\.shipped_results\(run, "(\w+)"', r"make result-\1"),
    (r'fl\.experiments\(run, "(\w+)"', r"make figure FIG=\1"),
    (r"fl\.experiments\(run\)", "make paper"),
)


def texts(run_folder: Path, checks: Path) -> dict[str, str]:
    """Every substitution of the book: the numbers, the origin and the downloads of a run.

    Args:
        run_folder: folder of a run, with ``metrics.json`` and ``provenance.json``.
        checks: file with the numbers of the tests.
    """
    metrics = read_json(run_folder / "metrics.json")
    provenance = read_json(run_folder / "provenance.json")
    return {
        **substitutions(metrics),
        "verdict": verdict(metrics["diagnosis.reasons"]),
        "method": METHODS[metrics["inference.method"]],
        "movie": movie(provenance["config"]),
        **published(provenance["config"], provenance["inputs"]),
        **substitutions(read_json(checks)),
        **provenance_texts(provenance),
        "downloads": _downloads_list(downloads(run_folder)),
    }


def verdict(reasons: list[str]) -> str:
    """The diagnosis of a run in one sentence."""
    return f"No: {'; '.join(reasons)}." if reasons else "Yes: nothing speaks against it."


def movie(config: dict[str, Any]) -> str:
    """The hidden movie of a run, in words."""
    if not config["simulation"]["input_neurons"]:
        return "no movie"
    source = config["external_input"]["source"]
    return f"the movie `{source}`" if source else "the project's own movie of a walking animal"


def published(config: dict[str, Any], inputs: dict[str, str]) -> dict[str, str]:
    """The published results, where the run has the published setting and movie.

    Args:
        config: every setting of the run.
        inputs: checksums of its input files.

    Returns:
        A text for each name in ``PUBLISHED``, and ``published_note``, which says whether the
        numbers of the run may be compared with them.
    """
    setting = load_experiment(ROOT / "config" / "fig3.yaml").model_dump(mode="json")
    sections = ("simulation", "neuron_model", "neuron_types", "connectivity")
    other = []
    if any(config[name] != setting[name] for name in sections):
        other.append("another network or recording")
    if inputs.get("external_input.source") != PUBLISHED_MOVIE:
        other.append("another movie")
    if not other:
        return {**PUBLISHED, "published_note": "It has the published network and movie."}
    note = (
        f"It has {' and '.join(other)} than the paper, so its numbers stand alone: the "
        "published ones are for the published network and movie."
    )
    return {**dict.fromkeys(PUBLISHED, "–"), "published_note": note}


def commit(run_folder: Path) -> str | None:
    """The commit that a run was made with; None where there was no repository."""
    return read_json(run_folder / "provenance.json")["commit"]


def copy_downloads(run_folder: Path, site: Path) -> None:
    """Copy what readers may take from a run into a site."""
    dark = [path.relative_to(run_folder) for path in run_folder.glob("figures/dark/[!.]*.png")]
    for path in [*downloads(run_folder), *dark]:
        (site / FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(run_folder / path, site / FOLDER / path)


def substitutions(metrics: dict[str, Any]) -> dict[str, str]:
    """Metrics as the texts that the prose shows: ``connectivity.r2`` → ``connectivity_r2``."""
    return {key.replace(".", "_"): _shown(key, value) for key, value in metrics.items()}


def _shown(key: str, value: Any) -> str:
    if key.endswith("_bytes"):
        return f"{value / 1e9:.2f}"  # GB
    if value is None:
        return "–"  # without a movie there is no score of one
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if key.startswith("time."):
        return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
    if key.startswith("edges.") or key.endswith(("r2", "r2_gauge_free", "alignment")):
        return f"{value:.4f}" if value < 0.9999 or value == 1 else f"{value:.6f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.3f}"


def downloads(run_folder: Path) -> list[Path]:
    """What readers may take from a run, relative to its folder."""
    # no hidden files: another process may be writing these
    kinds = ("[!.]*.json", "notebooks/[!.]*.ipynb", "figures/[!.]*.svg", "figures/[!.]*.png")
    return [
        path.relative_to(run_folder) for kind in kinds for path in sorted(run_folder.glob(kind))
    ]


@dataclass(frozen=True)
class FigureFiles:
    """The files of a figure, as addresses in the site.

    Attributes:
        drawing: the vector graphics.
        bitmap: the pixels.
        dark: the pixels for a dark page; a run of an earlier version has none.
    """

    drawing: str
    bitmap: str
    dark: str | None


def figure_files(run_folder: Path) -> dict[str, FigureFiles]:
    """The files of every figure of a run, by its name."""
    folder = f"{FOLDER}/figures"
    return {
        path.stem: FigureFiles(
            f"{folder}/{path.name}",
            f"{folder}/{path.stem}.png",
            f"{folder}/dark/{path.stem}.png"
            if (path.parent / "dark" / f"{path.stem}.png").exists()
            else None,
        )
        for path in run_folder.glob("figures/[!.]*.svg")
    }


def _downloads_list(files: list[Path]) -> str:
    """A list of links, one item a name, with its formats."""
    formats: dict[Path, list[str]] = {}
    for path in files:
        link = f'<a href="../{FOLDER}/{path.as_posix()}" download>{path.suffix[1:]}</a>'
        formats.setdefault(path.with_suffix(""), []).append(link)
    return "\n".join(f"- {name.name}: {', '.join(one)}" for name, one in formats.items())


def provenance_texts(provenance: dict[str, Any]) -> dict[str, str]:
    """The parts of ``provenance.json`` that the book shows, as text; checksums as a table.

    Raises:
        KeyError: another version of the package wrote it.
    """
    rows = [
        f"| {stage} | {name} | `{checksum}` |"
        for stage, files in provenance["stages"].items()
        for name, checksum in files.items()
    ]
    config = provenance["config"]
    seed, movie = config["seed"] + 1, {**config["external_input"], "source": "MOVIE.tif"}
    commands = {
        "command": command_for(config),
        "command_seed": run_command({**config, "seed": seed}, f"runs/seed{seed}"),
        "command_bench": f"{PROGRAM} bench --json runs/{config['profile']}/benchmark.json",
        "command_movie": run_command({**config, "external_input": movie}, "runs/movie"),
    }
    return {
        **{name: f"`{command}`" for name, command in commands.items()},
        "commit": f"`{provenance['commit']}`",
        **{name: str(provenance[name]) for name in ("python", "processor", "cores")},
        "packages": ", ".join(f"{name} {v}" for name, v in provenance["packages"].items()),
        "checksums": "\n".join(["| stage | file | SHA-256 |", "|---|---|---|", *rows]),
    }


def settings(run_folder: Path) -> dict[str, Any]:
    """Every setting of a run."""
    found: dict[str, Any] = read_json(run_folder / "provenance.json")["config"]
    return found


def command_for(config: dict[str, Any]) -> str:
    """The command that repeats a run: that of its profile, or that of all its settings.

    Args:
        config: every setting of the run, as in ``provenance.json``; input files by name only.
    """
    name, changes = _nearest(config)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    profile = re.search(rf"^CONFIG_(\w+) = {re.escape(name)}$", makefile, re.M)
    if profile and not changes:
        return f"make book PROFILE={profile.group(1)}"
    return run_command(config, f"runs/{config['profile']}")


def command_for_page(code: str, command_of_run: str) -> str:
    """The command that makes the results of a page again: for most of them, that of the run.

    Args:
        code: of the page.
        command_of_run: see :func:`command_for`.
    """
    for pattern, command in OTHERS:
        if found := re.search(pattern, code):
            return found.expand(command)
    return command_of_run


def run_command(config: dict[str, Any], out: str) -> str:
    """The command that executes a run: the nearest configuration file and the differences.

    Args:
        config: as for :func:`command_for`.
        out: folder of the results.
    """
    name, changes = _nearest(config)
    overrides = "".join(
        f" -p {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in changes.items()
    )
    return f"{PROGRAM} run --config {name}{overrides} --out {out}"


def _nearest(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The configuration file with the fewest differences from a run, and the differences."""
    changes = {
        f"config/{path.name}": dict(
            _changes(load_experiment(path).model_dump(mode="json"), config)
        )
        for path in sorted((ROOT / "config").glob("*.yaml"))
    }
    return min(changes.items(), key=lambda item: len(item[1]))


def _changes(file: Any, run: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys on which a run differs from a file, and its values."""
    if isinstance(run, dict) and isinstance(file, dict):
        parts = [(file.get(name, ...), value, str(name)) for name, value in run.items()]
    elif isinstance(run, list) and isinstance(file, list) and len(run) == len(file):
        parts = [(*pair, str(at)) for at, pair in enumerate(zip(file, run, strict=True))]
    else:
        if file != run:
            yield key, run
        return
    for before, after, name in parts:
        yield from _changes(before, after, f"{key}.{name}" if key else name)
