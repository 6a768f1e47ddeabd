"""All bad inputs tried: what is wrong, what the one error line names, the exit code.

``python tests/bad_input.py`` writes the table that ``book/testing.md`` shows.
"""

import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import tifffile
from checks import keep
from conftest import TEST_CONFIG
from safetensors.numpy import save_file

from figures_lib.config import load_experiment
from figures_lib.runs.files import LOCK
from figures_lib.runs.notebooks import NOTEBOOKS

GOOD = TEST_CONFIG.read_text(encoding="utf-8")
MOVIE, WEIGHTS = "external_input.source", "connectivity.source"
Arguments = list[str]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        what: what is wrong.
        expected: words that the error line must contain.
        arguments: makes the input files in a given folder and returns the command line.
        code: exit code.
    """

    what: str
    expected: str
    arguments: Callable[[Path], Arguments]
    code: int = 2


def run(folder: Path, *overrides: str, config: Path | str = TEST_CONFIG) -> Arguments:
    parts = [part for override in overrides for part in ("-p", override)]
    return ["run", "--config", str(config), "--out", str(folder / "out"), *parts]


def override(text: str) -> Callable[[Path], Arguments]:
    return lambda folder: run(folder, text)


def yaml(text: str | bytes) -> Callable[[Path], Arguments]:
    def arguments(folder: Path) -> Arguments:
        path = folder / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return run(folder, config=path)

    return arguments


def changed(old: str, new: str) -> Callable[[Path], Arguments]:
    assert old in GOOD
    return yaml(GOOD.replace(old, new, 1))


def source(key: str, name: str, write: Callable[[Path], object]) -> Callable[[Path], Arguments]:
    def arguments(folder: Path) -> Arguments:
        write(folder / name)
        return run(folder, f"{key}={folder / name}")

    return arguments


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def array(values: np.ndarray) -> Callable[[Path], object]:
    return lambda path: np.save(path, values, allow_pickle=True)


def header(shape: tuple[int, ...], sparse: bool = False) -> Callable[[Path], None]:
    """A .npy file with a header only; with ``sparse`` it has the size in the header."""

    def write(path: Path) -> None:
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, about)
            if sparse:
                file.truncate(file.tell() + 4 * int(np.prod(shape)))

    return write


def huge_tif(path: Path) -> None:
    tifffile.imwrite(path, np.ones((4, 4), np.float32))
    raw = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for tag in file.pages[0].tags.values():
            if tag.name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                size = 4 if tag.dtype == 4 else 2
                raw[tag.valueoffset : tag.valueoffset + size] = (60000).to_bytes(size, "little")
    path.write_bytes(raw)


def huge_gif(path: Path) -> None:
    size = struct.pack("<HH", 65535, 65535)
    picture = b"\x2c" + bytes(4) + size + b"\x00\x02\x00"
    path.write_bytes(b"GIF89a" + size + b"\x00\x00\x00" + picture + b"\x3b")


def cut_tif(path: Path) -> None:
    tifffile.imwrite(path, np.ones((9, 64, 64), np.float32))
    path.write_bytes(path.read_bytes()[:20_000])


def uneven_images(path: Path) -> None:
    path.mkdir()
    for side in (4, 5):
        iio.imwrite(path / f"{side}.png", np.zeros((side, 4), np.uint8))


def photograph(path: Path) -> None:
    iio.imwrite(path, np.zeros((64, 48, 3), np.uint8))


def two_channels(path: Path) -> None:
    about = {"imagej": True, "metadata": {"axes": "TCYX"}}
    tifffile.imwrite(path, np.ones((3, 2, 8, 8), np.uint8), **about)


def huge_npz(path: Path) -> None:
    header((2**18, 2**18))(path.with_suffix(".npy"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".npy"), "w.npy")


def huge_safetensors(path: Path) -> None:
    about = {"w": {"dtype": "F32", "shape": [2**16, 2**16], "data_offsets": [0, 2**34]}}
    text = json.dumps(about).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def cut_safetensors(path: Path) -> None:
    save_file({"w": np.ones((64, 64), np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-100])


def two_arrays(path: Path) -> None:
    save_file({"a": np.ones((64, 64)), "b": np.ones((64, 64))}, path)


def output(make: Callable[[Path], Path]) -> Callable[[Path], Arguments]:
    def arguments(folder: Path) -> Arguments:
        return ["run", "--config", str(TEST_CONFIG), "--out", str(make(folder))]

    return arguments


def file_in_the_way(folder: Path) -> Path:
    (folder / "taken").write_text("precious")
    return folder / "taken"


def held(folder: Path) -> Path:
    """An output folder that another process has locked until this one ends."""
    (folder / "out").mkdir()
    code = (
        "import os, sys, filelock\nlock = filelock.FileLock(sys.argv[1])\nlock.acquire()\n"
        "open(sys.argv[1] + '.owner', 'w').write(str(os.getpid()))\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder / "out" / LOCK)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes)
    assert process.stdout.readline() == b"held\n"
    HOLDERS.append(process)
    return folder / "out"


HOLDERS: list[subprocess.Popen] = []


def built(change: Callable[[Path], object]) -> Callable[[Path], Arguments]:
    """The arguments that build a site from a run with one changed file."""

    def arguments(folder: Path) -> Arguments:
        (folder / "run" / "notebooks").mkdir(parents=True)
        config = load_experiment(TEST_CONFIG).model_dump(mode="json")
        texts = {name: "" for name in ("commit", "python", "processor", "cores")}
        records = {"config_hash": "a", "config": config, "stages": {}, "packages": {}, **texts}
        about = {"config_hash": "a"}
        empty = {"cells": [], "metadata": about, "nbformat": 4, "nbformat_minor": 5}
        for name in ("metrics.json", "provenance.json"):
            (folder / "run" / name).write_text(json.dumps(records))
        for name in NOTEBOOKS:
            (folder / "run" / "notebooks" / f"{name}.ipynb").write_text(json.dumps(empty))
        change(folder / "run")
        return ["build", "--run", str(folder / "run"), "--out", str(folder / "out")]

    return arguments


def of_another_run(name: str) -> Callable[[Path], Arguments]:
    def change(folder: Path) -> None:
        path = folder / "notebooks" / name
        path.write_text(path.read_text().replace('"config_hash": "a"', '"config_hash": "b"'))

    return built(change)


def over(make: Callable[[Path], Path]) -> Callable[[Path], Arguments]:
    """The arguments that put a site in the place of something else."""
    return lambda folder: ["build", "--run", str(folder), "--out", str(make(folder))]


def circle(folder: Path) -> Path:
    (folder / "circle").symlink_to(folder / "circle")
    return folder / "circle"


def replaced(name: str, text: str) -> Callable[[Path], Arguments]:
    return built(lambda folder: (folder / name).write_text(text))


def sweep(text: str) -> Callable[[Path], Arguments]:
    def arguments(folder: Path) -> Arguments:
        (folder / "s.yaml").write_text(f"config: config/fig3_test.yaml\n{text}")
        return ["sweep", str(folder / "s.yaml"), "--out", str(folder / "out")]

    return arguments


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
NAN = np.full((2, 4, 4), np.nan, np.float32)

CASES = [
    Case("unknown key", "simulation.frmes: unknown key", override("simulation.frmes=5")),
    Case(
        "unknown section",
        "simulaton: unknown key",
        changed("simulation:", "simulaton:"),
    ),
    Case(
        "missing key",
        "neuron_types.0.decay: required key is missing",
        changed("{decay: 1.0, ", "{"),
    ),
    Case(
        "a word in place of a number", "simulation.frames", override("simulation.frames=many")
    ),
    Case(
        "a fraction in place of a count", "simulation.frames", override("simulation.frames=1e3")
    ),
    Case("true in place of a seed", "seed", override("seed=true")),
    Case("a number in place of a section", "simulation", override("simulation=3")),
    Case("a word that is not an option", "device", override("device=tpu")),
    Case(
        "an unknown distribution",
        "'cauchy' or 'gaussian' or 'dale' or 'low_rank'",
        override("connectivity.distribution=levy"),
    ),
    Case(
        "an unknown neuron model",
        "neuron_model: Input should be 'saturating'",
        override("neuron_model=spiking"),
    ),
    Case(
        "an unknown variant of ψ",
        "'shared', 'sender' or 'pair'",
        override("graph_network.transfer=both"),
    ),
    Case("negative noise", "simulation.noise", override("simulation.noise=-1")),
    Case("infinite noise", "simulation.noise", override("simulation.noise=.inf")),
    Case("noise that is not a number", "simulation.noise", override("simulation.noise=.nan")),
    Case(
        "a number too large for float32", "simulation.noise", override("simulation.noise=1e300")
    ),
    Case(
        "a number that float32 rounds to zero",
        "neuron_types.0.width",
        override("neuron_types.0.width=1e-320"),
    ),
    Case("a time step of zero", "simulation.time_step", override("simulation.time_step=0")),
    Case("a width of zero", "neuron_types.0.width", override("neuron_types.0.width=0")),
    Case("a density above 1", "connectivity.density", override("connectivity.density=1.5")),
    Case("a seed of eleven digits", "seed", override("seed=99999999999")),
    Case("no neuron type", "neuron_types", override("neuron_types=[]")),
    Case("a type beyond the last", "neuron_types.7", override("neuron_types.7.width=1")),
    Case(
        "the type after the last",
        "index '2' is not in 0…1",
        override("neuron_types.2.width=1"),
    ),
    Case("a key below a number", "'seed' has no sub-keys", override("seed.deep.er=1")),
    Case("an index that is not a number", "neuron_types.²", override("neuron_types.²=1")),
    Case(
        "more types than neurons",
        "neuron_types",
        lambda folder: run(
            folder,
            "simulation.neurons=2",
            "simulation.input_neurons=0",
            f"neuron_types=[{', '.join(['{decay: 1, self_coupling: 1, width: 1}'] * 3)}]",
        ),
    ),
    Case(
        "a configuration based on no file",
        "nowhere.yaml",
        yaml("base: nowhere.yaml\n"),
    ),
    Case(
        "a configuration based on itself",
        "base:",
        lambda folder: yaml(f"base: {folder / 'c.yaml'}\n")(folder),
    ),
    Case(
        "a share of the neurons missing for a type",
        "simulation.type_shares",
        override("simulation.type_shares=[1, 2, 1]"),
    ),
    Case(
        "a type with no neurons",
        "simulation.type_shares",
        override("simulation.type_shares=[1, 1e-6]"),
    ),
    Case(
        "input neurons that form no square",
        "simulation.input_neurons",
        override("simulation.input_neurons=15"),
    ),
    Case(
        "more input neurons than neurons",
        "simulation.input_neurons",
        override("simulation.input_neurons=100"),
    ),
    Case(
        "a minimum above the maximum",
        "external_input.minimum",
        override("external_input.minimum=2"),
    ),
    Case("an override without =", "dotted.key=value", override("simulation.frames")),
    Case("an override that is not YAML", "simulation.noise", override("simulation.noise=[")),
    Case(
        "more memory than the machine has",
        "simulation.neurons: need at least",
        override("simulation.neurons=10000000"),
    ),
    Case(
        "a network wider than the memory",
        "field_network",
        override("field_network.width=100000000"),
    ),
    Case(
        "a recording larger than the disk",
        "simulation.frames",
        override("simulation.frames=1000000000"),
    ),
    Case("a profile outside the folder of runs", "profile", override("profile=../x")),
    Case("a profile that is a path", "profile", override("profile=/etc")),
    Case("a profile of two lines", "profile", override('profile="a\\nb"')),
    Case("a key of two lines", "a b: unknown key", override("a\nb=1")),
    Case("a key of 5000 letters", "aaaaa", override("a" * 5000 + "=1")),
    Case(
        "a configuration with a name of 300 letters",
        "File name too long",
        lambda f: run(f, config="c" * 300),
    ),
    Case("no such configuration", "absent.yaml", lambda f: run(f, config=f / "absent.yaml")),
    Case("a folder in place of a configuration", "directory", lambda f: run(f, config=f)),
    Case("a configuration without end", "/dev/zero", lambda f: run(f, config="/dev/zero")),
    Case("an empty configuration", "mapping", yaml("")),
    Case("a word in place of a configuration", "mapping", yaml("word")),
    Case("a list in place of a configuration", "mapping", yaml("- a")),
    Case("broken YAML", "not valid YAML", yaml("a: [")),
    Case("bytes that are not text", "not valid YAML", yaml(GOOD.encode() + b"# \xff")),
    Case("two documents in one file", "not valid YAML", yaml(GOOD + "---\na: 1\n")),
    Case("a key given twice", "seed: this key is given twice", yaml(GOOD + "seed: 3\n")),
    Case(
        "a key given twice in a section",
        "neurons: this key is given twice",
        changed("  neurons: 64", "  neurons: 64\n  neurons: 32"),
    ),
    Case(
        "nested aliases that expand to gigabytes",
        "aliases are not accepted",
        yaml(LAUGHS + GOOD),
    ),
    Case("an alias in an override", "simulation.noise", override("simulation.noise=*a")),
    Case(
        "a tag that calls Python",
        "could not determine a constructor",
        yaml(GOOD + "x: !!python/object/apply:os.system [exit]\n"),
    ),
    Case("an unknown tag", "could not determine", changed("seed: 0", "seed: !foo 0")),
    Case(
        "a tag that does not fit its value",
        "invalid literal",
        changed("seed: 0", "seed: !!int x"),
    ),
    Case("a date with month 13", "integer", changed("seed: 0", "seed: 2020-13-45")),
    Case("an octal number", "integer", changed("seed: 0", "seed: 0o17")),
    Case("a number to the base 60", "number", override("simulation.noise=1:30")),
    Case("a number of 5000 digits", "5000 digits", changed("seed: 0", "seed: " + "9" * 5000)),
    Case("a number of 5000 hexadecimal digits", "seed", override("seed=0x" + "f" * 5000)),
    Case("a thousand open brackets", "recursion", yaml("a: " + "[" * 1000 + "]" * 1000)),
    Case("no such movie", MOVIE, override(f"{MOVIE}=absent.tif")),
    Case("a movie with a name of 300 letters", MOVIE, override(f"{MOVIE}={'m' * 300}.tif")),
    Case("an empty movie", MOVIE, source(MOVIE, "m.tif", content(b""))),
    Case("a movie cut short", MOVIE, source(MOVIE, "m.tif", cut_tif)),
    Case("a movie of words", MOVIE, source(MOVIE, "m.npy", array(np.full((2, 4, 4), "a")))),
    Case("a pickle in place of a movie", MOVIE, source(MOVIE, "m.npy", array(np.array([{}])))),
    Case("a movie with NaN", "NaN", source(MOVIE, "m.npy", array(NAN))),
    Case("a movie of zeros", "positive", source(MOVIE, "m.npy", array(np.zeros((2, 4, 4))))),
    Case(
        "one image in place of a movie", "shape", source(MOVIE, "m.npy", array(np.ones((4, 4))))
    ),
    Case("a movie of unknown format", "unknown format", source(MOVIE, "m.pdf", content(b"1"))),
    Case("text in place of a video", MOVIE, source(MOVIE, "m.mp4", content(b"text"))),
    Case("a photograph in place of a movie", "one image", source(MOVIE, "m.png", photograph)),
    Case("a movie of two channels", "C of length 2", source(MOVIE, "m.tif", two_channels)),
    Case("a folder without images", "no images", source(MOVIE, "m", Path.mkdir)),
    Case("images of different sizes", "shape", source(MOVIE, "m", uneven_images)),
    Case(
        "a movie that claims 17 GB", MOVIE, source(MOVIE, "m.npy", header((4096, 1024, 1024)))
    ),
    Case(
        "a movie of 4.3 GB",
        "claims 4.3 GB",
        source(MOVIE, "m.npy", header((1024, 1024, 1024), sparse=True)),
    ),
    Case("a picture that claims 14 GB", "claims 14.4 GB", source(MOVIE, "m.tif", huge_tif)),
    Case("a picture of 65535 times 65535 pixels", MOVIE, source(MOVIE, "m.gif", huge_gif)),
    Case("no such weights", WEIGHTS, override(f"{WEIGHTS}=absent.npy")),
    Case("empty weights", WEIGHTS, source(WEIGHTS, "w.npy", content(b""))),
    Case(
        "weights of another size",
        "simulation.neurons = 64",
        source(WEIGHTS, "w.npy", array(np.ones((3, 3)))),
    ),
    Case(
        "weights with NaN",
        "NaN",
        source(WEIGHTS, "w.npy", array(np.full((64, 64), np.nan))),
    ),
    Case(
        "weights of words",
        "real numbers",
        source(WEIGHTS, "w.npy", array(np.full((64, 64), "a"))),
    ),
    Case("weights that claim 275 GB", "262144", source(WEIGHTS, "w.npz", huge_npz)),
    Case(
        "weights that claim 17 GB",
        WEIGHTS,
        source(WEIGHTS, "w.safetensors", huge_safetensors),
    ),
    Case("weights cut short", WEIGHTS, source(WEIGHTS, "w.safetensors", cut_safetensors)),
    Case(
        "two matrices in one file",
        "arrays are 64",
        source(WEIGHTS, "w.safetensors", two_arrays),
    ),
    Case(
        "vectors in place of weights",
        "0 of its arrays are 64",
        source(WEIGHTS, "w.npz", lambda path: np.savez(path, a=np.ones(64), b=np.ones(3))),
    ),
    Case("weights of unknown format", "unknown", source(WEIGHTS, "w.csv", content(b"1,2"))),
    Case("a file in place of the results", "--out", output(file_in_the_way)),
    Case(
        "results in a folder that is a file",
        "cannot be written",
        output(lambda f: file_in_the_way(f) / "x"),
    ),
    Case(
        "results in a folder that is not writable",
        "cannot be written",
        output(lambda _: Path("/proc/x")),
    ),
    Case("results with a name of 300 letters", "too long", output(lambda f: f / ("o" * 300))),
    Case("results at a circular link", "circle", output(circle)),
    Case("results that another process is writing", "in use by process", output(held)),
    Case(
        "a site without a run",
        "no complete run",
        lambda f: ["build", "--run", str(f), "--out", str(f / "out")],
    ),
    Case("a site from truncated metrics", "metrics.json", replaced("metrics.json", '{"a": 1')),
    Case("a site from a list of metrics", "metrics.json", replaced("metrics.json", "[]")),
    Case(
        "a site from records of another version",
        "another version",
        replaced("provenance.json", "{}"),
    ),
    Case(
        "a site from records of another configuration",
        "different configurations",
        replaced("metrics.json", '{"config_hash": "b"}'),
    ),
    Case(
        "a site from a damaged notebook",
        "01_model.ipynb",
        replaced("notebooks/01_model.ipynb", '{"cells": 3}'),
    ),
    Case(
        "a site from notebooks of two runs",
        "03_infer.ipynb of run is of another configuration",
        of_another_run("03_infer.ipynb"),
    ),
    Case(
        "a site in place of other files",
        "would be lost",
        over(lambda f: file_in_the_way(f).parent),
    ),
    Case(
        "a sweep over an unknown key",
        "simulation.nose",
        sweep("grid: {simulation.nose: [1]}"),
    ),
    Case("a sweep over no values", "grid", sweep("grid: {simulation.noise: []}")),
    Case(
        "a sweep of a billion runs",
        "1000000000 runs",
        sweep(f"grid: {{{', '.join(f'k{i}: {list(range(10))}' for i in range(9))}}}"),
    ),
    Case(
        "a sweep with no seeds",
        "--seeds: 0",
        lambda f: [*sweep("grid: {simulation.noise: [1]}")(f), "--seeds", "0"],
    ),
    Case(
        "results of figures that nobody has run",
        "make figure",
        lambda f: ["collect", str(f), "--out", str(f / "book")],
    ),
    Case("a GPU that the machine does not have", "device: 'cuda'", override("device=cuda")),
    Case("no command", "--help", lambda _: []),
    Case("an unknown command", "--help", lambda _: ["walk"]),
]


def table() -> str:
    """The cases as the page on tests shows them."""
    rows = [f"| {case.what} | `{case.expected}` | {case.code} |" for case in CASES]
    return "\n".join(["| what is wrong | the line names | exit code |", "|---|---|---|", *rows])


if __name__ == "__main__":
    keep("bad_input", cases=len(CASES), table=table())
