"""A parameter sweep on dask.distributed, from one laptop to a cluster.

``DIR/runs/NAME`` holds a run, ``DIR/stages`` the stages of all runs. Runs with the same
simulation share one task that simulates; their other tasks wait for it. dask repeats the task
of a worker that died; a run that fails is recorded. After a sweep was killed, the same command
computes what is missing.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import dask
import torch
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from tqdm import tqdm

from figures_lib.config import input_files
from figures_lib.errors import ConfigError
from figures_lib.runs.keys import digest
from figures_lib.runs.run import open_run
from figures_lib.studies.jobs import Job, one_line_of
from figures_lib.studies.points import Point, Study
from figures_lib.studies.results import NAME, REASON, STATUS, Row, Status, write_results

Report = Callable[[str], None]
ATTEMPTS = 3  # workers that may die over one run before it counts as failed
GPU = "GPU"  # dask resource; a run on a GPU takes one
SHOWN = "connectivity.r2"  # metric in the line of a run
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_study(
    sweep: Study,
    out: Path,
    report: Report,
    scheduler: str | None = None,
    workers: int | None = None,
    notebooks: bool = False,
) -> list[Row]:
    """Compute the missing runs of a sweep; ``results.csv`` is rewritten after every run.

    Args:
        sweep: the runs.
        out: folder of the sweep.
        report: called with one line at a time.
        scheduler: address of a dask scheduler; by default, workers are started here.
        workers: processes to start here; by default one per core, or one per GPU; 0: none, the
            runs follow each other in this process, which measures their times best.
        notebooks: also execute the notebooks of Figure 3 in every run.

    Returns:
        The rows of ``results.csv``, in the order of the sweep.

    Raises:
        ConfigError: the scheduler cannot be reached.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        client = None
        if scheduler is not None:
            client = stack.enter_context(_connected(scheduler, report))
        on_gpu = torch.cuda.is_available() if client is None else _has_gpu(client)
        rows = {point.name: _row(point) for point in sweep.points}
        jobs = {
            point.name: job_of(sweep.config, point, out, on_gpu, notebooks)
            for point in sweep.points
            if point.problem is None
        }
        for name, job in jobs.items():
            _settle(rows[name], job, job.known_failure())
        waiting = {name: jobs[name] for name in jobs if rows[name][STATUS] == Status.MISSING}
        write_results(out / "results.csv", list(rows.values()))
        report(f"{len(rows)} runs, {len(waiting)} to do: {out / 'results.csv'}")
        if waiting:
            if client is None and workers != 0:
                client = stack.enter_context(local_cluster(workers, len(waiting)))
            if client is not None and find_spec("bokeh") is not None:
                report(f"dashboard: {client.dashboard_link}")
            done = len(rows) - len(waiting)
            step = stack.enter_context(progress_lines(len(rows), done, report))
            ends = outcomes_here(waiting) if client is None else outcomes(client, waiting)
            for name, seconds, problem in ends:
                _settle(rows[name], waiting[name], problem)
                write_results(out / "results.csv", list(rows.values()))
                step(_line(rows[name], seconds))
    return list(rows.values())


def run_here(sweep: Study, out: Path) -> list[Row]:
    """A small sweep, one run after the other in this process."""
    rows, on_gpu = [], torch.cuda.is_available()
    for point in sweep.points:
        rows.append(_row(point))
        if point.problem is None:
            job = job_of(sweep.config, point, out.resolve(), on_gpu, notebooks=False)
            problem = job.known_failure()
            if problem is None and not job.finished():
                _, problem = job.complete(None)
            _settle(rows[-1], job, problem)
    return rows


def _row(point: Point) -> Row:
    status = Status.MISSING if point.problem is None else Status.FAILED
    return {NAME: point.name, **point.varied, STATUS: status, REASON: point.problem}


def job_of(config: Path, point: Point, out: Path, on_gpu: bool, notebooks: bool) -> Job:
    """The job of a run; its device and its input paths are fixed here, not by the worker."""
    experiment = open_run(config, out, point.overrides).experiment
    fixed = {key: os.path.abspath(path) for key, path in input_files(experiment).items()}
    if experiment.device == "auto":
        fixed["device"] = "cuda" if on_gpu else "cpu"
    folder = out / "runs" / point.name
    return Job(str(config), {**point.overrides, **fixed}, str(folder), notebooks)


