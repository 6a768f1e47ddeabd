"""Nothing that is read can run code, and nothing that is written tells of this machine."""

import ast
import getpass
import re
import socket
import tempfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from figures_lib.yaml_file import Loader

SOURCES = [
    path
    for place in ("figures_lib", "book/_ext")
    for path in sorted((ROOT / place).rglob("*.py"))
]
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {
    *("os.system", "os.popen", "torch.load", "torch.save", "subprocess.getoutput"),
    *("yaml.unsafe_load", "yaml.full_load", "np.fromfile", "marshal.loads", "shelve.open"),
}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|ghp_\w{36}|-----BEGIN [A-Z ]*PRIVATE KEY|xox[bp]-\w{10}"
    r"|(?i:api_key|password|secret_key)\s*[=:]\s*['\"]\w{8}"
)
TEXTS = (".html", ".js", ".json", ".ipynb", ".css", ".svg", ".csv", ".txt", ".xml")


def problems(source: str) -> list[str]:
    """What a module does that could run what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names]
            found += [n for n in names if n and n.split(".")[0] in FORBIDDEN_IMPORTS]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            arguments = [ast.unparse(argument) for argument in node.args]
            if called in FORBIDDEN_NAMES | FORBIDDEN_CALLS:
                found.append(called)
            if given.get("shell", "False") != "False":
                found.append("shell=True")
            if called == "np.load" and given.get("allow_pickle") != "False":
                found.append("np.load without allow_pickle=False")
            if called == "yaml.load" and "Loader" not in arguments:
                found.append("yaml.load without the safe loader")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_can_run_what_it_reads(path: Path):
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from pickle import loads", "eval('1')", "torch.load('x')"),
        *("np.load('x')", "np.load('x', allow_pickle=True)", "yaml.load(text, yaml.Loader)"),
        *("subprocess.run('ls', shell=True)", "os.system('ls')"),
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str):
    assert problems(source)


def test_the_loader_of_configurations_is_safe():
    assert issubclass(Loader, yaml.SafeLoader)


def told(folder: Path) -> list[str]:
    """Places in the texts of a folder that tell of this machine, or hold a secret."""
    user, host = getpass.getuser(), socket.gethostname()
    private = [str(ROOT), str(Path.home()) + "/", f"/home/{user}"]
    private += [name for name in (user, host) if len(name) > 5 and name != "localhost"]
    within = re.compile(rf"(?<!\.\.){re.escape(tempfile.gettempdir())}/")  # ../../tmp: relative
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in TEXTS:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{path.name}: {word}" for word in private if word in text]
            matches = [*SECRETS.finditer(text), *within.finditer(text)]
            found += [f"{path.name}: {match.group(0)[:12]}" for match in matches]
    return found


def test_the_scan_of_artefacts_finds_what_it_looks_for(tmp_path: Path):
    (tmp_path / "a.json").write_text(f'{{"path": "{ROOT}/x", "api_key": "abcdefghij"}}')
    (tmp_path / "b.html").write_text("api_key = 'abcdefghij'")
    (tmp_path / "c.txt").write_text(f"in {tempfile.gettempdir()}/x")
    (tmp_path / "d.txt").write_text(f"in ../../..{tempfile.gettempdir()}/x")  # relative
    assert {place.split(":")[0] for place in told(tmp_path)} == {"a.json", "b.html", "c.txt"}


def test_results_tell_nothing_of_the_machine(executed_run: Path):
    """Notebooks, figures, metrics, provenance, data of the viewers."""
    assert told(executed_run) == []


def test_the_site_tells_nothing_of_the_machine(built_site: Path):
    assert told(built_site) == []
