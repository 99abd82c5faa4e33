"""Run the README's test command several times in a row, and print how long each run took.

`python tools/ten_times.py [TIMES]` ends with the first run that fails, shows what it said, and exits with 1.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The README's second command without its first part, which installs.
COMMAND = re.compile(r"^python3 -m venv .+ && (\S+ -m pytest.*)$", re.MULTILINE)


def main(times: int) -> int:
    """Return the exit code: 0 if every run passed."""
    found = COMMAND.search((ROOT / "README.md").read_text(encoding="utf-8"))
    if found is None:
        raise RuntimeError("the README has no command that runs the tests")
    took = []
    for number in range(1, times + 1):
        began = time.monotonic()
        run = subprocess.run(  # noqa: S602 - the README's own command
            found[1], shell=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        took.append(time.monotonic() - began)
        last = (run.stdout.splitlines() or [""])[-1]
        print(f"run {number}: {took[-1]:.1f} s, {last}", flush=True)
        if run.returncode != 0:
            print(f"{run.stdout}\nrun {number} failed")
            return 1
    print(f"median of {times}: {statistics.median(took):.1f} s, longest: {max(took):.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
