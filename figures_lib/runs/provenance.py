"""The origin of a run: its settings, the machine, versions and checksums."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from figures_lib.config import Experiment, input_files
from figures_lib.paths import ROOT
from figures_lib.runs.files import file_digest

SHOWN = (  # parts of provenance.json that the pages show
    *("config", "commit", "python", "packages", "processor", "cores", "stages"),
)
PACKAGES = ("torch", "torch_geometric", "numpy", "scipy", "matplotlib", "jupyter-book")


def provenance(
    experiment: Experiment,
    device: str,
    config_hash: str,
    records: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of ``provenance.json``; input files by their names and checksums.

    Args:
        experiment: what was run.
        device: where it was computed.
        config_hash: hash of its settings.
        records: the record of each stage, see :func:`figures_lib.runs.stages.read_record`.
    """
    config, inputs = experiment.model_dump(mode="json"), {}
    for key, path in input_files(experiment).items():
        section, name = key.split(".")
        config[section][name] = Path(path).name
        if Path(path).is_file():
            inputs[key] = file_digest(Path(path))
    return {
        "config": config,
        "inputs": inputs,
        "config_hash": config_hash,
        "seed": experiment.seed,
        **machine(),
        "device": device,
        "stages": {name: record["sha256"] for name, record in records.items()},
    }


def machine() -> dict[str, Any]:
    """Commit, versions, processor and date of what is computed now."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "processor": processor(),
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).date().isoformat(),
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
