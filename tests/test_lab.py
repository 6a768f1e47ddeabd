"""The notebooks in JupyterLab in a headless Chromium: cells run and widgets respond."""

import hashlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import nbformat
import papermill
import pytest
from conftest import ROOT, TEST_CONFIG
from papermill.parameterize import parameterize_notebook
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from test_site import seen_since

SLOW = 120  # seconds: the longest wait on a busy machine
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # all cells exist
    "@jupyterlab/apputils-extension:notification": {
        **{"checkForUpdates": False, "doNotDisturbMode": True, "fetchNews": "false"}
    },
}
PIXELS = """
const [image, done] = arguments;
image.decode().then(() => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext('2d').drawImage(image, 0, 0);
  done(canvas.toDataURL());
}).catch(() => done(''));
"""


@pytest.fixture(scope="module")
def lab(executed_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab with the executed run; the address of a notebook %s."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("04_panels", "09_play"):
        notebook = papermill.iorw.load_notebook_node(str(ROOT / "book" / f"{name}.ipynb"))
        given = {"config": str(TEST_CONFIG), "out": str(executed_run)}
        nbformat.write(parameterize_notebook(notebook, given), folder / f"{name}.ipynb")
    defaults = folder / "config" / "labconfig"
    defaults.mkdir(parents=True)
    (defaults / "default_setting_overrides.json").write_text(json.dumps(SETTINGS), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--expose-app-in-browser"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    place = {
        f"JUPYTERLAB_{what}_DIR": str(folder / what) for what in ("SETTINGS", "WORKSPACES")
    }
    place |= {"JUPYTER_CONFIG_DIR": str(folder / "config"), "PYTHONPATH": str(ROOT)}
    place["JUPYTER_RUNTIME_DIR"] = str(folder / "runtime")
    log = (folder / "lab.log").open("wb")
    server = subprocess.Popen(command, env={**os.environ, **place}, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, server, folder / "lab.log")
        yield f"{address}/lab/tree/%s.ipynb?reset&token={token}"
    finally:
        server.terminate()  # it ends its kernels first
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + SLOW
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(f"{address}/login", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text("utf-8")[-2000:])


class Page:
    """A notebook in JupyterLab, all of whose cells were run."""

    def __init__(self, chrome: webdriver.Chrome, address: str) -> None:
        self.chrome = chrome
        shape = {"width": 1400, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        # a browser without the focus opens a notebook, but leaves it inactive
        chrome.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
        chrome.get("about:blank")
        seen_since(chrome)
        chrome.get(address)
        self.until(lambda: chrome.execute_script("return !!window.jupyterapp"))
        self.until(lambda: self.all(".jp-Notebook .jp-CodeCell"))
        self.until(lambda: self.kernel() == "idle")
        chrome.execute_script("jupyterapp.commands.execute('notebook:run-all-cells')")

    def until(self, what: Callable[[], object]) -> None:
        WebDriverWait(self.chrome, SLOW, 0.1).until(lambda _: what())

    def kernel(self) -> str | None:
        return self.chrome.execute_script(
            "return jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status"
        )

    def all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def panel(self, picture: str) -> WebElement:
        """The widget whose picture is called so, in the middle of the window."""
        path = f"//*[contains(@class, 'widget-label')][contains(., '{picture}')]"
        path += "/ancestor::*[contains(@class, 'widget-vbox')]"
        self.until(lambda: self.chrome.find_elements(By.XPATH, path))
        found = self.chrome.find_elements(By.XPATH, path)[0]
        self.chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        self.until(lambda: self.pixels(found))
        return found

    def pixels(self, panel: WebElement) -> str:
        image = panel.find_element(By.TAG_NAME, "img")
        drawn = self.chrome.execute_async_script(PIXELS, image)
        return hashlib.sha256(drawn.encode()).hexdigest() if drawn else ""

    def handle(self, panel: WebElement, label: str) -> WebElement:
        """The handle of the slider with this label."""
        path = f".//label[.='{label}']/..//*[contains(@class, 'noUi-handle')]"
        return panel.find_element(By.XPATH, path)

    def changes(self, panel: WebElement, act: Callable[[], object]) -> None:
        """Wait until an act has changed the picture."""
        before = self.pixels(panel)
        act()
        self.until(lambda: self.pixels(panel) not in ("", before))


@pytest.fixture
def opened(browser: webdriver.Chrome, lab: str) -> Iterator[Callable[[str], Page]]:
    """Opens a notebook; at the end, no request may have gone to another host."""
    yield lambda name: Page(browser, lab % name)
    _, requests, _ = seen_since(browser)
    browser.get("about:blank")
    for address in requests:
        assert re.match(r"(https?|wss?)://127\.0\.0\.1:|data:|blob:|about:|chrome", address)


def test_movie_answers_to_the_keyboard(opened: Callable[[str], Page]) -> None:
    page = opened("04_panels")
    movie = page.panel("hidden movie")
    assert "Frame 0 of" in movie.text
    handle = page.handle(movie, "frame")
    page.changes(movie, lambda: handle.send_keys(Keys.ARROW_RIGHT * 3))
    page.until(lambda: "Frame 45 of" in movie.text)  # a step is 4,000 // 256 frames
    page.changes(movie, lambda: handle.send_keys(Keys.END))
    page.until(lambda: "Frame 3,999 of 4,000" in movie.text)  # though no step ends there
    weights = page.panel("true weights")
    assert "R² =" in weights.text
    page.changes(weights, lambda: page.handle(weights, "zoom").send_keys(Keys.ARROW_RIGHT))


def test_network_is_simulated_again_and_trained(opened: Callable[[str], Page]) -> None:
    page = opened("09_play")
    play = page.panel("simulated network")
    page.changes(play, lambda: page.handle(play, "noise σ").send_keys(Keys.ARROW_RIGHT * 5))
    page.until(lambda: "before" in play.text)
    training = page.panel("while inference runs")
    button = training.find_element(By.TAG_NAME, "button")
    page.changes(training, button.click)
    page.until(lambda: button.text == "stop" or "Stopped" in training.text)
    if button.text == "stop":
        button.click()
    page.until(lambda: "Scored with the truth" in training.text)
