"""Training of all unknowns together, on frames of the activity, by stochastic gradients.

Every step predicts dx/dt at a few random frames from the activity alone and follows the
gradient of the squared error in W*, a_i, φ*, ψ* and Ω* at once, as the published training does.
Frames that are held out judge at regular intervals, and the network that they find best is
kept. A training writes a checkpoint at every judgement; started again, it goes on from there
and ends with the same result.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from figures_lib.errors import InferenceError
from figures_lib.infer.diagnosis import LARGEST_LOSS
from figures_lib.infer.event_log import Scalars
from figures_lib.infer.fit_networks import snapshot_steps
from figures_lib.infer.gauge import transfer_scale, visited_grid
from figures_lib.infer.heldout import choice_frames, held_out
from figures_lib.learner import Training
from figures_lib.model.cuda_graph import gradients
from figures_lib.model.inferred import SweepReport
from figures_lib.model.joint import JointNetwork
from figures_lib.recording import Recording

JUDGES = 256  # held-out frames, at most, by which a network is judged
SAMPLE = 64  # neurons whose functions are penalised in a step
WARM_UP = 0.1  # share of the steps over which the rates rise
EVERY = 8  # of the activities between which functions are compared, one is penalised
LEAST_RISE = 0.1  # covariance of ψ* and the standardised activity, by which ψ* has a sign
NEXT = 0.1  # distance of two activities that a slope is taken from [network scales]
UNKNOWNS = ("connectivity", "embedding", "functions", "field")  # W, a_i, φ* and ψ*, Ω*
PHASE = "joint"
REPORTED = ("index", "loss", "seconds", "planned", "remaining")  # numbers of a report
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frames:
    """What a training reads, on its device.

    Attributes:
        activity: x, dimensionless; on a GPU if the training runs there.
        derivative: dx/dt, the target [1/time unit].
        training: frames that batches are drawn from.
        judging: held-out frames that choose among networks.
        power: mean square of dx/dt about the mean of each neuron.
        knots: activity at which functions are reported.
        visited: activities over the range of each neuron, at which functions are penalised.
        device: of the training.
    """

    activity: Float[Tensor, "time neuron"]
    derivative: Float[Tensor, "time neuron"]
    training: Int[Tensor, " frame"]
    judging: Int[Tensor, " judge"]
    power: float
    knots: Float[Tensor, " knot"]
    visited: Float[Tensor, "neuron x"]
    device: torch.device

    @classmethod
    def of(
        cls, recording: Recording, knots: Float[Tensor, " knot"], device: torch.device | str
    ) -> "Frames":
        """The frames of a recording; on a GPU they are copied to it once."""
        device, total = torch.device(device), len(recording.activity)
        free = torch.ones(total, dtype=torch.bool)
        free[held_out(total).flatten()] = False
        judging = choice_frames(total)
        sample = recording.derivative[:: max(1, total // 4096)].double()
        return cls(
            recording.activity if device.type == "cpu" else recording.activity.to(device),
            recording.derivative if device.type == "cpu" else recording.derivative.to(device),
            free.nonzero()[:, 0],
            judging[:: math.ceil(len(judging) / JUDGES)],
            float(((sample - sample.mean(0)) ** 2).mean()),
            knots.to(device),
            visited(recording, torch.arange(recording.activity.shape[1])).to(device),
            device,
        )

    def at(self, frames: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor, Tensor]:
        """Activity, target and numbers of some frames."""
        frames = frames.to(self.activity.device)
        return self.activity[frames], self.derivative[frames], frames


def visited(recording: Recording, types: Int[Tensor, " neuron"]) -> Float[Tensor, "neuron x"]:
    """Activities over the range that the neurons of each one's type visit."""
    return visited_grid(recording.activity, types)[types, ::EVERY]


@dataclass(frozen=True)
class Course:
    """A training so far: what is reported of it.

    Attributes:
        reports: of every judgement.
        embeddings: snapshots of a_i, the first one before the training.
    """

    reports: tuple[SweepReport, ...] = ()
    embeddings: tuple[Float[Tensor, "neuron embedding"], ...] = ()


