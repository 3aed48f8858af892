"""That the committed dashboards and rules are the generated ones."""

import sys

import pytest
import yaml

from tests.deploy.places import DASHBOARDS, DEPLOY, ROOT, RULES
from tests.deploy.processes import output

GENERATED = ("dashboards", "prometheusrule")
COMMITTED = [
    *DASHBOARDS,
    RULES,
    *(DEPLOY / "kustomize/components/monitoring" / f"{name}.yaml" for name in GENERATED),
]


@pytest.fixture(name="generated", scope="module")
def _generated(tmp_path_factory):
    """What the generator writes for alerts whose pages lie elsewhere, and for ours."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("ours", "elsewhere")}
    command = [sys.executable, "-m", "deploy.observability"]
    output([*command, str(folders["ours"])], cwd=ROOT)
    elsewhere = ["--runbooks", "https://wiki.example.org/alerts/", str(folders["elsewhere"])]
    output([*command, *elsewhere], cwd=ROOT)
    return folders


def test_the_committed_files_are_the_generated_ones(generated):
    """Changes are made in deploy/observability, and the output is the same every time."""
    folder = generated["ours"]
    texts = {path.relative_to(folder): path.read_text() for path in folder.rglob("*.*")}

    assert {path.relative_to(DEPLOY): path.read_text() for path in COMMITTED} == texts


def test_the_pages_of_alerts_can_lie_elsewhere(generated):
    """A wiki, or this repository on a forge."""
    rules = (generated["elsewhere"] / RULES.relative_to(DEPLOY)).read_text()
    alerts = [
        rule
        for group in yaml.safe_load(rules)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]

    assert alerts
    for alert in alerts:
        page = f"https://wiki.example.org/alerts/{alert['alert']}.md"
        assert page == alert["annotations"]["runbook_url"]
