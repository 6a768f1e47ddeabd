"""Keys of stages: hashes of all that determines a result, so that no stale one is reused.

A stage is determined by the configuration that it reads, by the content of its input files, by
its code and by the stage before it. Its code is its entry module and everything that this
module imports, found from the import statements.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grimp

from figures_lib.config import Experiment, input_files
from figures_lib.paths import ROOT
from figures_lib.runs.files import file_digest
from figures_lib.simulate.movie_file import movie_files

PACKAGE = "figures_lib"
ENTRY = {  # module whose imports are the code of a stage
    "simulate": f"{PACKAGE}.simulate.integrate",
    "infer": f"{PACKAGE}.infer.algorithm",
    "score": f"{PACKAGE}.score.scoring",
    "benchmark": f"{PACKAGE}.bench.benchmark",
    "read": f"{PACKAGE}.recordings.reading",
}


@dataclass(frozen=True)
class Keys:
    """The keys of a run.

    Attributes:
        simulate: key of the recording and the truth.
        infer: key of the model.
        score: key of the scores.
        config: hash of every setting that can change a result, independent of the code.
    """

    simulate: str
    infer: str
    score: str
    config: str


def keys_of(experiment: Experiment, device: str) -> Keys:
    """The keys of an experiment, with the input files as they are now.

    Args:
        experiment: what is run.
        device: where it is computed.
    """
    learner = experiment.learner
    described = experiment.model_dump(exclude={"profile"})
    for key, path in input_files(experiment).items():
        section, name = key.split(".")
        described[section][name] = _content(Path(path))
    simulate = digest(
        {name: described[name] for name in ("simulation", "neuron_model", "neuron_types")},
        {name: described[name] for name in ("connectivity", "external_input", "seed")},
        device,
        code_version("simulate"),
    )
    infer = digest(simulate, learner.model_dump(), code_version("infer"))
    return Keys(
        simulate=simulate,
        infer=infer,
        score=digest(infer, described["other_network"], code_version("score")),
        config=digest(described),
    )


def digest(*parts: Any) -> str:
    """A short hash of values that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_of(stage: str) -> set[str]:
    """The modules that determine a stage: its entry module and all that it imports.

    Imports inside functions count as well. The ``__init__`` of the package does not count: it
    imports everything and computes nothing.

    Args:
        stage: one of ``ENTRY``.
    """
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    entry = ENTRY[stage]
    used = {entry, *graph.find_upstream_modules(entry)}
    packages = {module.rpartition(".")[0] for module in used}  # which Python imports first
    return (used | packages) - {PACKAGE}


@cache
def code_version(stage: str) -> str:
    """A hash of the code of a stage, as this process has loaded it."""
    return digest(sorted((module, LOADED[module]) for module in code_of(stage)))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Read at import: if a file is edited later, this process still runs the earlier code.
LOADED = {_module(path): file_digest(path) for path in (ROOT / PACKAGE).rglob("*.py")}


def _content(path: Path) -> list[list[str]]:
    """Names and digests of the files that a reader reads, in its order.

    Of a single file only the suffix counts, by which its reader is chosen. A missing file is
    skipped: its reader reports it.
    """
    names = {file: file.name if path.is_dir() else file.suffix for file in movie_files(path)}
    return [[name, file_digest(file)] for file, name in names.items() if file.is_file()]