def train(
    network: JointNetwork,
    frames: Frames,
    settings: Training,
    steps: int,
    *,
    seed: int,
    unknowns: Collection[str] = UNKNOWNS,
    progress: Callable[[SweepReport], None] = lambda report: None,
    scalars: Scalars = lambda step, values: None,
    checkpoint: Path | None = None,
    earlier: Course = Course(),
) -> Course:
    """Train a network in place; at the end it is the best one that the judges have seen.

    Args:
        network: equation (2), with the parameters to start from.
        frames: what is trained and judged on.
        settings: batch, rates, penalties and the number of judgements.
        steps: of Adam.
        seed: of the batches.
        unknowns: which of ``UNKNOWNS`` are trained; the others stay.
        progress: called at every judgement.
        scalars: called with a step and what is measured there, for a log.
        checkpoint: file from which the training goes on, if there is one, and to which it is
            written; it is left in place.
        earlier: what is reported of the training before, to which the steps are added.

    Returns:
        The earlier reports and those of this training.

    Raises:
        InferenceError: the training diverged.

    Source: equation (2) and the training of the paper.
    """
    run = _Descent(network, frames, settings, steps, unknowns, seed, earlier)
    if checkpoint is not None and checkpoint.exists():
        try:
            run.restore(checkpoint)
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            logger.warning("%s: damaged (%s); training starts anew", checkpoint.name, error)
            network.load_state_dict(run.best)
            run = _Descent(network, frames, settings, steps, unknowns, seed, earlier)
        for report in run.course.reports[len(earlier.reports) :]:
            progress(report)
    while run.step < steps:
        run.advance(scalars)
        progress(run.judge(scalars))
        if checkpoint is not None:
            run.keep(checkpoint)
    network.load_state_dict(run.best)
    network.requires_grad_(True)
    return run.course


