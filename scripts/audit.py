"""Known vulnerabilities of the locked packages, by pip-audit.

python scripts/audit.py [--seconds 120]

pip-audit asks the index for advisories, and calls a package that it gets no answer about clean. So its report is read:
where nothing was answered this says that it was skipped, and why, and is no failure; one that is found is a failure.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements" / "test.lock"


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """The exit status and what to say of a report in pip-audit's JSON."""
    packages = report["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    found = [package for package in asked if package["vulns"]]
    if found:
        lines = [f"{p['name']} {p['version']}: {', '.join(v['id'] for v in p['vulns'])}" for p in found]
        return 1, "\n".join(["pip-audit: known vulnerabilities", *lines])
    if not asked:
        reason = packages[0]["skip_reason"] if packages else "the lock is empty"
        return 0, f"pip-audit: skipped, its data cannot be reached here ({reason})"
    left = [package["name"] for package in packages if package not in asked]
    more = f"; no answer about {', '.join(left)}" if left else ""
    return 0, f"pip-audit: no known vulnerability in {len(asked)} packages{more}"


def audit(lock: Path, seconds: float) -> tuple[int, str]:
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    command += ["--timeout", "5", "--format", "json", "--requirement", str(lock)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        return verdict(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return 0, f"pip-audit: skipped, its data cannot be reached here (nothing within {seconds:g} s)"
    except ValueError:  # no report: it could not reach its data at all
        reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        return 0, f"pip-audit: skipped, its data cannot be reached here ({reason[:200]})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Known vulnerabilities of the locked packages.")
    parser.add_argument("--seconds", type=float, default=120, help="that it may take (default: 120)")
    status, line = audit(LOCK, parser.parse_args().seconds)
    print(line, file=sys.stderr if status else sys.stdout)
    sys.exit(status)
