"""The files that the chart carries, and the chart as a file."""

from __future__ import annotations

import json
import shutil
import tarfile

import pytest
import yaml

from tests.deploy.chart.helm import HelmError, rendered
from tests.deploy.chart.places import CHART
from tests.deploy.chart.refusals import nested
from tests.deploy.manifests import only, parsed
from tests.deploy.places import DASHBOARDS, RULES

pytestmark = pytest.mark.slow


def test_the_dashboards_are_the_generated_ones(helm):
    """Each in a map of its own, to the letter. A new one needs a link in the chart's files."""
    nodes = rendered(helm, nested("monitoring.dashboards.enabled", value=True))
    maps = [node["data"] for node in nodes if node["kind"] == "ConfigMap"]
    found = {name: text for data in maps for name, text in data.items()}

    assert len(maps) == len(DASHBOARDS) > 5
    assert {path.name: path.read_text() for path in DASHBOARDS} == found


def test_the_rules_are_the_generated_ones(helm):
    """Save for the place of the alerts' pages."""
    url = "https://wiki.example.org/alerts/"
    values = {"monitoring": {"rules": {"enabled": True, "runbooks": url}}}
    groups = only(rendered(helm, values), "PrometheusRule")["spec"]
    text = RULES.read_text().replace("docs/runbooks/", url)

    assert yaml.safe_load(text) == groups
    assert url in json.dumps(groups)


def test_a_package_is_complete(helm, tmp_path):
    """The links in it are files, and what it makes is the same; the value sets stay outside."""
    archive = helm("package", chart=CHART, folder=tmp_path)
    with tarfile.open(archive) as files:
        members = {member.name: member for member in files.getmembers()}
    values = nested("monitoring", {"rules": {"enabled": True}, "dashboards": {"enabled": True}})

    assert all(member.isfile() for member in members.values())
    assert f"isotherm/files/dashboards/{DASHBOARDS[0].name}" in members
    assert not any(name.startswith("isotherm/ci/") for name in members)
    assert helm.files(values) == helm.files(values, chart=archive)


@pytest.mark.parametrize("part", ["rules", "dashboards"])
def test_links_that_were_not_followed_are_missed(helm, tmp_path, part):
    """By those who turn on what they lead to; others need them not."""
    copy = tmp_path / "isotherm"
    shutil.copytree(CHART, copy, symlinks=True)
    for link in copy.glob("files/**/*.*"):
        link.unlink()

    assert helm.files({}, chart=copy)
    with pytest.raises(HelmError, match="the links in files/ of this chart were not followed"):
        helm.files(nested(f"monitoring.{part}.enabled", value=True), chart=copy)


def test_it_may_be_a_part_of_another_chart(helm, tmp_path):
    """Helm then adds `global` to its values, which the closed schema must let through."""
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / "isotherm").symlink_to(CHART)
    chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(chart))
    values = {"global": {"a": 1}, "isotherm": {"replicas": 7, "fullnameOverride": "heat"}}

    files = helm.files(values, "release", chart=parent)

    (deployment,) = parsed(files["deployment.yaml"])
    assert deployment["spec"]["replicas"] == 7
    assert deployment["metadata"]["name"] == "heat"
