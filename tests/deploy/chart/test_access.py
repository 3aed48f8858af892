"""Who may reach the server, and the pod that tries it."""

from __future__ import annotations

import pytest

from tests.deploy.chart.helm import health_pods, rendered
from tests.deploy.chart.refusals import nested
from tests.deploy.manifests import only

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["callers", "scrapers"])
def test_no_peers_are_nobody(helm, name):
    """An empty `from` would be everybody."""
    policy = only(rendered(helm, {"networkPolicy": {name: []}}), "NetworkPolicy")
    other = {"callers": "metrics", "scrapers": "grpc"}[name]

    assert [[{"protocol": "TCP", "port": other}]] == [
        rule["ports"] for rule in policy["spec"]["ingress"]
    ]


def test_no_peers_at_all_close_the_door(helm):
    """With REST on, too."""
    values = {"rest": {"enabled": True}, "networkPolicy": {"callers": [], "scrapers": []}}
    policy = only(rendered(helm, values), "NetworkPolicy")

    assert policy["spec"]["ingress"] == []
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_the_test_asks_the_server_at_its_service(helm):
    """As a hook, under the restricted standard, and gone afterwards when all is well."""
    (node,) = health_pods(helm, {})
    annotations = node["metadata"]["annotations"]

    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert node["spec"]["containers"][0]["command"] == [
        "isotherm",
        "health",
        "--address=isotherm.isotherm.svc:8001",
        "--timeout=10",
    ]
    assert "volumes" not in node["spec"]


def test_the_test_knows_the_authority_and_not_the_key(helm):
    """Of the Secret it sees one file."""
    (node,) = health_pods(helm, nested("tls.enabled", value=True))
    (volume,) = node["spec"]["volumes"]

    assert "--tls-ca=/tls/ca.crt" in node["spec"]["containers"][0]["command"]
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_the_test_trusts_known_authorities_where_there_is_none(helm):
    """A certificate that a public authority has signed."""
    (node,) = health_pods(helm, {"tls": {"enabled": True, "authority": ""}})

    assert node["spec"]["containers"][0]["command"][-1] == "--tls"
    assert "volumes" not in node["spec"]


def test_where_callers_need_certificates_there_is_no_test(helm):
    """It has none to show."""
    values = {"tls": {"enabled": True}, **nested("server.settings.tls-client-ca", "/tls/ca.crt")}

    assert health_pods(helm, values) == []
