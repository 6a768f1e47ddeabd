"""A run: its stages, each computed once and kept under the hash of what determines it.

simulate → infer → score. The folder of a stage is keyed by the configuration sections it
depends on, the content of its input files, the source of the modules it uses and the key of
the stage before it. A changed parameter therefore never meets a stale result, and an
unchanged one is never computed twice.
"""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file

from figures_lib.config import (
    ConfigError,
    Connectivity,
    Experiment,
    ExternalInput,
    load_experiment,
    read_overrides,
    shown,
)
from figures_lib.connectivity import draw_connectivity
from figures_lib.fields import load_movie
from figures_lib.health import InferenceError
from figures_lib.inference import infer
from figures_lib.limits import check_disk, check_memory
from figures_lib.measuring import processor
from figures_lib.model import Model, Sweep
from figures_lib.plans import QUICK, TINY, Plan
from figures_lib.recording import Recording, Truth
from figures_lib.scoring import Scores, score
from figures_lib.simulator import simulate_to_disk
from figures_lib.stages import DONE, damage, keep
from figures_lib.storage import file_digest, part_of, read_json, write_json, writing

Located = TypeVar("Located", Connectivity, ExternalInput)
ROOT = Path(__file__).resolve().parent.parent
SIMULATE_CODE = ("config", "connectivity", "fields", "positions", "recording", "simulator")
INFER_CODE = (
    *("acceleration", "clusters", "config", "fitting", "gauge", "gnn", "health", "inference"),
    *("model", "recording", "shards", "siren", "sweeps", "tables", "windows"),
)
BENCHMARK_CODE = (
    *("ablation", "benchmark", "measurements", "measuring", "message_passing", "plans"),
    "rivals",
)
SCORE_CODE = ("gauge", "health", "model", "rollout", "scoring", "simulator", "tables")
UNDATED = {"png": None, "svg": {"Date": None}}  # the same result is the same file
LAST_GOOD = "last_good.safetensors"
PACKAGES = ("torch", "torch_geometric", "numpy", "scipy", "matplotlib", "jupyter-book")


