"""Looks over the locked packages: known vulnerabilities (pip-audit) and licences.

The exit code is 1 where a package has a known vulnerability, or a licence that is not on the list. Where the registry
does not answer questions about vulnerabilities, the audit is reported as not run.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"
# Licences that let the bot be MIT and be shipped with the package beside it; LGPL is psycopg's, used unchanged.
FINE = re.compile(r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|MPL|Mozilla|LGPL|0BSD|ISC)\b", re.IGNORECASE)


def names() -> list[str]:
    """The locked packages."""
    return re.findall(r"^([a-z0-9_.-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE)


def vulnerabilities() -> int:
    """How many packages have a known vulnerability."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip"]
    done = subprocess.run([*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        packages = []
    audited = [package for package in packages if "vulns" in package]
    if not audited:
        print("pip-audit: NOT RUN, the registry does not answer")
        return 0
    bad = [package for package in audited if package["vulns"]]
    for package in bad:
        print(f"pip-audit: {package['name']} {package['version']}: {', '.join(v['id'] for v in package['vulns'])}")
    print(f"pip-audit: {len(audited)} of {len(names())} packages looked at, {len(bad)} with a known vulnerability")
    return len(bad)


def licences() -> int:
    """How many packages have a licence that is not on the list."""
    bad = absent = 0
    for name in names():
        try:
            about = metadata(name)
        except PackageNotFoundError:  # of another platform
            absent += 1
            continue
        classified = [c for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
        said = " ".join(filter(None, [about["License-Expression"], (about["License"] or "")[:100], *classified]))
        if not FINE.search(said):
            bad += 1
            print(f"licences: {name} is {said or 'of no known licence'}")
    print(f"licences: {len(names()) - absent} of {len(names())} packages looked at, {bad} not on the list")
    return bad


if __name__ == "__main__":
    sys.exit(bool(vulnerabilities() + licences()))
