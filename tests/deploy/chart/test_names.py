"""Names, labels and selectors: releases keep apart from each other."""

from __future__ import annotations

import copy
import re

import pytest

from tests.deploy.chart.helm import rendered, with_health
from tests.deploy.chart.places import SETS, values_of
from tests.deploy.chart.refusals import nested
from tests.deploy.kubernetes.validation import check
from tests.deploy.manifests import Objects, called, only, pod

pytestmark = pytest.mark.slow


def test_two_releases_do_not_meet(helm):
    """In one namespace: no name is there twice, and no selector finds the other's pods."""
    values = values_of(SETS["everything"])
    one, other = (with_health(helm, values, name) for name in ("isotherm", "isotherm-canary"))
    names = [{(node["kind"], node["metadata"]["name"]) for node in nodes} for nodes in (one, other)]

    assert names[0].isdisjoint(names[1])
    found = [each for each in _selectors(other) if _selects(each, pod(one)["metadata"]["labels"])]
    assert found == []
    assert all(_selects(each, pod(one)["metadata"]["labels"]) for each in _selectors(one))


def test_a_release_scales_by_its_own_pods(helm):
    """Whose job is that of all servers, and whose names may begin alike."""
    pods = {name: f"{name}-5b7f9d6c8-x2x9k" for name in ("isotherm", "isotherm-canary")}
    for name, own in pods.items():
        scaler = only(rendered(helm, nested("autoscaling.by", "keda"), name), "ScaledObject")
        query = scaler["spec"]["triggers"][0]["metadata"]["query"]
        (pattern,) = re.findall(r'pod=~"([^"]*)"', query)

        assert [own] == [each for each in pods.values() if re.fullmatch(pattern, each)]


def test_nothing_selects_the_pod_of_the_test(helm):
    """Or callers would be led to it."""
    nodes = with_health(helm, values_of(SETS["everything"]))
    labels = only(nodes, "Pod")["metadata"]["labels"]

    assert [each for each in _selectors(nodes) if _selects(each, labels)] == []


def test_names_are_never_too_long(helm):
    """The longest name that a release may have."""
    name = "r" * 53

    for node in with_health(helm, values_of(SETS["everything"]), name):
        check(node, "1.32")


def test_names_of_digits_stay_text(helm):
    """YAML would make numbers of them, which the cluster refuses."""
    values = {
        "pullSecrets": ["1"],
        "tls": {"enabled": True, "secret": "2"},
        "models": {"claim": {"name": "3"}},
        "priorityClassName": "4",
        "serviceAccount": {"name": "5"},
        "podAnnotations": {"a": "6"},
        "nodeSelector": {"a": "true"},
    }

    for node in with_health(helm, values):
        check(node, "1.32")


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        ({}, "isotherm", "isotherm"),
        ({}, "prod", "prod-isotherm"),
        ({}, "isotherm-prod", "isotherm-prod"),
        ({"nameOverride": "heat"}, "prod", "prod-heat"),
        ({"fullnameOverride": "heat"}, "prod", "heat"),
    ],
    ids=str,
)
def test_names_are_made_as_everywhere(helm, values, name, expected):
    """Of release and chart, unless they are the same."""
    nodes = rendered(helm, values, name)

    assert only(nodes, "Deployment")["metadata"]["name"] == expected
    assert (
        f"{expected}-headless"
        == called(nodes, "Service", f"{expected}-headless")["metadata"]["name"]
    )
    assert pod(nodes)["spec"]["serviceAccountName"] == expected


def test_the_account_may_be_of_somebody_else(helm):
    """Then none is made, for the test's pod neither."""
    values = {"serviceAccount": {"create": False, "name": "models"}}
    nodes = with_health(helm, values)

    assert "ServiceAccount" not in {node["kind"] for node in nodes}
    assert pod(nodes)["spec"]["serviceAccountName"] == "models"
    assert only(nodes, "Pod")["spec"]["serviceAccountName"] == "models"


def _selectors(nodes: Objects) -> list[dict[str, str]]:
    """All label selectors that are to find pods of the server."""
    nodes = copy.deepcopy(nodes)
    found = []
    for node in nodes:
        spec = node.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector"))
        if selector:
            found.append(selector.get("matchLabels", selector))
    found += [
        each["labelSelector"]["matchLabels"]
        for each in pod(nodes)["spec"]["topologySpreadConstraints"]
    ]
    return found


def _selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()