class _Descent:
    """The state of a training between two judgements."""

    def __init__(
        self,
        network: JointNetwork,
        frames: Frames,
        settings: Training,
        steps: int,
        unknowns: Collection[str],
        seed: int,
        earlier: Course,
    ) -> None:
        self.network, self.frames = network, frames
        self.settings, self.steps, self.earlier = settings, steps, earlier
        network.requires_grad_(False)
        groups = [one for one in _groups(network, settings) if one["name"] in unknowns]
        for one in groups:
            for parameter in one["params"]:
                parameter.requires_grad_(True)
        fused = frames.device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), fused=fused)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            [one["lr"] for one in groups],
            total_steps=max(steps + 1, math.ceil(2 / WARM_UP)),  # it cannot do with fewer
            pct_start=WARM_UP,
            cycle_momentum=False,
            div_factor=10,
            final_div_factor=100,
        )
        self.random = torch.Generator().manual_seed(seed)
        self.descend = gradients(
            self._loss,
            [parameter for one in groups for parameter in one["params"]],
            [torch.zeros(n, dtype=torch.long, device=frames.device) for n in self._drawn],
            capture=network.gnn.config.transfer != "pair",  # its checkpoints wait for the GPU
        )
        self.step = 0
        embeddings = earlier.embeddings or (_copy(network.gnn.embedding),)
        self.course = replace(earlier, embeddings=embeddings)
        self.lowest, self.best = float(judged(network, frames).mean()), _copies(network)
        self.stops = _spread(steps, settings.checks)
        self.shots = snapshot_steps(steps)

    def advance(self, scalars: Scalars) -> None:
        """Steps up to the next judgement."""
        start, before = time.perf_counter(), self.step
        stop = next(one for one in self.stops if one > self.step)
        self.network.train()
        while self.step < stop:
            loss = self._descend()
            self.step += 1
            if self.step in self.shots and self.network.gnn.embedding.requires_grad:
                shot = _copy(self.network.gnn.embedding)
                self.course = replace(self.course, embeddings=(*self.course.embeddings, shot))
            if self.step % max(1, self.steps // 500) == 0 or self.step == stop:
                scalars(self._position(), {"loss/batch": float(loss)})
        self.seconds, self.done = time.perf_counter() - start, stop - before

    @property
    def _drawn(self) -> tuple[int, int]:
        """Frames per step, and the neurons whose functions are penalised."""
        return self.settings.batch, min(SAMPLE, self.frames.activity.shape[1])

    def _loss(
        self, frames: Int[Tensor, " batch"], neurons: Int[Tensor, " shown"]
    ) -> Float[Tensor, ""]:
        """The squared error of some frames, relative to the variance of x', and penalties."""
        activity, target, numbers = self.frames.at(frames)
        error = target - self.network(activity, numbers)
        loss = (error**2).mean() / self.frames.power
        return loss + penalty(self.network, self.settings, self.frames, neurons)

    def _descend(self) -> Float[Tensor, ""]:
        """One step of Adam."""
        frames, (batch, shown) = self.frames, self._drawn
        drawn = torch.randint(len(frames.training), (batch,), generator=self.random)
        chosen = torch.randint(frames.activity.shape[1], (shown,), generator=self.random)
        batch_frames = frames.training[drawn].to(frames.device)
        loss = self.descend(batch_frames, chosen.to(frames.device))
        self.optimiser.step()
        self.schedule.step()
        return loss

    def judge(self, scalars: Scalars) -> SweepReport:
        """Judge the network on held-out frames; keep a copy if it is the best so far."""
        loss = float(judged(self.network, self.frames).mean())
        if not loss <= LARGEST_LOSS:
            raise InferenceError(
                f"training: it diverged, loss {loss:.3g} at step {self.step}; lower "
                "training.connectivity_rate, function_rate and field_rate",
                {name: value.cpu().contiguous() for name, value in self.best.items()},
            )
        if loss < self.lowest:
            self.lowest, self.best = loss, _copies(self.network)
        report = self._report(loss)
        self.course = replace(self.course, reports=(*self.course.reports, report))
        rates = {f"rate/{one['name']}": one["lr"] for one in self.optimiser.param_groups}
        scalars(self._position(), {"loss/held out": loss, **rates})
        return report

    def _position(self) -> int:
        """Number of the step, counted from the start of the first training."""
        reports = self.earlier.reports
        return self.step + (reports[-1].index if reports else 0)

    @torch.no_grad()
    def _report(self, loss: float) -> SweepReport:
        update, transfer = functions(self.network, self.frames.knots)
        return SweepReport(
            index=self._position(),
            phase=PHASE,
            loss=loss,
            seconds=self.seconds,
            knots=self.frames.knots.cpu(),
            update=update.cpu(),
            transfer=(transfer / transfer_scale(transfer)[:, None]).cpu(),
            planned=self._position() - self.step + self.steps,
            remaining=self.seconds / self.done * (self.steps - self.step),
        )

    def keep(self, file: Path) -> None:
        """Write all that the training needs to go on, in one atomic step."""
        arrays = {f"network.{name}": value for name, value in _copies(self.network).items()}
        arrays |= {f"best.{name}": value for name, value in self.best.items()}
        state = self.optimiser.state_dict()["state"]
        for number, moments in state.items():
            arrays |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        arrays["random"] = self.random.get_state()
        for number, shot in enumerate(self.course.embeddings):
            arrays[f"embedding.{number}"] = shot
        for report in self.course.reports:
            arrays[f"update.{report.index}"] = report.update
            arrays[f"transfer.{report.index}"] = report.transfer
        about = {
            "step": self.step,
            "lowest": self.lowest,
            "rates": [one["lr"] for one in self.optimiser.param_groups],
            "reports": [
                {name: getattr(one, name) for name in REPORTED} for one in self.course.reports
            ],
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        whole = {name: value.detach().cpu().contiguous() for name, value in arrays.items()}
        save_file(whole, part, {"training": json.dumps(about)})
        part.replace(file)

    def restore(self, file: Path) -> None:
        """Go on from where :meth:`keep` wrote."""
        with safe_open(file, "pt") as opened:
            about = json.loads(opened.metadata()["training"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        self.network.load_state_dict(_under(arrays, "network."))
        self.best = {
            name: value.to(self.frames.device)
            for name, value in _under(arrays, "best.").items()
        }
        self.step, self.lowest = about["step"], about["lowest"]
        state = self.optimiser.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(arrays, "adam.").items():
            number, what = name.split(".")
            moments.setdefault(int(number), {})[what] = value
        self.optimiser.load_state_dict({**state, "state": moments})
        for group, rate in zip(self.optimiser.param_groups, about["rates"], strict=True):
            group["lr"] = rate
        counts = {"last_epoch": self.step, "_step_count": self.step + 1}
        self.schedule.load_state_dict(self.schedule.state_dict() | counts)
        self.random.set_state(arrays["random"])
        shots = _under(arrays, "embedding.")
        self.course = Course(
            tuple(
                SweepReport(
                    **one,
                    phase=PHASE,
                    knots=self.frames.knots.cpu(),
                    update=arrays[f"update.{one['index']}"],
                    transfer=arrays[f"transfer.{one['index']}"],
                )
                for one in about["reports"]
            ),
            tuple(shots[str(number)].to(self.frames.device) for number in range(len(shots))),
        )


def penalty(
    network: JointNetwork, settings: Training, frames: Frames, neurons: Int[Tensor, " shown"]
) -> Float[Tensor, ""]:
    """The penalties of the published training on W and on the functions of some neurons.

    Args:
        network: equation (2).
        settings: their coefficients; those of 0 cost nothing.
        frames: says at which activities.
        neurons: whose functions are penalised.
    """
    gnn, unit = network.gnn, math.sqrt(frames.power)
    embedding, x = gnn.embedding[neurons], frames.visited[neurons]
    after = x + NEXT * gnn.scale
    total = x.new_zeros(())

    def transfer(where: Tensor) -> Tensor:
        return gnn.transfer_function(embedding, where, receiver=embedding)

    if settings.transfer_scale:
        values, centred = transfer(x), x - x.mean(1, keepdim=True)
        largest, rise = values.abs().amax(1), (values * centred).mean(1)
        spread = centred.square().mean(1).sqrt().clamp_min(1e-12)  # 0 of a constant neuron
        falls = (LEAST_RISE - rise / spread).relu()
        total = total + settings.transfer_scale * ((largest - 1) ** 2 + falls**2).mean()
    if settings.transfer_falls:
        falls = (transfer(x) - transfer(after)).relu()
        total = total + settings.transfer_falls * (falls**2).mean()
    if settings.update_rises:
        rise = gnn.update_function(embedding, after) - gnn.update_function(embedding, x)
        total = total + settings.update_rises * ((rise.relu() / unit) ** 2).mean()
    if settings.update_at_zero:
        at_zero = gnn.update_function(embedding, torch.zeros_like(x[:, :1]))
        total = total + settings.update_at_zero * ((at_zero / unit) ** 2).mean()
    if settings.sparsity:
        mean = gnn.connectivity.abs().mean()
        total = total + settings.sparsity * math.sqrt(len(gnn.connectivity)) * mean
    return total


@torch.no_grad()
def functions(
    network: JointNetwork, knots: Float[Tensor, " knot"]
) -> tuple[Float[Tensor, "neuron knot"], Float[Tensor, "neuron knot"]]:
    """φ* and ψ* of every neuron at the knots; the pair variant with equal ends."""
    gnn = network.gnn
    x = knots.expand(len(gnn.embedding), -1)
    embedding = gnn.embedding
    return (
        gnn.update_function(embedding, x),
        gnn.transfer_function(embedding, x, receiver=embedding),
    )


def _groups(network: JointNetwork, settings: Training) -> list[dict[str, Any]]:
    gnn = network.gnn
    field = [*network.siren.parameters()] if network.modulated.any() else []
    functions = [*gnn.phi.parameters(), *gnn.psi.parameters()]
    groups = (
        ("connectivity", [gnn.connectivity], settings.connectivity_rate),
        ("embedding", [gnn.embedding], settings.embedding_rate),
        ("functions", functions, settings.function_rate),
        ("field", field, settings.field_rate),
    )
    assert {name for name, *_ in groups} == set(UNKNOWNS)
    return [{"name": n, "params": params, "lr": rate} for n, params, rate in groups if params]


@torch.no_grad()
def judged(network: JointNetwork, frames: Frames) -> Float[Tensor, " judge"]:
    """Unexplained fraction of the variance of x' on each of the judging frames."""
    squared = []
    for some in frames.judging.split(max(1, len(frames.judging) // 8)):
        activity, target, numbers = frames.at(some)
        error = target - network(activity, numbers)
        squared.append((error**2).mean(1, dtype=torch.double) / frames.power)
    return torch.cat(squared)


def _spread(steps: int, checks: int) -> list[int]:
    """The steps after which the network is judged: evenly spread, the last one included."""
    count = min(checks, steps)
    return [round(steps * (k + 1) / count) for k in range(count)]


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _copies(network: JointNetwork) -> dict[str, Tensor]:
    return {name: _copy(value) for name, value in network.state_dict().items()}


def _under(arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The arrays whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
