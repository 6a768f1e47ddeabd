"""The file of a parameter sweep, and the runs that it describes.

The runs are the product of up to four axes: ``points`` (settings that belong together),
``grid`` (every combination of values), ``draws`` (random or Sobol points) and ``seeds``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator
from scipy.stats import qmc

from figures_lib.config import load_experiment
from figures_lib.errors import ConfigError
from figures_lib.paths import find_input
from figures_lib.section import Count, Finite, Section, one_line
from figures_lib.yaml_file import read_yaml

Settings = dict[str, Any]
NAME_LENGTH = 60  # characters of a run's name before its hash
MOST_RUNS = 100_000  # of a sweep; more are taken for a mistake
Runs = Annotated[int, Field(gt=0, le=MOST_RUNS)]


class Range(Section):
    """The interval from which the values of a key are drawn."""

    low: Finite
    high: Finite
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False

    @model_validator(mode="after")
    def _is_an_interval(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low: {self.low} is not below high = {self.high}; lower it")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low: {self.low} has no logarithm; raise it or use scale: linear")
        return self

    def at(self, share: float) -> float | int:
        """The value at a share 0…1 of the interval."""
        if self.scale == "log":
            value = self.low * math.exp(share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        return round(value) if self.integer else value


class Draws(Section):
    """Points drawn in the box of some ranges; equal seeds draw equal points.

    Attributes:
        count: of the points.
        method: ``sobol`` fills the box evenly, ``random`` draws independently.
        seed: of the random numbers.
        keys: the range of each key.
        choices: values of further keys, of which each point draws one; a value that is listed
            twice is drawn twice as often. A range may refine a chosen value.
    """

    count: Runs
    method: Literal["sobol", "random"] = "sobol"
    seed: Count = 0
    keys: Annotated[dict[str, Range], Field(min_length=1)]
    choices: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}

    @property
    def drawn(self) -> list[str]:
        """All keys that are drawn, the choices first."""
        return [*self.choices, *self.keys]

    def settings(self) -> list[Settings]:
        """The drawn points; a larger ``count`` appends points and keeps the first ones.

        Source: I. M. Sobol', USSR Comput. Math. Math. Phys. 7 (1967); scrambled by scipy.
        """
        width = len(self.drawn)
        if self.method == "random":
            shares = np.random.default_rng(self.seed).random((self.count, width))
        else:
            exponent = math.ceil(math.log2(self.count))
            shares = qmc.Sobol(width, rng=self.seed).random_base2(exponent)[: self.count]
        picks: list[Callable[[float], Any]] = [
            *(lambda share, of=of: of[int(share * len(of))] for of in self.choices.values()),
            *(span.at for span in self.keys.values()),
        ]
        return [
            {key: pick(float(s)) for key, pick, s in zip(self.drawn, picks, row, strict=True)}
            for row in shares
        ]


class Axes(Section):
    """What a sweep fixes (``overrides``) and what it varies; keys are dotted."""

    overrides: Settings = {}
    points: list[Settings] = []
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    draws: Draws | None = None
    seeds: Runs | Annotated[list[Count], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _a_key_is_given_once(self) -> Axes:
        several = {key for settings in self.points for key in settings}
        drawn = [] if self.draws is None else self.draws.drawn
        seeds = [] if self.seeds is None else ["seed"]
        counts = Counter([*self.overrides, *several, *self.grid, *drawn, *seeds])
        for key, count in counts.items():
            if count > 1:
                raise ValueError(
                    f"{key}: given by {count} of overrides, points, grid, draws and seeds; "
                    "keep one"
                )
        return self

    def varied(self) -> list[list[Settings]]:
        """The options of every axis; a run takes one of each."""
        seeds = range(self.seeds) if isinstance(self.seeds, int) else self.seeds
        axes = [
            self.points,
            *([{key: value} for value in values] for key, values in self.grid.items()),
            [] if self.draws is None else self.draws.settings(),
            [{"seed": seed} for seed in seeds or ()],
        ]
        return [axis for axis in axes if axis]


def first_seeds(axes: Axes, most: int | None) -> Axes:
    """The axes with at most so many of their seeds; with all, if no number is given."""
    seeds = axes.seeds
    if seeds is None or most is None:
        return axes
    fewer = min(seeds, most) if isinstance(seeds, int) else seeds[:most]
    return axes.model_copy(update={"seeds": fewer})


class StudyFile(Axes):
    """A sweep: the experiment it starts from, its axes, and smaller ones for ``--quick``.

    ``about`` says in a few words what the experiment is.
    """

    config: str
    about: str = ""
    quick: Axes | None = None


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        name: readable and unique; names the folder of the run.
        varied: the keys on which runs differ.
        overrides: all keys that replace those of the experiment.
        problem: why it cannot be run; None if it can.
    """

    name: str
    varied: Settings
    overrides: Settings
    problem: str | None = None


