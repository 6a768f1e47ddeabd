"""Change the library in one place at a time; a test must fail: ``python tests/mutants.py``.

mutmut makes the mutants and runs the tests that reach each (``[tool.mutmut]`` in
``pyproject.toml`` names the modules and the tests). A mutant that passes them all has survived;
``mutmut show NAME`` prints it. After an interruption, the same command continues.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from checks import ROOT, keep

LEAST = 0.85  # share of the mutants that must be killed
KILLED = (1, 3, 36, 37, -24, 24, 152)  # exit codes: a test failed, or did not end


def main() -> int:
    """Run all mutants and count them by module."""
    mutmut = Path(sys.executable).with_name("mutmut")
    processes = str(len(os.sched_getaffinity(0)))
    subprocess.run(
        [mutmut, "run", "--max-children", processes],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=True,
    )
    total = Counter[bool]()
    for meta in sorted((ROOT / "mutants" / "figures_lib").rglob("*.meta")):
        codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"].values()
        count = Counter(code in KILLED for code in codes)
        if codes:
            print(f"{meta.stem}: {count[True]} of {len(codes)} killed")
        total += count
    share = total[True] / max(1, total.total())
    print(f"killed {total[True]} of {total.total()} mutants: {share:.1%}")
    keep("mutants", tried=total.total(), killed=total[True], percent=f"{100 * share:.1f}")
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
