"""The chart and kustomize make the same objects from the same wishes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.deploy.chart.helm import Helm, rendered
from tests.deploy.chart.places import SETS, values_of
from tests.deploy.kustomize.renderings import COMPONENTS
from tests.deploy.kustomize.renderings import rendered as kustomized
from tests.deploy.manifests import Objects
from tests.deploy.places import KUSTOMIZE

pytestmark = pytest.mark.slow

# What a release adds to every object, and what kustomize needs to join the policies of components.
LABELS = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "isotherm-network",
}
# Lists whose order says nothing, and what tells their elements apart.
KEYS = {"env": "name", "ports": "name", "volumeMounts": "mountPath", "volumes": "name"}

# Components, and the values that say the same.
COMPOSED = {
    "hpa": (
        ("models-fetch", "network-policy", "gpu", "tls", "gateway", "gateway-tls", "hpa"),
        {
            "models": {"source": "fetch"},
            "gpu": {"enabled": True},
            "tls": {"enabled": True},
            "autoscaling": {"by": "hpa"},
            "gateway": {
                "enabled": True,
                "parentRefs": [{"name": "gateway", "namespace": "gateway"}],
                "hostnames": ["isotherm.example.org"],
                "tls": {"enabled": True, "hostname": "isotherm.example.org"},
            },
        },
    ),
    "keda": (
        ("models-oci", "network-policy", "keda", "monitoring", "rest", "tracing"),
        {
            "models": {
                "source": "oci",
                "oci": {"reference": "registry.example.org/isotherm-models:1"},
            },
            "autoscaling": {"by": "keda"},
            "rest": {"enabled": True},
            "tracing": {"enabled": True},
            "monitoring": {
                "podMonitor": {"enabled": True},
                "rules": {"enabled": True},
                "dashboards": {"enabled": True},
            },
        },
    ),
    "open": (("models-pvc",), {"networkPolicy": {"enabled": False}}),
    "sliced": (
        ("models-pvc", "network-policy", "gpu-mig"),
        {"gpu": {"enabled": True, "resource": "nvidia.com/mig-1g.10gb"}},
    ),
    "shared": (
        ("models-pvc", "network-policy", "gpu-shared"),
        {"gpu": {"enabled": True, "resource": "nvidia.com/gpu.shared"}},
    ),
}


@pytest.mark.parametrize("name", ["dev", "cpu", "gpu"])
def test_an_overlay_and_its_set_of_values_are_the_same(helm: Helm, name):
    """Object by object."""
    overlay = kustomized(KUSTOMIZE / "overlays" / name)

    assert _comparable(overlay) == _comparable(rendered(helm, values_of(SETS[name])))


def test_without_values_the_chart_is_the_overlay_for_processors(helm):
    """What people get who set nothing."""
    overlay = kustomized(KUSTOMIZE / "overlays" / "cpu")

    assert _comparable(overlay) == _comparable(rendered(helm, {}))


@pytest.mark.parametrize("name", COMPOSED)
def test_components_and_the_values_for_them_are_the_same(helm, name):
    """Object by object."""
    components, values = COMPOSED[name]
    base = kustomized(KUSTOMIZE / "base", components)

    assert _comparable(base) == _comparable(rendered(helm, values))


def test_every_component_is_compared():
    """The control: a new component needs values that say the same."""
    compared = {each for components, _ in COMPOSED.values() for each in components}

    assert set(COMPONENTS) == compared


def test_a_difference_is_seen(helm):
    """The control: one value that is not the overlay's."""
    overlay = _comparable(kustomized(KUSTOMIZE / "overlays" / "cpu"))
    chart = _comparable(rendered(helm, {"server": {"grace": 31}}))

    assert {("Deployment", "isotherm")} == {key for key in overlay if overlay[key] != chart[key]}


def _comparable(nodes: Objects) -> dict[tuple[str, str], Any]:
    """The objects by kind and name, less what must differ."""
    return {(node["kind"], node["metadata"]["name"]): _plain(node) for node in nodes}


def _plain(node: Any, field: str = "") -> Any:
    if isinstance(node, dict):
        return {key: _plain(value, key) for key, value in node.items() if key not in LABELS}
    if isinstance(node, list):
        plain = [_plain(each) for each in node]
        key = KEYS.get(field)
        # Ports of a policy have no names, and there the order is the same.
        named = key is not None and all(key in each for each in plain)
        return sorted(plain, key=lambda each: str(each[key])) if named else plain
    if field == "query" and isinstance(node, str):
        # A release knows its pods: several in one namespace do not scale each other.
        return re.sub(r', pod=~"isotherm-[^"]*"', "", node)
    return node
