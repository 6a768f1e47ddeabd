"""A run: its stages, each computed once and kept under the hash of all that determines it.

simulate → infer → score. The folder of a stage is named after its key
(:mod:`figures_lib.runs.keys`). A changed parameter therefore never meets a stale result, and an
unchanged one is never computed twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file

from figures_lib.config import Connectivity, Experiment, ExternalInput, load_experiment
from figures_lib.errors import ConfigError, InferenceError, shown
from figures_lib.infer.algorithm import infer
from figures_lib.model.inferred import Model, SweepReport
from figures_lib.paths import ROOT, find_input
from figures_lib.recording import Recording
from figures_lib.runs.cost import check_disk, check_memory
from figures_lib.runs.files import part_of, read_json, write_json
from figures_lib.runs.keys import Keys, keys_of
from figures_lib.runs.provenance import provenance
from figures_lib.runs.stages import damage, keep, read_record
from figures_lib.score.scoring import Scores, score
from figures_lib.simulate.integrate import simulate_to_disk
from figures_lib.simulate.movie import load_movie
from figures_lib.simulate.network import draw_connectivity
from figures_lib.simulate.truth import Truth, draw_other
from figures_lib.yaml_file import read_overrides

Located = TypeVar("Located", Connectivity, ExternalInput)
STAGES = ("simulate", "infer", "score")
LAST_GOOD = "last_good.safetensors"


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
        """Check early that the inputs can be used and that memory and disk suffice.

        Raises:
            ConfigError: the first problem found.
        """
        _ = self.device
        settings, inputs = self.experiment, self.experiment.simulation.input_neurons
        check_memory(settings)
        if settings.external_input.source is not None:
            load_movie(settings.external_input, max(1, round(inputs**0.5)), settings.seed)
        if settings.connectivity.source is not None:
            draw_connectivity(
                settings.connectivity, settings.simulation.neurons, torch.Generator()
            )
        if not self.folder("simulate").exists():
            check_disk(settings, self.out)

    def simulate(
        self, progress: Callable[[int, int], None] | None = None
    ) -> tuple[Recording, Truth]:
        """The recording and its truth, simulated unless a complete result exists."""

        def compute(folder: Path) -> None:
            check_memory(self.experiment)
            check_disk(self.experiment, self.out)
            for part in ("recording", "truth"):
                (folder / part).mkdir()
            where = folder / "recording"
            _, truth = simulate_to_disk(self.experiment, where, self.device, progress)
            truth.save(folder / "truth")

        folder = keep(self.folder("simulate"), compute)
        return Recording.load(folder / "recording"), Truth.load(folder / "truth")

    def infer(self, progress: Callable[[SweepReport], None] = lambda report: None) -> Model:
        """The inferred model; inference receives the recording and nothing of the truth.

        If a complete model exists, ``progress`` is called with the sweeps of its history.
        If inference diverges, the last good estimate is kept in ``last_good.safetensors``.
        A training keeps its checkpoints and its log in ``training``; once the model is
        complete, the checkpoints are removed.
        """
        computed = []

        def compute(folder: Path) -> None:
            recording = Recording.load(self.folder("simulate") / "recording")
            last_good = self.out / LAST_GOOD
            last_good.unlink(missing_ok=True)
            learner = self.experiment.learner
            try:
                model = infer(recording, learner, self.device, progress, self._training)
                model.save(folder)
            except InferenceError as error:
                keep_last_good(error, last_good)
                raise
            computed.append(folder)

        self.simulate()
        model = Model.load(keep(self.folder("infer"), compute))
        for checkpoint in self._training.glob("*.safetensors"):
            checkpoint.unlink(missing_ok=True)
        if not computed:
            for sweep in model.history.sweeps:
                progress(sweep)
        return model

    @property
    def _training(self) -> Path:
        """The folder of the checkpoints and the log of a training."""
        return self.out / "training" / self.key("infer")

    @property
    def inferred(self) -> bool:
        """Whether a complete and unchanged model exists."""
        return damage(self.folder("infer")) is None

    def assist(self) -> None:
        """Take part in an inference whose result the first of several processes saves."""
        recording = self.folder("simulate") / "recording"
        infer(Recording.load(recording), self.experiment.learner, self.device)

    def score(self) -> Scores:
        """Scores of the model against the truth; writes metrics and provenance."""
        recording, truth = self.simulate()
        model = self.infer()

        def compute(folder: Path) -> None:
            score(recording, truth, model, draw_other(self.experiment)).save(folder)

        scores = Scores.load(keep(self.folder("score"), compute))
        records = {stage: read_record(self.folder(stage)) for stage in STAGES}
        write_json(self.out / "metrics.json", self._metrics(scores.metrics, records))
        about = provenance(self.experiment, self.device, self.keys.config, records)
        write_json(self.out / "provenance.json", about)
        return scores

    def metrics(self) -> dict[str, Any]:
        """The content of ``metrics.json``, computed if necessary."""
        self.score()
        return read_json(self.out / "metrics.json")

    def doubts(self) -> list[str]:
        """Why the result cannot be trusted; empty before the run is scored."""
        file = self.out / "metrics.json"
        return read_json(file)["diagnosis.reasons"] if file.exists() else []

    @property
    def device(self) -> str:
        """Where to compute: ``cpu`` or ``cuda``.

        Raises:
            ConfigError: the configuration names a GPU, but there is none.
        """
        return checked_device(self.experiment.device)

    @property
    def finished(self) -> bool:
        """Whether undamaged metrics of exactly this configuration and code exist."""
        if damage(self.folder("score")) is not None:
            return False
        try:
            metrics = read_json(self.out / "metrics.json")
        except ConfigError:
            return False
        return metrics.get("config_hash") == self.config_hash

    @cached_property
    def keys(self) -> Keys:
        """The keys of the stages, with the input files as they are at the first call."""
        return keys_of(self.experiment, device_of(self.experiment.device))

    def key(self, stage: str) -> str:
        """Hash of all that determines a stage: ``simulate``, ``infer`` or ``score``."""
        return self.folder(stage).name

    def folder(self, stage: str) -> Path:
        """The folder for the result of a stage."""
        return self.out / "stages" / f"{stage}-{getattr(self.keys, stage)}"

    @property
    def config_hash(self) -> str:
        """Hash of every setting that can change a result, independent of the code."""
        return self.keys.config

    def _metrics(
        self, scores: Mapping[str, Any], done: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        return {
            **without_nan(scores),
            "time.simulate_s": done["simulate"]["seconds"],
            "time.infer_s": done["infer"]["seconds"],
            "time.total_s": sum(stage["seconds"] for stage in done.values()),
            "memory.peak_bytes": max(stage["peak_bytes"] for stage in done.values()),
            "device": self.device,
            "profile": self.experiment.profile,
            "seed": self.experiment.seed,
            "config_hash": self.config_hash,
        }


def device_of(name: str) -> str:
    """``cpu`` or ``cuda``; unchecked, because this machine may only plan runs for others."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def checked_device(name: str) -> str:
    """As :func:`device_of`.

    Raises:
        ConfigError: a GPU is named, but there is none.
    """
    device = device_of(name)
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: 'cuda' needs a GPU, but none is available; use 'auto'")
    return device


def keep_last_good(error: InferenceError, path: Path) -> None:
    """Write the last good estimate of an inference that diverged, if there is one."""
    if error.last_good is not None:
        part = part_of(path)
        save_file(dict(error.last_good), part)
        part.replace(path)


def without_nan(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics with None in place of NaN, such as the score of a missing movie.

    JSON has no NaN.
    """
    return {key: None if value != value else value for key, value in metrics.items()}


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
    except (OSError, RuntimeError) as error:  # circular links
        raise ConfigError(f"out: {folder}: {error}; name another folder") from None


def _located(section: Located, name: str) -> Located:
    """A section whose source is found from the working directory or the repository."""
    if section.source is None:
        return section
    try:
        return section.model_copy(update={"source": str(find_input(section.source))})
    except ConfigError as error:
        raise ConfigError(f"{name}.source: {error}") from None
