"""What the checks of single objects refuse."""

import pytest

from tests.deploy.kubernetes.validation import InvalidError, check

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "isotherm", "labels": {"a": "b"}},
    "spec": {"ports": [{"port": 8001}]},
}
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GRPCRoute",
    "metadata": {"name": "isotherm"},
    "spec": {"hostnames": ["example.org"]},
}


@pytest.mark.parametrize("node", [SERVICE, ROUTE], ids=lambda node: node["kind"])
def test_a_valid_object_passes(node):
    """Of Kubernetes, and of an operator."""
    check(node, "1.32")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (SERVICE | {"spec": {"prots": []}}, "spec.*'prots' was unexpected"),
        (SERVICE | {"spec": {"ports": [{"port": "8001"}]}}, "spec.ports.0.port.*not of type"),
        (SERVICE | {"metadata": {"name": "i" * 64}}, "metadata.name"),
        (SERVICE | {"metadata": {"name": "a", "labels": {"a": "b c"}}}, "metadata.labels.a"),
        (ROUTE | {"spec": {"hostname": "x"}}, "spec: .*'hostname' was unexpected"),
        (ROUTE | {"spec": {"hostnames": "x"}}, "spec.hostnames: 'x' is not of type 'array'"),
        (ROUTE | {"kind": "Nothing"}, "there is no schema of Nothing"),
    ],
    ids=str,
)
def test_an_object_that_a_cluster_would_refuse_is_named(node, message):
    """With the field and what is wrong with it."""
    with pytest.raises(InvalidError, match=message):
        check(node, "1.32")
