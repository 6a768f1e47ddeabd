"""The origin of a run: its settings, the machine, versions, checksums and the command."""

import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from figures_lib.config import Experiment, input_files, load_experiment
from figures_lib.paths import ROOT

PROGRAM = ".venv/bin/python -m figures_lib"
PACKAGES = ("torch", "torch_geometric", "numpy", "scipy", "matplotlib", "jupyter-book")


def provenance(
    experiment: Experiment,
    device: str,
    config_hash: str,
    records: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of ``provenance.json``; input files by their names alone.

    Args:
        experiment: what was run.
        device: where it was computed.
        config_hash: hash of its settings.
        records: the record of each stage, see :func:`figures_lib.runs.stages.read_record`.
    """
    config = experiment.model_dump(mode="json")
    for key, path in input_files(experiment).items():
        section, name = key.split(".")
        config[section][name] = Path(path).name
    return {
        "config": config,
        "config_hash": config_hash,
        "seed": experiment.seed,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "device": device,
        "processor": processor(),
        "cores": os.cpu_count(),
        "stages": {name: record["sha256"] for name, record in records.items()},
    }


def processor() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


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
