"""What the commands of the command line do.

They are apart from the command line itself, which loads them only when one is run: torch takes
seconds. So do dask, torch_geometric and the readers of notebooks, which a command loads itself.
"""

import sys
from argparse import Namespace
from functools import partial
from typing import Any

from figures_lib.bench.plans import FULL, QUICK
from figures_lib.errors import ConfigError, NotebookError
from figures_lib.infer.shards import joined
from figures_lib.model.inferred import SweepReport
from figures_lib.paths import find_input
from figures_lib.runs.files import exclusive, write_json, writing
from figures_lib.runs.notebooks import execute_notebooks, summarise
from figures_lib.runs.own import open_recording
from figures_lib.runs.provenance import machine
from figures_lib.runs.run import Run, checked_device, open_run
from figures_lib.yaml_file import value_of

FAILURE = 1  # exit code of a command of many parts, one of which failed


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def _opened(options: Namespace) -> tuple[Run, dict[str, Any]]:
    """The run of the command line and its overrides, checked."""
    overrides = _overrides(options)
    run = open_run(options.config, options.out.absolute(), overrides)
    run.check()
    return run, overrides


def infer(options: Namespace) -> None:
    """Infer, from a simulation or from a recording of one's own."""
    if options.describe is not None:
        own = open_recording(
            options.describe, config=options.config, overrides=_overrides(options)
        )
        print("\n".join(own.opened.description))
    elif options.out is None:
        raise ConfigError("--out: required; name the folder of the results")
    elif options.recording is not None:
        _infer_own(options)
    elif options.config is None:
        raise ConfigError("--config: required, unless --recording names a file")
    else:
        _infer_simulation(options)


def _infer_own(options: Namespace) -> None:
    from figures_lib.draw.report import write_report  # matplotlib takes a second to load

    settings = options.config, _overrides(options)
    own = open_recording(options.recording, options.out, *settings)
    for line in own.opened.description:
        say(line)
    with exclusive(options.out), writing(options.out):
        model = own.results(lambda sweep: say(_sweep_line(sweep)))
        report = write_report(own, model)
    for reason in model.diagnosis.reasons:
        print(f"not trusted: {reason}")
    print(f"weights: {options.out / 'connectivity.csv'}")
    print(f"report: {report}")


def _infer_simulation(options: Namespace) -> None:
    """Under torchrun, on all processes."""
    opened, _ = _opened(options)
    with joined(opened.device) as shard:
        if shard.rank > 0:
            if shard.any(False, opened.device):
                opened.assist()
            return
        with exclusive(options.out), writing(options.out):
            opened.simulate()
            shard.any(not opened.inferred, opened.device)
            opened.infer(lambda sweep: say(_sweep_line(sweep)))
        print(f"inferred: {options.out / 'stages' / opened.key('infer')}")


def _sweep_line(sweep: SweepReport) -> str:
    about = f"{sweep.title} ({sweep.phase})  {sweep.seconds:6.2f} s"
    left = f"  about {sweep.remaining:.0f} s left" if sweep.remaining > 0 else ""
    return f"{about}  unexplained {sweep.loss:.3g}{left}"


def run(options: Namespace) -> None:
    """Execute the notebooks of the book."""
    opened, overrides = _opened(options)
    with exclusive(options.out), writing(options.out):
        execute_notebooks(opened, find_input(options.config), overrides, say)
    for reason in opened.doubts():
        print(f"not trusted: {reason}")
    print(f"metrics: {options.out / 'metrics.json'}")


def baselines(options: Namespace) -> None:
    """Compare with what people use today."""
    from figures_lib.bench.baselines import compare
    from figures_lib.studies.results import write_results

    opened, _ = _opened(options)
    with exclusive(options.out), writing(options.out):
        write_results(options.out / "results.csv", compare(opened, say))
    print(f"baselines: {options.out / 'results.csv'}")


def sweep(options: Namespace) -> int:
    """Run a parameter sweep; the exit code is 1 if a run failed."""
    from figures_lib.studies.batch import run_study
    from figures_lib.studies.points import first_seeds, load_study
    from figures_lib.studies.results import NAME, STATUS, Status

    if options.workers is not None and (options.workers < 0 or options.scheduler):
        raise ConfigError("--workers: give 0 or more, and only without --scheduler")
    if options.seeds is not None and options.seeds < 1:
        raise ConfigError(f"--seeds: {options.seeds} is not positive; give 1 or more")
    study = load_study(options.sweep, options.quick, partial(first_seeds, most=options.seeds))
    with exclusive(options.out), writing(options.out):
        cluster = options.scheduler, options.workers
        rows = run_study(study, options.out, say, *cluster, options.notebooks)
        about = {"sweep": options.sweep, "quick": options.quick, **machine()}
        write_json(options.out / "provenance.json", about)
        try:
            print(f"summary: {summarise(options.out.resolve() / 'results.csv')}")
        except NotebookError as error:  # the runs themselves are complete
            print(f"no summary: {error}", file=sys.stderr)
    failed = [row[NAME] for row in rows if row[STATUS] != Status.DONE]
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        print(f"failed: {failed[0]}{more}; the reasons are in results.csv", file=sys.stderr)
    return FAILURE if failed else 0


def collect(options: Namespace) -> None:
    """Take the results of figures of the paper into the book."""
    from figures_lib.studies import experiments

    book = options.out or experiments.SHIPPED
    found = experiments.all_own_rows(options.figures)
    with exclusive(book), writing(book):
        experiments.collect(options.figures, found, book)
    print(f"collected: {', '.join(found)} in {book / experiments.EXPERIMENTS}.csv")


def build(options: Namespace) -> None:
    """Build the site."""
    from figures_lib.runs.site import build_site, check_place

    place = options.out.absolute()  # replaced at the end; the lock lies beside it
    check_place(place)
    with exclusive(place.parent, lock=f".{place.name}.lock"), writing(place):
        print(f"site: {build_site(options.run, options.out)}")


def bench(options: Namespace) -> int:
    """Measure speed, memory and accuracy; the exit code is 1 if a part failed."""
    if options.json.is_dir():
        raise ConfigError(f"--json: {options.json} is a folder; name a file")
    place = options.json.absolute()
    if options.gpu:
        checked_device("cuda")
    failed: list[str] = []
    with exclusive(place.parent, "--json", f".{place.name}.lock"):
        if options.gpu:
            from figures_lib.bench.gpu import GpuPlan, failures, gpu_benchmark

            failed = failures(gpu_benchmark(GpuPlan(), say, partial(write_json, place)))
        else:
            from figures_lib.bench.benchmark import benchmark

            write_json(place, benchmark(QUICK if options.quick else FULL, say))
    print(f"benchmark: {options.json}")
    if failed:
        print(f"failed: {', '.join(failed)}; the reasons are in this file", file=sys.stderr)
    return FAILURE if failed else 0


def _overrides(options: Namespace) -> dict[str, Any]:
    """The dotted keys of the command line and their values."""
    return dict(_assignment(text) for text in options.overrides)


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"-p {text!r}: write dotted.key=value, e.g. simulation.noise=0.5")
    return key, value_of(value, key)
