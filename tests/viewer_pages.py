"""Viewers in the tests: their data in a run, and a viewer in a browser."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from conftest import ROOT
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from test_site import DESKTOP, seen_since

import figures_lib as fl

PAGES = {
    "hero": "intro",
    "traces": "02_simulate",
    "movie": "04_panels",
    "connectivity": "04_panels",
    "functions": "05_functions",
    "siren": "05_functions",
}
READY = "return document.querySelector(arguments[0]).dataset.ready"
HASHES = """
const done = arguments[1];
requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(() => done(
  [...document.querySelectorAll(`${arguments[0]} canvas`)].map((canvas) => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((hash, value) => (31 * hash + value) | 0, 0);
  })))));
"""


def read(text: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The content of a data file: the manifest and the arrays."""
    found = re.fullmatch(r'Viewers\.receive\("\w+", (\{.*\}), "([\w+/=]*)"\);\n', text)
    assert found is not None
    about, body = json.loads(found[1]), base64.b64decode(found[2])
    arrays = {}
    for name, part in about["arrays"].items():
        kind = np.dtype(part["type"]).newbyteorder("<")
        assert part["offset"] % kind.itemsize == 0
        size = int(np.prod(part["shape"]))
        codes = np.frombuffer(body, kind, size, part["offset"]).reshape(part["shape"])
        coded = part["step"] is not None
        arrays[name] = part["low"] + part["step"] * codes if coded else codes
    return about, arrays


def written(run: fl.Run, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return read((run.out / "viewers" / f"{kind}.js").read_text("utf-8"))


class Page:
    """One viewer, open in a browser."""

    def __init__(self, chrome: webdriver.Chrome, kind: str) -> None:
        self.chrome, self.kind, self.root = chrome, kind, f"#viewer-{kind}"
        self.scroll()
        WebDriverWait(chrome, 20).until(lambda page: page.execute_script(READY, self.root))

    def begin(self) -> None:
        """Press the button of a viewer that loads its data on request; wait for its picture."""
        self.button("Load").click()
        self.settle()

    def settle(self) -> None:
        computing = "const {dataset} = document.querySelector(arguments[0]);"
        computing += "return dataset.ready === 'yes' && !dataset.computing"
        WebDriverWait(self.chrome, 30).until(
            lambda page: page.execute_script(computing, self.root)
        )

    def scroll(self) -> None:
        script = "document.querySelector(arguments[0]).scrollIntoView({behavior: 'instant'})"
        self.chrome.execute_script(script, self.root)

    @property
    def ready(self) -> str:
        return self.chrome.execute_script(READY, self.root)

    def hashes(self) -> list[int]:
        return self.chrome.execute_async_script(HASHES, self.root)

    def pixels(self, index: int) -> np.ndarray:
        """Red, green, blue and opacity of one of its pictures, row by row from the top."""
        self.hashes()  # waits until it is drawn
        script = "return document.querySelectorAll(`${arguments[0]} canvas`)[arguments[1]]"
        address = self.chrome.execute_script(f"{script}.toDataURL()", self.root, index)
        picture = iio.imread(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        return picture.astype(int)

    def titles(self) -> list[str]:
        """The text above its pictures."""
        return [one.text for one in self.all(".viewer-title")]

    def boxes(self) -> list[dict[str, int]]:
        """Where its pictures are."""
        return [one.rect for one in self.all("canvas")]

    def all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements(By.CSS_SELECTOR, f"{self.root} {selector}")

    def find(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, f"{self.root} {selector}")

    def labelled(self, text: str) -> WebElement:
        """The control with this label."""
        path = f"//*[@id='{self.root[1:]}']//label[contains(., '{text}')]"
        return self.chrome.find_element(By.XPATH, f"{path}//*[self::input or self::select]")

    def button(self, text: str) -> WebElement:
        path = f"//*[@id='{self.root[1:]}']//button[contains(., '{text}')]"
        return self.chrome.find_element(By.XPATH, path)

    def readout(self) -> str:
        return self.find(".viewer-readout").text

    def changes(self, act: Callable[[], Any]) -> list[bool]:
        """Which pictures an act changes."""
        before = self.hashes()
        act()
        self.settle()
        after = self.hashes()
        return [one != other for one, other in zip(before, after, strict=True)]


def bare_page(folder: Path, *texts: str) -> str:
    """The address of a page from disk with all viewers and nothing else.

    Args:
        folder: where it is made.
        texts: data files, each of which names its viewer.
    """
    shutil.copytree(ROOT / "book" / "_static" / "viewers", folder, dirs_exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    for text in texts:
        name = text.partition('"')[2].partition('"')[0]
        (folder / "data" / f"{name}.js").write_text(text, "utf-8")
    places = "".join(
        f'<div class="viewer" id="viewer-{kind}" data-viewer="{kind}"'
        f' data-file="{"movie" if kind == "hero" else kind}"></div>'
        for kind in PAGES
    )
    page = f'<!DOCTYPE html><meta charset="utf-8">{places}<script src="core.js"></script>'
    (folder / "page.html").write_text(page, "utf-8")
    return f"file://{folder}/page.html"


@contextmanager
def visiting(chrome: webdriver.Chrome, address: str) -> Iterator[Callable[..., Page]]:
    """Opens a viewer; at the end, no request may have failed or gone to another host."""

    def go(kind: str, width: int = DESKTOP) -> Page:
        shape = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        chrome.get("about:blank")
        seen_since(chrome)
        chrome.get(f"{address}/book/{PAGES[kind]}.html")
        page = Page(chrome, kind)
        if page.ready == "asks":
            page.begin()
        return page

    yield go
    errors, requests, failures = seen_since(chrome)
    assert (errors, failures) == ([], [])
    own = (address, "data:", "blob:" + address, "about:")
    assert [one for one in requests if not one.startswith(own)] == []
