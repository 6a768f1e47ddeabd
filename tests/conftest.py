# ruff: noqa: E402  (the package is imported after the hook that checks its shapes)
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jaxtyping
import psutil
import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings
from kills import TINY

# checks shapes and types, here only
jaxtyping.install_import_hook("figures_lib", "beartype.beartype")

from figures_lib.config import Experiment, load_experiment
from figures_lib.infer.algorithm import infer
from figures_lib.model.inferred import Model
from figures_lib.recording import Recording
from figures_lib.runs.run import open_run
from figures_lib.simulate.integrate import simulate
from figures_lib.simulate.truth import Truth

ROOT = Path(__file__).resolve().parent.parent
TEST_CONFIG = ROOT / "config" / "fig3_test.yaml"
BOOK_TIME = 900  # seconds that its execution may take on a busy machine
# two files of tests run at a time: neither they nor their commands and kernels need two cores
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # they would compile the package every time
settings.register_profile(
    "busy", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")


@pytest.fixture(autouse=True, scope="module")
def _types_are_checked(request):
    """Only where the science is tested: elsewhere the same functions just take longer."""
    module = request.module.__name__.removeprefix("test_")
    jaxtyping.config.update("jaxtyping_disable", module not in PARTS["science"])


@pytest.fixture(scope="session")
def experiment():
    return load_experiment(TEST_CONFIG)


@pytest.fixture(scope="session")
def simulated(experiment):
    return simulate(experiment)


@pytest.fixture(scope="session")
def model(experiment, simulated):
    return infer(simulated[0], experiment.learner)


@pytest.fixture(scope="session")
def finished():
    """A finished run of :data:`kills.TINY`; tests that change its folder copy it."""
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(TEST_CONFIG, folder, TINY)
        run.score()
        yield run


class Small(NamedTuple):
    """A network that is inferred within a second; its networks are trained hardly at all."""

    experiment: Experiment
    recording: Recording
    truth: Truth
    model: Model


SMALL = {
    "simulation.neurons": 40,
    "simulation.frames": 3000,
    "simulation.warm_up": 20,
    "external_input.images": 5,
    "neuron_types.1.width": 16.0,
    "inference.shared_sweeps": 3,
    "inference.neuron_sweeps": 8,
    "inference.type_sweeps": 3,
    "inference.type_knots": 32,
    "graph_network.steps": 150,
    "graph_network.width": 16,
    "field_network.steps": 60,
    "field_network.width": 16,
    "field_network.batch": 256,
}


@pytest.fixture(scope="session")
def small():
    experiment = load_experiment(TEST_CONFIG, SMALL)
    recording, truth = simulate(experiment)
    return Small(experiment, recording, truth, infer(recording, experiment.learner))


PARTS = {  # of the tests, each to be run alone by ``pytest -m PART``; the slowest first
    "batch": (
        *("batch", "scheduling", "jobs", "studies", "experiments", "cli"),
        "own_recording",
    ),
    "crash": ("crash", "pipeline", "bad_input"),
    "science": (
        *("inference", "shards", "inference_steps", "simulator", "cost", "config_space"),
        *(
            "architecture",
            "config",
            "data",
            "formulas",
            "gauge",
            "gnn",
            "health",
            "scoring",
            "siren",
            "standard_errors",
            "prediction",
        ),
        *("sweeps", "projection", "gradient", "types", "receiver_groups", "gpu"),
    ),
    "book": (
        *("site", "notebooks", "furniture", "odd_runs", "walkthrough", "benchmark", "pages"),
        "baselines",
        *("project", "security"),
    ),
    "browser": ("viewers", "widgets", "lab", "laboratory", "pixels"),
}
SHARED = "FIGURES_LIB_TESTS"  # names the folder that all processes of a test run share
FOLDER = pytest.StashKey[tempfile.TemporaryDirectory]()


def pytest_configure(config):
    """The folder of what is made once, however many processes run the tests."""
    if SHARED not in os.environ:
        config.stash[FOLDER] = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        os.environ[SHARED] = config.stash[FOLDER].name


def pytest_unconfigure(config):
    """Nothing of it stays, whatever ended the tests."""
    if FOLDER in config.stash:
        config.stash[FOLDER].cleanup()
        del os.environ[SHARED]


def pytest_collection_modifyitems(items):
    """Mark every test with the part of its module; the executed book is asked for last."""
    parts = {f"test_{name}": part for part, names in PARTS.items() for name in names}
    order = {module: number for number, module in enumerate(parts)}
    waits = {item.module.__name__ for item in items if _needs_book(item)}
    for item in items:
        if not PARTS.keys() & {*item.keywords}:
            item.add_marker(parts[item.module.__name__])
    items.sort(key=lambda item: (item.module.__name__ in waits, order[item.module.__name__]))


def _needs_book(item):
    return "executed_run" in getattr(item, "fixturenames", ())


def pytest_collection_finish(session):
    """Execute the book beside the tests from the start, if one of them needs it."""
    if session.config.option.collectonly or not any(map(_needs_book, session.items)):
        return
    folder = Path(os.environ[SHARED])
    with suppress(FileExistsError):  # another process of this run was first
        (folder / "book").mkdir()
        command = [sys.executable, "-m", "figures_lib", "run", "--config", str(TEST_CONFIG)]
        end = f"echo $? > {folder / 'code.part'}; mv {folder / 'code.part'} {folder / 'code'}"
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                ["bash", "-c", f'"$@"; {end}', "bash", *command, "--out", str(folder / "test")],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        (folder / "book" / "pid").write_text(str(process.pid))


def pytest_sessionfinish(session):
    """Stop the book, whatever ended the tests; a worker leaves it to those that go on."""
    file = Path(os.environ[SHARED], "book", "pid")
    if hasattr(session.config, "workerinput") or not file.exists():
        return
    with suppress(psutil.NoSuchProcess):  # it has ended, as it should
        process = psutil.Process(int(file.read_text()))
        for one in [*process.children(recursive=True), process]:  # kernels have own sessions
            with suppress(psutil.NoSuchProcess):
                one.kill()


@pytest.fixture(scope="session")
def executed_run():
    """All notebooks, executed by the command of the README at the test profile."""
    folder = Path(os.environ[SHARED])
    deadline = time.monotonic() + BOOK_TIME
    while not (folder / "code").exists():
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.2)
    assert (folder / "code").read_text().strip() == "0", (folder / "log").read_text()
    return folder / "test"


