"""Bad input: one line says what, where and what to do; nothing is written or lost."""

import json
import resource

import pytest
import torch
from bad_input import CASES, HOLDERS, Case, table
from checks import RECORD
from conftest import ROOT, TEST_CONFIG
from test_pipeline import FAST

from figures_lib import commands
from figures_lib.__main__ import main
from figures_lib.errors import ConfigError, StorageError
from figures_lib.runs.files import exclusive, writing
from figures_lib.runs.run import open_run
from figures_lib.runs.site import FRONT_PAGE, check_place, put_in_place


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch):
    def refuse(*_):
        raise AssertionError("bad input got as far as the notebooks")

    monkeypatch.setattr(commands, "execute_notebooks", refuse)
    yield
    for process in HOLDERS:
        process.communicate(timeout=30)
    HOLDERS.clear()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch, case: Case):
    if "cuda" in case.expected and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    monkeypatch.chdir(tmp_path)
    arguments = case.arguments(tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    assert main(arguments) == case.code
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert case.expected.lower() in error.lower()
    assert len(error) < 600
    after = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert after == before


def test_the_page_shows_every_case():
    """The record is written by ``python tests/bad_input.py``."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["bad_input.table"] == table()
    assert record["bad_input.cases"] == len(CASES)
    page = (ROOT / "book" / "testing.md").read_text(encoding="utf-8")
    assert "{{ bad_input_table }}" in page and "{{ bad_input_cases }}" in page


@pytest.mark.parametrize(
    ("stage", "largest"),
    [("simulate", 100_000), ("infer", 20_000)],
    ids=["numpy", "safetensors"],
)
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, stage, largest):
    """Files cannot grow beyond a size; once they can, the run continues."""
    run = open_run(TEST_CONFIG, tmp_path, FAST)
    if stage == "infer":
        run.simulate()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        with pytest.raises(
            StorageError, match=rf"{stage}-.* cannot be written \(File too large\)"
        ):
            run.infer()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = [path.name for path in tmp_path.rglob("*") if path.name != "stages"]
    assert sorted(after) == [name for name in before if name != "stages"]
    assert run.infer().history.sweeps[-1].phase in ("type", "alone")


def test_a_full_disk_keeps_the_earlier_site(tmp_path):
    built, html = tmp_path / "built", tmp_path / "html"
    for folder, size in ((built, 200_000), (html, 10)):
        folder.mkdir()
        for name in ("index.html", "page.html"):
            (folder / name).write_bytes(b"x" * size)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="File too large"), writing(html):
            put_in_place(built, html)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "html"]
    assert (html / "index.html").read_bytes() == b"x" * 10


def test_a_site_replaces_only_an_earlier_site(tmp_path):
    for name in ("absent", "empty", "site/book"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "absent").rmdir()
    (tmp_path / "site" / FRONT_PAGE).write_text("earlier")
    for name in ("absent", "empty", "site"):
        check_place(tmp_path / name)
    with pytest.raises(ConfigError, match="would be lost"):
        check_place(tmp_path)


def test_a_folder_is_unlocked_at_the_end_and_on_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
            raise ZeroDivisionError
    with exclusive(tmp_path), pytest.raises(Exception, match="in use"), exclusive(tmp_path):
        pass