def _settle(row: Row, job: Job, problem: str | None) -> None:
    """Write into a row how its run ended, if it has ended."""
    if problem is not None:
        row |= {STATUS: Status.FAILED, REASON: problem}
    elif job.finished():
        row |= {STATUS: Status.DONE, REASON: None}
        row |= {key: value for key, value in job.metrics().items() if key not in row}


def _line(row: Row, seconds: float) -> str:
    outcome = f"R² of W {row[SHOWN]:.4f}" if SHOWN in row else str(row[REASON])
    return f"{row[STATUS]} {row[NAME]} {seconds:.1f} s  {outcome}"


def outcomes_here(jobs: dict[str, Job]) -> Iterator[tuple[str, float, str | None]]:
    """Name, seconds and problem of each job, one after the other in this process."""
    for name, job in jobs.items():
        yield name, *job.complete(None)


def outcomes(client: Client, jobs: dict[str, Job]) -> Iterator[tuple[str, float, str | None]]:
    """Name, seconds and problem of each job as it ends.

    dask blames the death of a worker on every task that it held, also on those that waited
    behind the one that ran. A run that is blamed too often is therefore tried once more, alone.
    """
    blamed = []
    for name, task in _tasks(client, jobs, "together"):
        if isinstance(task.exception(), KilledWorker):
            blamed.append(name)
        else:
            yield name, *_outcome(task)
    for name in blamed:
        for _, task in _tasks(client, {name: jobs[name]}, "alone"):
            yield name, *_outcome(task)


def _outcome(task: Future) -> tuple[float, str | None]:
    return (0.0, one_line_of(task.exception())) if task.status == "error" else task.result()


def _tasks(client: Client, jobs: dict[str, Job], how: str) -> Iterator[tuple[str, Future]]:
    """Submit all jobs; yield name and task of each as it ends."""
    names: dict[Future, str] = {}
    simulations: dict[str, Future] = {}
    gpus = {GPU: 1} if _has_gpu(client) else {}
    for name, job in jobs.items():
        run = job.open()
        needs = gpus if run.experiment.device == "cuda" else {}
        common = run.key("simulate")
        if common not in simulations:
            key = f"simulate-{digest(job.out, common, how)}"
            simulations[common] = client.submit(job.simulate, key=key, resources=needs)
        key = f"complete-{digest(job.out, run.key('score'), how)}"
        task = client.submit(job.complete, simulations[common], key=key, resources=needs)
        names[task] = name
    for task in as_completed(list(names)):
        if task.cancelled():
            raise RuntimeError("the scheduler is gone; run the same command again to continue")
        yield names[task], task
        task.release()


@contextmanager
def _connected(scheduler: str, report: Report) -> Iterator[Client]:
    """A client of a cluster that was started elsewhere."""
    try:
        client = Client(scheduler, timeout="10s")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"--scheduler: {scheduler} cannot be reached ({one_line_of(error):.120}); start "
            "`dask scheduler` and give its address, e.g. tcp://127.0.0.1:8786"
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:  # they may be in a queue for hours
            report(f"waiting for the first worker of {scheduler}")
        client.wait_for_workers(1)
        yield client


@contextmanager
def local_cluster(workers: int | None, runs: int) -> Iterator[Client]:
    """A cluster of processes on this machine that share its cores, or have one GPU each."""
    cores, gpus = len(os.sched_getaffinity(0)), torch.cuda.device_count()
    workers = min(workers or gpus or cores, runs)
    # the workers inherit them: set in a worker, they would come after torch is loaded; what
    # dask sets for them is removed at the end
    threads = {name: str(max(1, cores // workers)) for name in THREADS}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS - 1}),
        patch.dict(os.environ, threads),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,  # no limit: mapped recordings would count as used
            silence_logs="CRITICAL",
            resources={GPU: 1} if gpus else None,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _has_gpu(client: Client) -> bool:
    """Whether a worker offers the resource that a run on a GPU takes."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(worker["resources"].get(GPU) for worker in workers)


@contextmanager
def progress_lines(total: int, done: int, report: Report) -> Iterator[Report]:
    """One line per run: above a progress bar in a terminal, with its number elsewhere."""
    with tqdm(total=total, initial=done, unit="run", disable=not sys.stdout.isatty()) as bar:

        def step(line: str) -> None:
            if bar.disable:
                nonlocal done
                done += 1
                report(f"[{done}/{total}] {line}")
            else:
                bar.write(line)
                bar.update()

        yield step
