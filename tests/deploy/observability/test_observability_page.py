"""docs/observability.md against the files and dashboards that it names."""

import json
import re

from tests.deploy.places import DASHBOARDS, OBSERVABILITY_PAGE, ROOT

PAGE = OBSERVABILITY_PAGE.read_text()


def test_every_file_that_the_page_names_exists():
    """A moved file takes the page along."""
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", PAGE))
    linked = {f"docs/{link}" for link in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE)}

    assert len(named) >= 5
    assert {name for name in named | linked if not (ROOT / name).exists()} == set()


def test_the_page_lists_the_dashboards():
    """By their titles, and no other."""
    titles = {json.loads(path.read_text())["title"] for path in DASHBOARDS}
    rows = re.findall(r"^\| (Isotherm[^|]*) \|", PAGE, re.MULTILINE)

    assert titles == set(rows)
