"""The command line: ``python -m figures_lib`` run, infer, sweep, build, bench and others."""

import argparse
import io
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from figures_lib.errors import (
    CellError,
    ConfigError,
    InferenceError,
    OneLineError,
    SimulationError,
    StorageError,
)
from figures_lib.paths import user_path

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
    except CellError as error:
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
    run.set_defaults(command=lambda options: _commands().run(options))
    only = commands.add_parser("infer", help="only infer, also from a recording of one's own")
    only.set_defaults(command=lambda options: _commands().infer(options))
    others = commands.add_parser("baselines", help="compare with what people use today")
    others.set_defaults(command=lambda options: _commands().baselines(options))
    for one in (run, only, others):
        one.add_argument(
            "--config", required=one is not only, help="experiment, e.g. config/fig3.yaml"
        )
        one.add_argument(
            "-p",
            dest="overrides",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override a dotted key, e.g. simulation.noise=0.5 (repeatable)",
        )
        one.add_argument(
            "--out", required=one is not only, type=_folder, help="folder of the results"
        )
    only.add_argument("--recording", metavar="FILE", help="infer from this, without simulation")
    only.add_argument(
        "--describe", metavar="FILE", help="say what is understood of a recording"
    )
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
    sweep.set_defaults(command=lambda options: _commands().sweep(options))
    collect = commands.add_parser(
        "collect", help="take the results of figures of the paper into the book"
    )
    collect.add_argument("figures", type=user_path, help="folder with a sweep per figure")
    collect.add_argument("--out", type=_folder, help="folder of the results of the book")
    collect.set_defaults(command=lambda options: _commands().collect(options))
    build = commands.add_parser("build", help="build the site from an executed run")
    build.add_argument("--run", required=True, type=user_path, help="folder of the run")
    build.add_argument(
        "--out", type=_folder, default=Path("_build/html"), help="folder of the site"
    )
    build.set_defaults(command=lambda options: _commands().build(options))
    bench = commands.add_parser("bench", help="measure speed, memory and accuracy")
    bench.add_argument("--quick", action="store_true", help="small sizes: about a minute")
    bench.add_argument(
        "--gpu",
        action="store_true",
        help="of a GPU: some minutes, with the tests that need one",
    )
    bench.add_argument("--json", required=True, type=user_path, help="file of the results")
    bench.set_defaults(command=lambda options: _commands().bench(options))
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


def _commands() -> ModuleType:
    """What the commands do; loaded only when one is run."""
    from figures_lib import commands

    return commands


if __name__ == "__main__":
    # schedulers of clusters end a job with SIGTERM: release the locks, as after Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