@dataclass(frozen=True)
class Study:
    """The runs of a sweep, in the order of its file, and a few words on it."""

    config: Path
    points: tuple[Point, ...]
    about: str = ""


def load_study(
    path: str | Path, quick: bool = False, change: Callable[[Axes], Axes] | None = None
) -> Study:
    """Read a sweep and check each of its runs.

    Args:
        path: YAML file, see ``config/sweeps/``.
        quick: use the axes of the section ``quick``.
        change: a function that is applied to the axes.

    Raises:
        ConfigError: the file cannot be used, or holds a key or a value with which no run is
            possible. A single impossible combination is not an error: its point holds the
            reason.
    """
    path = find_input(path)
    try:
        file = StudyFile.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(f"{path}: {one_line(error, StudyFile)}") from None
    if quick and file.quick is None:
        raise ConfigError(f"{path}: quick: this section is missing; add it or omit --quick")
    axes = file.quick if quick and file.quick is not None else file
    planned = plan(find_input(file.config), change(axes) if change else axes, str(path))
    return replace(planned, about=file.about)


def plan(config: Path, axes: Axes, where: str) -> Study:
    """The runs of some axes; ``where`` begins the message of an error."""
    options = axes.varied()
    count = math.prod(len(axis) for axis in options)
    if count > MOST_RUNS:
        raise ConfigError(
            f"{where}: describes {count} runs, but at most {MOST_RUNS} are accepted; vary "
            "fewer keys"
        )
    chosen = list(itertools.product(*options))
    points = [_point(config, axes.overrides, parts) for parts in chosen]
    groups = [points]
    for number, axis in enumerate(options):
        drawn = axes.draws is not None and list(axis[0]) == axes.draws.drawn
        if not drawn:  # a drawn value may be impossible
            for option in axis:
                pairs = zip(chosen, points, strict=True)
                groups.append([point for parts, point in pairs if parts[number] is option])
    for (
        group
    ) in groups:  # an option with which no run is possible is misspelt, or wrong by itself
        if all(point.problem for point in group):
            raise ConfigError(f"{where}: {group[0].problem}")
    names = Counter(point.name for point in points)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{where}: run {name} is described {count} times; keep one")
    return Study(config.resolve(), tuple(points))


def _point(config: Path, fixed: Mapping[str, Any], parts: Iterable[Settings]) -> Point:
    varied = {key: value for part in parts for key, value in part.items()}
    overrides, problem = {**fixed, **varied}, None
    try:
        load_experiment(config, overrides)
    except ConfigError as error:
        problem = str(error)
    return Point(_name(varied), varied, overrides, problem)


def _name(varied: Mapping[str, Any]) -> str:
    short = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in varied.items()}
    text = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in short.items())
    readable = re.sub(r"[^\w.,=+-]", "", text)[:NAME_LENGTH] or "run"
    digest = hashlib.sha256(json.dumps(varied, sort_keys=True).encode()).hexdigest()
    return f"{readable}-{digest[:8]}"
