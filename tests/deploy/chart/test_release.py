"""A release from its installation to its end, on an API server, by the real Helm."""

from __future__ import annotations

import base64

import pytest

from tests.deploy.chart.helm import Releases, rendered
from tests.deploy.chart.places import SETS, values_of
from tests.deploy.chart.refusals import nested
from tests.deploy.kubernetes.server import cluster

pytestmark = pytest.mark.slow


@pytest.fixture(name="api")
def _api():
    with cluster("1.37") as api:
        api.add("", "Namespace", "isotherm")
        yield api


@pytest.fixture(name="releases")
def _releases(helm, api, tmp_path):
    """The releases of the namespace."""
    return Releases(helm, api.write_kubeconfig(tmp_path / "kubeconfig"), "isotherm")


def _kept(api):
    """The objects of the namespace, but for the Secrets in which Helm keeps its releases."""
    return {
        key: node
        for key, node in api.objects("isotherm").items()
        if node.get("type") != "helm.sh/release.v1"
    }


def _versions(api):
    """What tells whether an object has changed."""
    return {key: node["metadata"]["resourceVersion"] for key, node in _kept(api).items()}


def _changed(before, after):
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.mark.parametrize("name", sorted(SETS))
def test_an_installation_makes_what_is_rendered(helm, api, releases, name):
    """The cluster takes every object, and the test waits for `helm test`."""
    values = values_of(SETS[name])

    releases.install(values)

    wanted = {(node["kind"], node["metadata"]["name"]): node for node in rendered(helm, values)}
    kept = _kept(api)
    assert wanted.keys() == kept.keys()
    assert all(node["spec"] == kept[key]["spec"] for key, node in wanted.items() if "spec" in node)
    (hook,) = releases.kept()["hooks"]
    assert hook["name"] == "isotherm-test"
    assert ("Pod", "isotherm-test") not in kept


def test_an_upgrade_changes_only_what_differs(api, releases):
    """More replicas: the Deployment. A monitor more: it alone. The same again: nothing."""
    releases.install({})
    first = _versions(api)

    releases.upgrade(nested("replicas", 3))
    second = _versions(api)
    releases.upgrade({"replicas": 3, **nested("monitoring.podMonitor.enabled", value=True)})
    third = _versions(api)
    releases.upgrade({"replicas": 3, **nested("monitoring.podMonitor.enabled", value=True)})

    assert _changed(first, second) == {("Deployment", "isotherm")}
    assert _changed(second, third) == {("PodMonitor", "isotherm")}
    assert third == _versions(api)


def test_an_upgrade_takes_away_what_is_wanted_no_longer(api, releases):
    """Objects, and fields of objects: the number of replicas, once an autoscaler decides."""
    releases.install(nested("monitoring.podMonitor.enabled", value=True))

    releases.upgrade(nested("autoscaling.by", "keda"))

    kept = _kept(api)
    assert ("PodMonitor", "isotherm") not in kept
    assert ("ScaledObject", "isotherm") in kept
    assert "replicas" not in kept["Deployment", "isotherm"]["spec"]


def test_a_rollback_brings_back_what_was(api, releases):
    """To the letter, as a revision of its own."""
    releases.install({})
    before = _kept(api)
    releases.upgrade(values_of(SETS["everything"]))

    releases.rollback(1)

    after = _kept(api)
    assert before.keys() == after.keys()
    for key, node in before.items():
        assert node.get("spec") == after[key].get("spec")
        assert node["metadata"]["labels"] == after[key]["metadata"]["labels"]
        assert node["metadata"].get("annotations") == after[key]["metadata"].get("annotations")
    assert ["superseded", "superseded", "deployed"] == [
        each["status"] for each in releases.history()
    ]


def test_an_end_leaves_nothing_of_the_release(api, releases):
    """Helm's own Secrets neither. What was there before stays."""
    spec = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}
    api.add("isotherm", "PersistentVolumeClaim", "isotherm-models", spec=spec)
    releases.install(values_of(SETS["everything"]))
    releases.upgrade({})

    releases.uninstall()

    assert api.objects("isotherm").keys() == {("PersistentVolumeClaim", "isotherm-models")}


def test_a_release_is_small_enough_to_be_kept(api, releases):
    """With every dashboard: a Secret holds one MiB at most."""
    releases.install(values_of(SETS["everything"]))

    (secret,) = (node for node in api.objects("isotherm").values() if node["kind"] == "Secret")
    assert secret["type"] == "helm.sh/release.v1"
    assert len(base64.b64decode(secret["data"]["release"])) < 1 << 19


def test_the_notes_say_what_is_missing(api, releases):
    """A claim, an image without a registry; and how to reach the server."""
    releases.install({})
    notes = releases.kept()["info"]["notes"]

    assert "The claim isotherm-models with the models" in notes
    assert "The image isotherm:0.1.0 names no registry" in notes
    assert "dns:///isotherm-headless.isotherm.svc:8001" in notes
    assert "helm test isotherm --namespace isotherm" in notes


def test_the_notes_do_not_miss_what_is_there(api, releases):
    """The control: a Secret of the values is there, the others are not."""
    api.add("isotherm", "Secret", "isotherm-tls")

    releases.install(values_of(SETS["everything"]))

    notes = releases.kept()["info"]["notes"]
    assert "isotherm-tls" not in notes
    assert "The Secret registry with the registry's credentials" in notes
    assert "The Secret isotherm-models-source with" in notes
    assert "prometheus-adapter" in notes
    assert "names no registry" not in notes
    assert "through the gateway      models.example.org" in notes
