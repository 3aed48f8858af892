"""Wrong values are refused by the real engine, before anything reaches a cluster."""

from __future__ import annotations

import pytest

from tests.deploy.chart.helm import HelmError, Releases, rendered
from tests.deploy.chart.places import SETS, values_of
from tests.deploy.chart.refusals import WRONG, nested
from tests.deploy.kubernetes.server import cluster

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=lambda each: str(each)[:40])
def test_a_wrong_value_is_refused_by_name(helm, path, value, message):
    """The message says where it is, and what is wrong with it or what it may be."""
    with pytest.raises(HelmError) as refusal:
        helm.files(nested(path, value))

    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("server.settings", {"model-control": "explicit", "load-model": ["a"]}),
        ("server.settings.vetting-domain", ["com.microsoft"]),
        ("server.settings.log-format", None),
        ("models", {"source": "oci", "oci": {"reference": "r.org/models:1"}}),
        ("gateway", {"enabled": True, "parentRefs": [{"name": "a"}]}),
        ("pdb.maxUnavailable", "100%"),
        ("rollout", {"maxSurge": "25%", "maxUnavailable": 0}),
        ("replicas", 0),
        ("resources.limits.cpu", 4),
        ("networkPolicy.callers", [{"ipBlock": {"cidr": "10.0.0.0/8"}}]),
        ("affinity.podAntiAffinity", {"requiredDuringSchedulingIgnoredDuringExecution": []}),
        ("server.maxConnectionAge", 0),
        ("image.repository", "registry.example.org:5000/team/isotherm"),
    ],
    ids=str,
)
def test_a_right_value_passes(helm, path, value):
    """The control: the neighbours of what is refused."""
    assert rendered(helm, nested(path, value))


@pytest.mark.parametrize(
    ("values", "version", "message"),
    [
        ({"replicas": "2"}, "1.32", "'/replicas': got string, want integer"),
        (values_of(SETS["keda"]), "1.32", "needs Kubernetes 1.33 or later, and this is v1.32.0"),
        ({}, "1.28", "kubeVersion: >=1.29.0-0"),
    ],
    ids=["values", "volume", "version"],
)
def test_a_cluster_sees_nothing_of_what_is_refused(helm, tmp_path, values, version, message):
    """Values, and what needs a newer Kubernetes."""
    with cluster(version) as api:
        kubeconfig = api.write_kubeconfig(tmp_path / "kubeconfig")
        with pytest.raises(HelmError) as refusal:
            Releases(helm, kubeconfig, "default").install(values)

        assert message in str(refusal.value)
        assert api.changes() == []
