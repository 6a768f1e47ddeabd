"""The command line: ``python -m figures_lib`` run, infer, sweep, build, bench and others."""

import argparse
import io
import re
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from papermill.exceptions import PapermillExecutionError

from figures_lib.bench.plans import FULL, QUICK
from figures_lib.errors import (
    ConfigError,
    InferenceError,
    NotebookError,
    OneLineError,
    SimulationError,
    StorageError,
)
from figures_lib.infer.shards import joined
from figures_lib.model.inferred import SweepReport
from figures_lib.paths import find_input, user_path
from figures_lib.runs.files import exclusive, write_json, writing
from figures_lib.runs.notebooks import execute_notebooks, summarise
from figures_lib.runs.provenance import machine
from figures_lib.runs.run import Run, open_run
from figures_lib.runs.site import build_site, check_place
from figures_lib.studies.batch import run_study
from figures_lib.studies.experiments import EXPERIMENTS, collect
from figures_lib.studies.points import first_seeds, load_study
from figures_lib.studies.results import NAME, STATUS, Status, write_results
from figures_lib.studies.studies import SHIPPED
from figures_lib.yaml_file import value_of

BAD_INPUT, FAILURE = 2, 1
LONGEST = 500  # characters of a message about bad input
PLAIN = [one.__name__ for one in (SimulationError, InferenceError, StorageError)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0 when done, 2 for bad input, 1 for anything else."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a sign shows another
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        options = command_parser().parse_args(arguments)
        return options.command(options) or 0
    except ConfigError as error:
        line = " ".join(str(error).split())
        _print_error(f"{line[:LONGEST]}…" if len(line) > LONGEST else line)
        return BAD_INPUT
    except PapermillExecutionError as error:
        found = re.search(
            r"ConfigError: (.*)", error.evalue if error.ename != "ConfigError" else ""
        )
        reason = error.evalue if error.ename == "ConfigError" else found and found.group(1)
        message = error.evalue if error.ename in PLAIN else f"{error.ename}: {error.evalue}"
        _print_error(reason or message)
        return BAD_INPUT if reason else FAILURE
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        return FAILURE
    except OneLineError as error:
        _print_error(error)
        return FAILURE
    except Exception as error:  # one line for the user; nothing computed is lost
        _print_error(f"{type(error).__name__}: {error}")
        return FAILURE


def _say(line: str) -> None:
    print(line, flush=True)


def _print_error(error: object) -> None:
    """Print one line, even if a key or the name of a file contains line breaks."""
    print("error:", " ".join(str(error).split()), file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as any other bad input: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def command_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = _Parser(prog="python -m figures_lib", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="execute all notebooks of Figure 3 into a folder")
    run.set_defaults(command=_run)
    only = commands.add_parser("infer", help="only infer; under torchrun, on all processes")
    only.set_defaults(command=_infer)
    others = commands.add_parser("baselines", help="compare with what people use today")
    others.set_defaults(command=_baselines)
    for one in (run, only, others):
        one.add_argument("--config", required=True, help="experiment, e.g. config/fig3.yaml")
        one.add_argument(
            "-p",
            dest="overrides",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override a dotted key, e.g. simulation.noise=0.5 (repeatable)",
        )
        one.add_argument("--out", required=True, type=_folder, help="folder of the results")
    sweep = commands.add_parser("sweep", help="run a parameter study on dask.distributed")
    sweep.add_argument("sweep", metavar="SWEEP.yaml", help="see config/sweeps/")
    sweep.add_argument("--out", required=True, type=_folder, help="folder of the results")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of a running dask scheduler")
    sweep.add_argument("--workers", type=int, help="processes to start here; 0: this one")
    sweep.add_argument("--seeds", type=int, metavar="N", help="only the first N of its seeds")
    sweep.add_argument("--quick", action="store_true", help="use the section quick of the file")
    sweep.add_argument(
        "--notebooks", action="store_true", help="also execute the notebooks in every run"
    )
    sweep.set_defaults(command=_sweep)
    collect = commands.add_parser(
        "collect", help="take the results of figures of the paper into the book"
    )
    collect.add_argument("figures", type=user_path, help="folder with a sweep per figure")
    collect.add_argument(
        "--out", type=_folder, default=SHIPPED, help="folder of the results of the book"
    )
    collect.set_defaults(command=_collect)
    build = commands.add_parser("build", help="build the site from an executed run")
    build.add_argument("--run", required=True, type=user_path, help="folder of the run")
    build.add_argument(
        "--out", type=_folder, default=Path("_build/html"), help="folder of the site"
    )
    build.set_defaults(command=_build)
    bench = commands.add_parser("bench", help="measure speed, memory and accuracy")
    bench.add_argument("--quick", action="store_true", help="small sizes: about a minute")
    bench.add_argument("--json", required=True, type=user_path, help="file of the results")
    bench.set_defaults(command=_bench)
    return parser


def _folder(text: str) -> Path:
    """A path at which a folder is, or can be made."""
    folder = user_path(text)
    try:
        taken = folder.exists() and not folder.is_dir()
    except OSError as error:  # a name that is too long
        problem = f"{text:.80}…: {error.strerror}; name another folder"
        raise argparse.ArgumentTypeError(problem) from None
    if taken:
        raise argparse.ArgumentTypeError(f"{text} is a file; name a folder")
    return folder


def _opened(options: argparse.Namespace) -> tuple[Run, dict[str, Any]]:
    """The run of the command line and its overrides, checked."""
    overrides = dict(_assignment(text) for text in options.overrides)
    run = open_run(options.config, options.out.absolute(), overrides)
    run.check()
    return run, overrides


def _infer(options: argparse.Namespace) -> None:
    run, _ = _opened(options)
    with joined(run.device) as shard:
        if shard.rank > 0:
            if shard.any(False, run.device):
                run.assist()
            return
        with exclusive(options.out), writing(options.out):
            run.simulate()
            shard.any(not run.inferred, run.device)
            run.infer(lambda sweep: _say(_sweep_line(sweep)))
        print(f"inferred: {options.out / 'stages' / run.key('infer')}")


def _sweep_line(sweep: SweepReport) -> str:
    about = f"{sweep.title} ({sweep.phase})  {sweep.seconds:6.2f} s"
    left = f"  about {sweep.remaining:.0f} s left" if sweep.remaining > 0 else ""
    return f"{about}  unexplained {sweep.loss:.3g}{left}"


def _run(options: argparse.Namespace) -> None:
    run, overrides = _opened(options)
    with exclusive(options.out), writing(options.out):
        execute_notebooks(run, find_input(options.config), overrides, _say)
    for reason in run.doubts():
        print(f"not trusted: {reason}")
    print(f"metrics: {options.out / 'metrics.json'}")


def _baselines(options: argparse.Namespace) -> None:
    # imported late: few need it
    from figures_lib.bench.baselines import compare

    run, _ = _opened(options)
    with exclusive(options.out), writing(options.out):
        write_results(options.out / "results.csv", compare(run, _say))
    print(f"baselines: {options.out / 'results.csv'}")


def _sweep(options: argparse.Namespace) -> int:
    if options.workers is not None and (options.workers < 0 or options.scheduler):
        raise ConfigError("--workers: give 0 or more, and only without --scheduler")
    if options.seeds is not None and options.seeds < 1:
        raise ConfigError(f"--seeds: {options.seeds} is not positive; give 1 or more")
    sweep = load_study(options.sweep, options.quick, partial(first_seeds, most=options.seeds))
    with exclusive(options.out), writing(options.out):
        cluster = options.scheduler, options.workers
        rows = run_study(sweep, options.out, _say, *cluster, options.notebooks)
        about = {"sweep": options.sweep, "quick": options.quick, **machine()}
        write_json(options.out / "provenance.json", about)
        try:
            print(f"summary: {summarise(options.out.resolve() / 'results.csv')}")
        except PapermillExecutionError as error:  # the runs themselves are complete
            print(f"no summary: {error.ename}: {error.evalue}", file=sys.stderr)
        except NotebookError as error:
            print(f"no summary: {error}", file=sys.stderr)
    failed = [row[NAME] for row in rows if row[STATUS] != Status.DONE]
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        print(f"failed: {failed[0]}{more}; the reasons are in results.csv", file=sys.stderr)
    return FAILURE if failed else 0


def _collect(options: argparse.Namespace) -> None:
    with exclusive(options.out), writing(options.out):
        found = collect(options.figures, options.out)
    if not found:
        raise ConfigError(
            f"{options.figures}: holds no results of figures at their published size; run "
            "`make figure FIG=…` first"
        )
    print(f"collected: {', '.join(found)} in {options.out / EXPERIMENTS}.csv")


def _build(options: argparse.Namespace) -> None:
    place = options.out.absolute()  # replaced at the end; the lock lies beside it
    check_place(place)
    with exclusive(place.parent, lock=f".{place.name}.lock"), writing(place):
        print(f"site: {build_site(options.run, options.out)}")


def _bench(options: argparse.Namespace) -> None:
    if options.json.is_dir():
        raise ConfigError(f"--json: {options.json} is a folder; name a file")
    # imported late: it loads torch_geometric, which would delay every other command
    from figures_lib.bench.benchmark import benchmark

    plan, place = QUICK if options.quick else FULL, options.json.absolute()
    with exclusive(place.parent, "--json", f".{place.name}.lock"):
        write_json(place, benchmark(plan, _say))
    print(f"benchmark: {options.json}")


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"-p {text!r}: write dotted.key=value, e.g. simulation.noise=0.5")
    return key, value_of(value, key)


if __name__ == "__main__":
    # schedulers of clusters end a job with SIGTERM: release the locks, as after Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
