# ruff: noqa: E402  (the package is imported after the hook that checks its shapes)
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

install_import_hook("figures_lib", "beartype.beartype")  # checks shapes and types, here only

from figures_lib.config import Experiment, load_experiment
from figures_lib.infer.algorithm import infer
from figures_lib.model.inferred import Model
from figures_lib.recording import Recording
from figures_lib.runs.run import open_run
from figures_lib.simulate.integrate import simulate
from figures_lib.simulate.truth import Truth

ROOT = Path(__file__).resolve().parent.parent
TEST_CONFIG = ROOT / "config" / "fig3_test.yaml"
torch.set_num_threads(1)  # at these sizes a second one waits busily on the cores of others
settings.register_profile(
    "busy", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")


@pytest.fixture(scope="session")
def experiment():
    return load_experiment(TEST_CONFIG)


@pytest.fixture(scope="session")
def simulated(experiment):
    return simulate(experiment)


@pytest.fixture(scope="session")
def model(experiment, simulated):
    return infer(simulated[0], experiment.learner)


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


class Execution(NamedTuple):
    """The book while it is executed into ``folder/test``."""

    folder: tempfile.TemporaryDirectory
    process: subprocess.Popen


PARTS = {  # of the tests, each to be run alone by ``pytest -m PART``
    "science": (
        *("architecture", "config", "config_space", "cost", "data", "gauge", "gnn", "health"),
        *("inference", "inference_steps", "scoring", "shards", "simulator", "siren", "sweeps"),
    ),
    "book": (
        *("benchmark", "furniture", "notebooks", "odd_runs", "pages", "project", "security"),
        *("site", "walkthrough"),
    ),
    "browser": ("lab", "pixels", "viewers", "widgets"),
    "batch": ("batch", "cli", "jobs", "scheduling", "studies"),
    "crash": ("bad_input", "crash", "pipeline"),
}
EXECUTION = pytest.StashKey[Execution]()


def pytest_collection_modifyitems(items):
    """Mark every test that has no mark with the part that its module belongs to."""
    parts = {f"test_{name}": part for part, names in PARTS.items() for name in names}
    for item in items:
        if isinstance(item, pytest.Function) and not PARTS.keys() & {*item.keywords}:
            item.add_marker(parts[item.module.__name__])


def pytest_collection_finish(session):
    """Execute the book on the second core from the start, if a test will ask for it."""
    asked = any("executed_run" in getattr(one, "fixturenames", ()) for one in session.items)
    if asked and not session.config.option.collectonly:
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = ["nice", sys.executable, "-m", "figures_lib", "run"]
        command += ["--config", str(TEST_CONFIG)]
        with Path(folder.name, "log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--out", str(Path(folder.name, "test"))],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )
        session.stash[EXECUTION] = Execution(folder, process)


def pytest_sessionfinish(session):
    """Nothing of it stays, whatever ended the tests."""
    if EXECUTION in session.stash:
        folder, process = session.stash[EXECUTION]
        with suppress(psutil.NoSuchProcess):  # kernels have sessions of their own
            for one in psutil.Process(process.pid).children(recursive=True):
                one.kill()
        process.kill()
        process.wait()
        folder.cleanup()


@pytest.fixture(scope="session")
def executed_run(request):
    """All notebooks, executed by the command of the README at the test profile."""
    folder, process = request.session.stash[EXECUTION]
    assert process.wait() == 0, Path(folder.name, "log").read_text()
    return Path(folder.name, "test")


@pytest.fixture(scope="session")
def built_site(executed_run, tmp_path_factory):
    html = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "figures_lib", "build", "--run", str(executed_run)]
    answer = subprocess.run(
        [*command, "--out", str(html)], cwd=ROOT, capture_output=True, text=True, check=False
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