@pytest.fixture(scope="session")
def built_site(executed_run):
    """The site of the executed book, built by the first process that needs it."""
    html = executed_run.with_name("html")
    command = [sys.executable, "-m", "figures_lib", "build", "--run", str(executed_run)]
    with FileLock(html.with_name("site.lock")):
        if not html.exists():
            answer = subprocess.run(
                [*command, "--out", str(html)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert answer.returncode == 0, answer.stderr
    return html


@pytest.fixture(scope="session")
def run(executed_run):
    return open_run(TEST_CONFIG, executed_run)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def served_site(built_site):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Quiet, directory=str(built_site))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Site(NamedTuple):
    """A built site and the address at which it is served."""

    folder: Path
    address: str


@pytest.fixture(scope="session")
def site(built_site, served_site):
    return Site(built_site, f"{served_site}/")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not on the path")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver))
    driver.set_script_timeout(120)  # axe-core on the longest page of a busy machine
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, served_site):
    """Opens a viewer of the site by its name."""
    from viewer_pages import visiting

    with visiting(browser, served_site) as go:
        yield go


@pytest.fixture
def touch(browser):
    """The browser of a device with a touch screen."""
    command = "Emulation.setTouchEmulationEnabled"
    browser.execute_cdp_cmd(command, {"enabled": True, "maxTouchPoints": 1})
    yield
    browser.execute_cdp_cmd(command, {"enabled": False})