@dataclass(frozen=True)
class Run:
    """An experiment and the folder that holds its results.

    Attributes:
        experiment: what is run.
        out: folder of stages, figures, ``metrics.json`` and ``provenance.json``.
    """

    experiment: Experiment
    out: Path

    def check(self) -> None:
        """Raise, early, the ConfigError of what cannot be used or cannot fit."""
        _ = self.device
        settings, inputs = self.experiment, self.experiment.simulation.input_neurons
        check_memory(settings)
        if settings.external_input.source is not None:
            load_movie(settings.external_input, max(1, round(inputs**0.5)), settings.seed)
        if settings.connectivity.source is not None:
            draw_connectivity(
                settings.connectivity, settings.simulation.neurons, torch.Generator()
            )
        if not self._folder("simulate").exists():
            check_disk(settings, self.out)

    def simulate(
        self, progress: Callable[[int, int], None] | None = None
    ) -> tuple[Recording, Truth]:
        """The recording and the truth behind it, simulated unless already there."""

        def compute(folder: Path) -> None:
            check_memory(self.experiment)
            check_disk(self.experiment, self.out)
            for part in ("recording", "truth"):
                (folder / part).mkdir()
            where = folder / "recording"
            _, truth = simulate_to_disk(self.experiment, where, self.device, progress)
            truth.save(folder / "truth")

        folder = self._stage("simulate", self._simulate_key(), compute)
        return Recording.load(folder / "recording"), Truth.load(folder / "truth")

    def infer(self, progress: Callable[[Sweep], None] | None = None) -> Model:
        """The inferred model; inference is handed the recording and nothing of the truth.

        When the model is there already, ``progress`` is called with the sweeps that found it.
        If inference diverges, the last good estimate is kept in ``last_good.safetensors``.
        """
        computed = []

        def compute(folder: Path) -> None:
            recording = Recording.load(self._folder("simulate") / "recording")
            last_good = self.out / LAST_GOOD
            last_good.unlink(missing_ok=True)
            try:
                infer(recording, self.experiment, self.device, progress).save(folder)
            except InferenceError as error:
                if error.last_good is not None:
                    part = part_of(last_good)
                    save_file(dict(error.last_good), part)
                    part.replace(last_good)
                raise
            computed.append(folder)

        self.simulate()
        model = Model.load(self._stage("infer", self._infer_key(), compute))
        if progress is not None and not computed:
            for sweep in model.history.sweeps:
                progress(sweep)
        return model

    @property
    def inferred(self) -> bool:
        """Whether the model is there, complete and unchanged."""
        return damage(self._folder("infer")) is None

    def assist(self) -> None:
        """Take part in an inference that the first of several processes keeps."""
        recording = self._folder("simulate") / "recording"
        infer(Recording.load(recording), self.experiment, self.device)

    def score(self) -> Scores:
        """Scores of the model against the truth; writes metrics and provenance."""
        recording, truth = self.simulate()
        model = self.infer()

        def compute(folder: Path) -> None:
            score(recording, truth, model).save(folder)

        scores = Scores.load(self._stage("score", self._score_key(), compute))
        write_json(self.out / "metrics.json", self._metrics(scores.metrics))
        write_json(self.out / "provenance.json", self._provenance())
        return scores

    def metrics(self) -> dict[str, Any]:
        """The content of ``metrics.json``, computed if need be."""
        self.score()
        return read_json(self.out / "metrics.json")

    def doubts(self) -> list[str]:
        """Why some weights cannot be told from the activity; empty before there are scores."""
        file = self.out / "metrics.json"
        return read_json(file)["identifiability.reasons"] if file.exists() else []

    def benchmark(self) -> dict[str, Any]:
        """The benchmark that the book shows.

        ``benchmark.json`` in the folder of the run, written by ``figures_lib bench``, goes
        first; without it the quick plan is measured here, once.
        """
        given = self.out / "benchmark.json"
        if given.exists():
            return read_json(given)
        # brings torch_geometric along, which every notebook would wait for
        from figures_lib.benchmark import benchmark

        plan = self._benchmark_plan

        def compute(folder: Path) -> None:
            write_json(folder / "benchmark.json", benchmark(plan))

        code = _sources((*SIMULATE_CODE, *INFER_CODE, *SCORE_CODE, *BENCHMARK_CODE))
        key = _digest(plan.name, self.device, processor(), os.cpu_count(), code)
        return read_json(self._stage("benchmark", key, compute) / "benchmark.json")

    @property
    def _benchmark_plan(self) -> Plan:
        """The quick plan, or the tiny one for a run that is itself a test."""
        small = self.experiment.simulation.neurons <= max(TINY.scaling)
        return TINY if small else QUICK

    def save_figure(self, figure: Figure, name: str) -> Figure:
        """Write a figure as ``figures/NAME.png`` and ``.svg``; hand it back for display."""
        folder = self.out / "figures"
        with writing(folder), plt.rc_context({"svg.hashsalt": name}):
            folder.mkdir(parents=True, exist_ok=True)
            for suffix in ("png", "svg"):
                place = folder / f"{name}.{suffix}"
                part = part_of(place)
                figure.savefig(part, dpi=150, bbox_inches="tight", metadata=UNDATED[suffix])
                part.replace(place)
        plt.close(figure)  # or the notebook would show it twice
        return figure

    @property
    def device(self) -> str:
        """Where to compute: ``cpu`` or ``cuda``."""
        if self._device_name == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device: 'cuda' was asked for but none is available; use 'auto'")
        return self._device_name

    @property
    def _device_name(self) -> str:
        """As ``device``, also on a machine that only plans runs for others."""
        if self.experiment.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.experiment.device

    @property
    def finished(self) -> bool:
        """Whether the metrics of this very configuration and code are there, undamaged."""
        if damage(self._folder("score")) is not None:
            return False
        try:
            metrics = read_json(self.out / "metrics.json")
        except ConfigError:
            return False
        return metrics.get("config_hash") == self.config_hash

    def key(self, stage: str) -> str:
        """Hash of all that determines a stage: ``simulate``, ``infer`` or ``score``."""
        return self._folder(stage).name

    def _simulate_key(self) -> str:
        settings, external = self.experiment, self.experiment.external_input
        return _digest(
            settings.simulation.model_dump(),
            [one.model_dump() for one in settings.neuron_types],
            settings.connectivity.model_dump(exclude={"source"}),
            external.model_dump(exclude={"source"}),
            [_content(source) for source in (settings.connectivity.source, external.source)],
            settings.seed,
            self._device_name,
            _sources(SIMULATE_CODE),
        )

    def _infer_key(self) -> str:
        settings = self.experiment
        return _digest(
            self._simulate_key(),
            settings.inference.model_dump(),
            settings.graph_network.model_dump(),
            settings.field_network.model_dump(),
            _sources(INFER_CODE),
        )

    def _score_key(self) -> str:
        return _digest(self._infer_key(), _sources(SCORE_CODE))

    def _folder(self, stage: str) -> Path:
        key = {
            "simulate": self._simulate_key,
            "infer": self._infer_key,
            "score": self._score_key,
        }[stage]()
        return self.out / "stages" / f"{stage}-{key}"

    def _stage(self, stage: str, key: str, compute: Callable[[Path], None]) -> Path:
        """The complete folder of a stage, computed unless it is there and sound."""
        return keep(self.out / "stages" / f"{stage}-{key}", compute)

    def _done(self) -> dict[str, dict[str, Any]]:
        stages = ("simulate", "infer", "score")
        return {stage: read_json(self._folder(stage) / DONE) for stage in stages}

    def _metrics(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        done = self._done()
        known = {key: None if value != value else value for key, value in scores.items()}
        return {
            **known,  # JSON has no NaN: without a movie there is no score of one
            "time.simulate_s": done["simulate"]["seconds"],
            "time.infer_s": done["infer"]["seconds"],
            "time.total_s": sum(stage["seconds"] for stage in done.values()),
            "memory.peak_bytes": max(stage["peak_bytes"] for stage in done.values()),
            "device": self.device,
            "profile": self.experiment.profile,
            "seed": self.experiment.seed,
            "config_hash": self.config_hash,
        }

    @property
    def config_hash(self) -> str:
        """Hash of every setting that can change a result, whatever the code."""
        described = self.experiment.model_dump(exclude={"profile"})
        for section in ("connectivity", "external_input"):
            described[section]["source"] = _content(described[section]["source"])
        return _digest(described)

    def _provenance(self) -> dict[str, Any]:
        config = self.experiment.model_dump(mode="json")
        for section in ("connectivity", "external_input"):
            if config[section]["source"] is not None:
                config[section]["source"] = Path(config[section]["source"]).name
        return {
            "config": config,
            "config_hash": self.config_hash,
            "seed": self.experiment.seed,
            "commit": _commit(),
            "python": platform.python_version(),
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "device": self.device,
            "processor": processor(),
            "cores": os.cpu_count(),
            "stages": {name: stage["sha256"] for name, stage in self._done().items()},
        }


def open_run(
    config: str | Path,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | str | None = None,
    seed: int | None = None,
) -> Run:
    """Open a run: read the configuration and name the folder of its results.

    Args:
        config: YAML file; a relative path is looked up in the working directory, then in the
            root of the repository, so that notebooks work from both.
        out: folder of the results; a relative one that exists is looked up like ``config``.
            Default ``runs/PROFILE`` in the root of the repository.
        overrides: dotted keys and values that replace those of the file; text is read as YAML.
        seed: replaces the seed of the file.

    Raises:
        ConfigError: the configuration cannot be run.
    """
    for name, value in (("config", config), ("out", out or "")):
        if not isinstance(value, str | Path):
            raise ConfigError(f"{name}: expected a path (found {shown(value, 80)}); quote it")
    changes = read_overrides(overrides) | ({} if seed is None else {"seed": seed})
    experiment = load_experiment(find_input(config), changes)
    external, weights = experiment.external_input, experiment.connectivity
    experiment = experiment.model_copy(
        update={
            "external_input": _located(external, "external_input"),
            "connectivity": _located(weights, "connectivity"),
        }
    )
    folder = ROOT / "runs" / experiment.profile if out is None else find_input(out)
    try:
        return Run(experiment, folder.resolve())
    except (OSError, RuntimeError) as error:  # links that lead in a circle
        raise ConfigError(f"out: {folder}: {error}; name another folder") from None


def find_input(path: str | Path) -> Path:
    """A file as the user names it: from the working directory, or else from the repository.

    Raises:
        ConfigError: no file can have this name.
    """
    path, elsewhere = Path(path), ROOT / path
    try:
        return elsewhere if elsewhere.exists() and not path.exists() else path
    except OSError as error:
        raise ConfigError(f"{str(path):.80}…: {error.strerror}; name another file") from None


def input_files(experiment: Experiment) -> dict[str, str]:
    """The files that an experiment reads, by the dotted keys that name them."""
    external, weights = experiment.external_input, experiment.connectivity
    sources = {"external_input.source": external.source, "connectivity.source": weights.source}
    return {key: path for key, path in sources.items() if path}


def _located(section: Located, name: str) -> Located:
    """A section with its source as a file that is found from here."""
    if section.source is None:
        return section
    try:
        return section.model_copy(update={"source": str(find_input(section.source))})
    except ConfigError as error:
        raise ConfigError(f"{name}.source: {error}") from None


def _content(source: str | None) -> list[str] | None:
    """Hash of a file, or of every file of a folder; an absent one is reported by its reader."""
    if source is None:
        return None
    path = Path(source)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file_digest(file) if file.is_file() else "" for file in files]


def _sources(modules: Iterable[str]) -> list[str]:
    """The code version of a stage: hashes of the modules that it uses."""
    return [_LOADED[module] for module in modules]


# Read once, with the code itself: a file that is edited later is not what this process runs.
_LOADED = {
    module: file_digest(Path(__file__).with_name(f"{module}.py"))
    for module in {*SIMULATE_CODE, *INFER_CODE, *SCORE_CODE, *BENCHMARK_CODE}
}


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
