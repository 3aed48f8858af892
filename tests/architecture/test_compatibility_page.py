"""docs/compatibility.md says what the files say."""

from __future__ import annotations

import re
import sys
import tomllib

from isotherm.v1 import contract as contracts
from tests.architecture.promises import LISTS, PROMISED, PUBLIC_MODULES, ROOT
from tests.architecture.versions import PAGE, written

TEXT = PAGE.read_text()


def test_the_versions_are_those_of_the_files() -> None:
    """Run `python -m tests.architecture.versions --write`."""
    assert written() == TEXT


def test_every_python_that_is_named_is_allowed() -> None:
    """The classifiers begin where `requires-python` does, and these tests run on one of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [
        line.rpartition(" ")[2]
        for line in project["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", line)
    ]

    assert named[0] == project["requires-python"].removeprefix(">=")
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in named


def test_the_page_names_what_is_promised() -> None:
    """Modules, the schema's number, and no list that the tests do not know."""
    assert all(f"`{name}`" in TEXT for name in PUBLIC_MODULES)
    assert f"`schema_version`, now {contracts.SCHEMA_VERSION}" in TEXT
    assert {f"{name}.txt" for name in LISTS} | {"contract-1.json"} == {
        path.name for path in PROMISED.iterdir()
    }


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository."""
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)

    assert links
    assert [] == [link for link in links if not (PAGE.parent / link).exists()]
