"""Closed formulas for the learned functions: their form, and the parameters of every type.

φ* and ψ* are tables. Formulas of many forms are fitted by least squares to the line through the
values of a table, at activities that its neurons visit. All types share the form, and each has
its own parameters. An information criterion chooses the form: more terms always miss a little
less, because they follow the errors of the tables. The standard error of a parameter has two
parts: how well the formula fits, and how much the neurons of a type differed before they shared
their functions. The truth is not read.

A constant is part of every formula, and is not reported: it is a convention whether it belongs
to φ or, times the weights, to ψ. The scale of ψ is one, too.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product, starmap

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.special import erf
from torch import Tensor

from figures_lib.infer.gauge import VISITED
from figures_lib.infer.heldout import sampled_frames
from figures_lib.model.inferred import History, SweepReport

FRAMES = 2000  # that are read, to see which activities are visited
POINTS = 1000  # activities at which a formula is compared with a table
SAMPLE = 8  # types by which the form is chosen, at most
MEMBERS = 16  # of a type, at most, whose functions are compared
FEWEST = 4  # of them, to tell how much they differ
NORMAL = 1.4826  # standard deviation over median deviation of a normal distribution
DECISIVE = 10.0  # difference of the criterion, per function, that speaks strongly for a form
SMALLEST = 1e-30  # misfit: that of an exact table
MOST_TERMS = 3  # of φ
STARTS = (1 / 16, 1 / 4, 1.0)  # widths of ψ at which a fit starts, of the visited range
EVALUATIONS = 200  # of a formula in one fit, at most

Parameters = Float[ndarray, " parameter"]
Tables = Callable[[SweepReport], Float[Tensor, "neuron knot"]]


@dataclass(frozen=True)
class Points:
    """One function of one type at the activities that its neurons visit.

    Attributes:
        x: activities, dimensionless; where more are visited, there are more of them.
        knots: activities at which the function is known.
        table: the function there.
    """

    x: Float[ndarray, " x"]
    knots: Float[ndarray, " knot"]
    table: Float[ndarray, " knot"]

    @cached_property
    def y(self) -> Float[ndarray, " x"]:
        """The function at ``x``, by linear interpolation."""
        return np.interp(self.x, self.knots, self.table)

    @cached_property
    def inside(self) -> Bool[ndarray, " knot"]:
        """Which knots are in the visited range."""
        return (self.knots >= self.x[0]) & (self.knots <= self.x[-1])

    @property
    def count(self) -> int:
        """Number of knots in the visited range."""
        return int(self.inside.sum())

    def missed(self, fitted: Float[ndarray, " x"]) -> float:
        """The share of the variance of y that a formula misses."""
        variance = self.y.var()
        return float(((self.y - fitted) ** 2).mean() / variance) if variance > 0 else 0.0

    def independent(self, fitted: Float[ndarray, " knot"]) -> float:
        """How many knots of the visited range err independently of their neighbours."""
        residual = (self.table - fitted)[self.inside]
        residual = residual - residual.mean()
        power = residual @ residual
        alike = max(0.0, residual[1:] @ residual[:-1] / power) if power > 0 else 0.0
        return float(max(1.0, self.count * (1 - alike) / (1 + alike)))

    def shares(self) -> Float[ndarray, "x knot"]:
        """How much of the value at each knot every y has."""
        identity = np.eye(len(self.knots))
        return np.stack([np.interp(self.x, self.knots, one) for one in identity], 1)


@dataclass(frozen=True)
class Form:
    """A formula whose parameters are free.

    Attributes:
        text: the formula, with the names of its parameters.
        names: of the parameters; those without a name, scale and constant, come first.
        curve: the formula: activities and parameters → values.
        solve: the parameters that fit some points best; None if that fails.
    """

    text: str
    names: tuple[str, ...]
    curve: Callable[[ndarray, Parameters], ndarray]
    solve: Callable[[Points], Parameters | None]

    def named(self, parameters: Parameters) -> Float[ndarray, " name"]:
        """The parameters that have names."""
        return parameters[len(parameters) - len(self.names) :]

    def errors(self, points: Points, parameters: Parameters) -> Parameters:
        """Standard errors of all parameters.

        The values at the knots have independent errors, which the residuals there show.
        """
        steps = 1e-6 * np.maximum(np.abs(parameters), 1e-3)
        slopes = [
            (self.curve(points.x, parameters + step) - self.curve(points.x, parameters - step))
            / (2 * step.sum())
            for step in np.diag(steps)
        ]
        change = np.linalg.pinv(np.stack(slopes, 1)) @ points.shares()
        residual = points.table - self.curve(points.knots, parameters)
        free = points.count / (points.count - len(parameters))
        return np.sqrt(free * (change**2 @ residual**2))


@dataclass(frozen=True)
class Formula:
    """A form that describes the functions of all types.

    Attributes:
        text: the formula, with the names of its parameters.
        parameters: of every type, by name.
        errors: standard errors of the parameters.
        missed: share of the variance of the functions that the formula misses, worst type.
    """

    text: str
    parameters: Mapping[str, Float[ndarray, " type"]]
    errors: Mapping[str, Float[ndarray, " type"]]
    missed: float

    def with_scatter(self, more: Float[ndarray, "parameter type"]) -> "Formula":
        """The same formula with larger errors: independent ones are added to them."""
        errors = {
            name: np.hypot(own, other)
            for (name, own), other in zip(self.errors.items(), more, strict=True)
        }
        return replace(self, errors=errors)


TERMS: Mapping[str, tuple[str, Callable[[ndarray], ndarray]]] = {
    "−decay·x": ("decay", lambda x: -x),
    "self_coupling·tanh(x)": ("self_coupling", np.tanh),
    "square·x²": ("square", lambda x: x**2),
    "cube·x³": ("cube", lambda x: x**3),
    "sine·sin(x)": ("sine", np.sin),
    "arc·arctan(x)": ("arc", np.arctan),
    "root·x/√(1 + x²)": ("root", lambda x: x / np.sqrt(1 + x**2)),
    "bell·exp(−x²/2)": ("bell", lambda x: np.exp(-(x**2) / 2)),
}
SHAPES: Mapping[str, Callable[[ndarray], ndarray]] = {
    "tanh": np.tanh,
    "erf": erf,
    "arctan": np.arctan,
    "sin": np.sin,
    "root": lambda u: u / np.sqrt(1 + u**2),  # u/√(1 + u²)
}


def formulas_of(
    history: History, activity: Float[Tensor, "time neuron"], types: Int[Tensor, " neuron"]
) -> tuple[Formula | None, Formula | None]:
    """Formulas for φ* and ψ* as they are after the last sweep.

    With ψ*(a_i, a_j, x_j), that of the first type of receivers is described.

    Args:
        history: of the inference.
        activity: recorded activity; at most about 2000 frames of it are read.
        types: found type of each neuron, 0…K−1.

    Returns:
        None in place of a formula if there are too few knots for any.

    Source: the paper fits symbolic expressions to φ* and ψ*.
    """
    sample = activity[sampled_frames(len(activity), FRAMES)].numpy()
    members = [(types == k).nonzero()[:, 0].numpy() for k in range(int(types.max()) + 1)]
    visited = [np.quantile(sample[:, own], np.linspace(*VISITED, POINTS)) for own in members]
    alone = next((one for one in reversed(history.sweeps) if _differ(one, members)), None)
    update, transfer = (
        _formula(*kind, history.sweeps[-1], alone, members, visited)
        for kind in ((UPDATES, lambda one: one.update), (TRANSFERS, lambda one: one.transfer))
    )
    return update, transfer


def _formula(
    forms: Sequence[Form],
    tables: Tables,
    last: SweepReport,
    alone: SweepReport | None,
    members: Sequence[ndarray],
    visited: Sequence[ndarray],
) -> Formula | None:
    """The formula for one kind of function, given the reports with and without types."""
    each = list(zip(members, visited, strict=True))
    shared = [_points(last.knots, tables(last)[own[0]], x) for own, x in each]
    form = best_form(forms, shared)
    if form is None:
        return None
    formula = fitted(form, shared)
    if alone is None:
        return formula
    apart = [
        [_points(alone.knots, tables(alone)[one], x) for one in own[:MEMBERS]]
        for own, x in each
    ]
    return formula.with_scatter(scatter(form, apart) / np.sqrt([len(own) for own, _ in each]))


def _differ(report: SweepReport, members: Sequence[ndarray]) -> bool:
    """Whether neurons of one type had functions of their own."""
    tables = report.update.numpy()
    return any((tables[own] != tables[own[0]]).any() for own in members)


def _points(
    knots: Float[Tensor, " knot"], table: Float[Tensor, " knot"], x: Float[ndarray, " x"]
) -> Points:
    """The table of a neuron and some activities."""
    return Points(x, knots.double().numpy(), table.double().numpy())


def scatter(form: Form, groups: Sequence[Sequence[Points]]) -> Float[ndarray, "parameter type"]:
    """How much each parameter differs among the neurons of each type; 0 if there are few."""
    spread = np.zeros((len(form.names), len(groups)))
    for k, group in enumerate(groups):
        found = [form.named(one) for one in map(form.solve, group) if one is not None]
        if len(found) >= FEWEST:
            values = np.stack(found)
            apart = np.abs(values - np.median(values, 0))
            spread[:, k] = NORMAL * np.median(apart, 0)  # a stray does not count
    return spread


def best_form(forms: Sequence[Form], functions: Sequence[Points]) -> Form | None:
    """The simplest of the forms that are about as likely as the best one.

    The Bayesian information criterion n·ln(misfit) + p·ln n judges them, with p parameters of
    every function. Where neighbouring knots err alike, as those of a network do, n is the
    number of independent ones.

    Source: R. E. Kass and A. E. Raftery, J. Am. Stat. Assoc. 90 (1995) 773.
    """
    places = np.linspace(0, len(functions) - 1, min(SAMPLE, len(functions))).round()
    enough = DECISIVE * len(places)
    criteria: dict[Form, float] = dict.fromkeys(forms, 0.0)
    for points in (functions[int(place)] for place in places):
        solved = {form: form.solve(points) for form in forms}
        found = {form: own for form, own in solved.items() if own is not None}
        if not found:
            return None
        misfit = {form: points.missed(form.curve(points.x, own)) for form, own in found.items()}
        closest = min(misfit, key=lambda form: misfit[form])
        count = points.independent(closest.curve(points.knots, found[closest]))
        for form in forms:
            missed = misfit.get(form, np.inf)
            criteria[form] += count * np.log(max(missed, SMALLEST))
            criteria[form] += len(form.names) * np.log(count)
    least = min(criteria.values())
    if least == np.inf:
        return None
    likely = [form for form in forms if criteria[form] <= least + enough]
    return min(likely, key=lambda form: (len(form.names), criteria[form]))


def fitted(form: Form, functions: Sequence[Points]) -> Formula:
    """A form with the parameters of every function, NaN where it cannot be fitted."""
    found = [form.solve(points) for points in functions]
    values = np.full((len(form.names), len(functions)), np.nan)
    errors, missed = values.copy(), []
    for k, (points, parameters) in enumerate(zip(functions, found, strict=True)):
        if parameters is not None:
            values[:, k] = form.named(parameters)
            errors[:, k] = form.named(form.errors(points, parameters))
            missed.append(points.missed(form.curve(points.x, parameters)))
    return Formula(
        text=form.text,
        parameters=dict(zip(form.names, values, strict=True)),
        errors=dict(zip(form.names, errors, strict=True)),
        missed=max(missed),
    )


def _sum(terms: tuple[str, ...]) -> Form:
    """A sum of terms and a constant, which has no name."""

    def columns(x: ndarray) -> Float[ndarray, "x parameter"]:
        return np.stack([np.ones_like(x), *(TERMS[term][1](x) for term in terms)], 1)

    def solve(points: Points) -> Parameters | None:
        matrix = columns(points.x)
        solution, _, rank, _ = np.linalg.lstsq(matrix, points.y)
        known = rank == matrix.shape[1] < points.count
        return solution if known else None

    names = tuple(TERMS[term][0] for term in terms)
    return Form(" + ".join(terms), names, lambda x, own: columns(x) @ own, solve)


def _message(name: str, shifted: bool, sloped: bool) -> Form:
    """scale·(shape((x − threshold)/width) − slope·x) + constant."""
    shape, names = SHAPES[name], ("width", *["threshold"] * shifted, *["slope"] * sloped)

    def curve(x: ndarray, parameters: Parameters) -> ndarray:
        scale, constant = parameters[:2]
        own = dict(zip(names, parameters[2:], strict=True))
        inside = (x - own.get("threshold", 0.0)) / own["width"]
        return scale * (shape(inside) - own.get("slope", 0.0) * x) + constant

    def solve(points: Points) -> Parameters | None:
        if points.count <= 2 + len(names):
            return None
        rest, found = [0.0] * (len(names) - 1), []
        for start in STARTS:
            first = [np.ptp(points.y) / 2, points.y.mean(), start * np.ptp(points.x), *rest]
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore", OptimizeWarning)  # no errors are asked for
                try:
                    free = curve_fit(
                        lambda x, *own: curve(x, np.array(own)),
                        *(points.x, points.y, first),
                        maxfev=EVALUATIONS,
                    )
                except RuntimeError:  # no minimum
                    continue
            found.append(free[0])
        if not found:
            return None
        best = min(found, key=lambda one: points.missed(curve(points.x, one)))
        # all shapes are odd: with the signs of scale, width and slope, nothing changes
        odd = np.array([1, 0, *(one != "threshold" for one in names)], dtype=bool)
        return np.where(odd, np.sign(best[2]) * best, best)

    inside = "(x − threshold)/width" if shifted else "x/width"
    return Form(f"{name}({inside})" + " − slope·x" * sloped, names, curve, solve)


def _update_forms() -> tuple[Form, ...]:
    counts = range(1, MOST_TERMS + 1)
    return tuple(_sum(terms) for count in counts for terms in combinations(TERMS, count))


def _transfer_forms() -> tuple[Form, ...]:
    options = product(SHAPES, (False, True), (False, True))
    return tuple(sorted(starmap(_message, options), key=lambda form: len(form.names)))


UPDATES, TRANSFERS = _update_forms(), _transfer_forms()
