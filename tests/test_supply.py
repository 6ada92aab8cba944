"""The locks are of this project and have a hash for everything; what an audit did not answer is never called clean."""

import hashlib
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Package -> its version and the number of its hashes."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text().replace("\\\n", " ")
    found = (re.match(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)(.*)", line) for line in text.splitlines())
    return {m[1]: (m[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", m[3]))) for m in found if m}


def wanted(*extras: str) -> list[Requirement]:
    lines, found = [*PROJECT["dependencies"]], []
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    while lines:
        requirement = Requirement(lines.pop())
        if requirement.name == "gnnrec":
            lines += [line for extra in requirement.extras for line in PROJECT["optional-dependencies"][extra]]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize(("name", "extras"), [("demo", ("demo",)), ("test", ("demo", "dev"))])
def test_a_lock_has_all_that_the_project_wants_with_hashes(name, extras):
    pins = locked(name)
    assert all(hashes for _, hashes in pins.values()) and len(pins) > 50
    for requirement in wanted(*extras):
        version = pins.get(canonicalize_name(requirement.name), ("none", 0))[0]
        assert version != "none" and version in requirement.specifier, f"{requirement}: {version}; run scripts/lock"


def test_the_locks_are_of_this_pyproject():
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    assert (ROOT / "requirements/pyproject.sha256").read_text().split()[0] == digest, "run scripts/lock"


@pytest.fixture
def verdict():
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts/audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.verdict


def test_what_was_not_answered_is_no_clean_bill(verdict):
    clean = {"name": "one", "version": "1", "vulns": []}
    bad = {"name": "two", "version": "2", "vulns": [{"id": "CVE-2099-1"}, {"id": "GHSA-x"}]}
    silent = {"name": "three", "skip_reason": "no answer"}
    skipped = (0, "pip-audit: skipped, its data cannot be reached here (no answer)")
    assert verdict({"dependencies": [silent]}) == skipped
    assert verdict({"dependencies": [clean]}) == (0, "pip-audit: no known vulnerability in 1 packages")
    assert verdict({"dependencies": [clean, silent]})[1].endswith("in 1 packages; no answer about three")
    assert verdict({"dependencies": [silent, bad]}) == (
        1,
        "pip-audit: known vulnerabilities\ntwo 2: CVE-2099-1, GHSA-x",
    )
