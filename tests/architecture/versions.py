"""The versions in docs/compatibility.md, from the files that decide about them.

    python -m tests.architecture.versions --write

puts them into the page.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.conformance.test_versions import NEWEST, OLDEST

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "compatibility.md"
PACKAGES: Final = ("grpcio", "protobuf", "numpy", "onnxruntime", "onnx", "torch", "onnxscript")
_BETWEEN: Final = re.compile(
    r"(<!-- python -m tests\.architecture\.versions --write -->\n).*?(<!-- /versions -->\n)",
    re.DOTALL,
)


def table() -> str:
    """Return the table: what is allowed, what is tested together, oldest and newest."""
    return "".join(f"| {' | '.join(row)} |\n" for row in _rows())


def written() -> str:
    """Return the page with the table of now."""
    page, count = _BETWEEN.subn(lambda match: f"{match[1]}{table()}{match[2]}", PAGE.read_text())
    assert count == 1
    return page


def _rows() -> Iterator[tuple[str, ...]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = {
        _name(requirement): _specifier(requirement)
        for requirements in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in requirements
    }
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and "!" not in line)
    oldest = dict(requirement.split("==") for requirement in OLDEST)
    yield "", "allowed", "tested together", "oldest tested", "newest tested"
    yield ("---",) * 5
    python = str(project["requires-python"])
    yield "Python", python, python.removeprefix(">="), "", ""
    for name in PACKAGES:
        newest = "the newest" if name in NEWEST else ""
        yield name, allowed[name], pinned[name], oldest.get(name, ""), newest


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=;]", requirement)[0]


def _specifier(requirement: str) -> str:
    return requirement.partition(";")[0].removeprefix(_name(requirement))


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    PAGE.write_text(written())
