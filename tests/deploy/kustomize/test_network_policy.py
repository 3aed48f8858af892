"""Who reaches whom, with the component network-policy and with others beside it."""

import pytest

from tests.deploy.kustomize.network import Network, Workload
from tests.deploy.kustomize.renderings import rendered
from tests.deploy.manifests import Objects, container, of_kind, only, pod
from tests.deploy.places import KUSTOMIZE

pytestmark = pytest.mark.slow

BASE = KUSTOMIZE / "base"
OWN = {"kubernetes.io/metadata.name": "isotherm"}
REST, GRPC, METRICS, OTLP, NAMES, HTTPS = 8000, 8001, 8002, 4318, 53, 443


def _of(namespace: str, **labels: str) -> Workload:
    return Workload({"kubernetes.io/metadata.name": namespace, **labels}, {"app": "any"}, {})


NEIGHBOUR = Workload(OWN, {"app": "any"}, {})
STRANGER = _of("elsewhere")
INVITED = _of("shop", **{"isotherm-callers": "true"})
PROMETHEUS = _of("monitoring")
GATEWAY = _of("gateway")
COLLECTOR = _of("observability")
RESOLVER = _of("kube-system")
# What is no pod has no labels.
INTERNET = Workload({}, {}, {})


def _closed(*components: str) -> tuple[Network, Workload]:
    return _network(rendered(BASE, ("network-policy", *components)))


def _network(objects: Objects) -> tuple[Network, Workload]:
    ports = {each["name"]: each["containerPort"] for each in container(objects)["ports"]}
    server = Workload(OWN, pod(objects)["metadata"]["labels"], ports)
    return Network(objects, OWN), server


@pytest.mark.parametrize(
    ("peer", "reached"),
    [
        (NEIGHBOUR, {GRPC}),
        (INVITED, {GRPC}),
        (PROMETHEUS, {METRICS}),
        (GATEWAY, set()),
        (STRANGER, set()),
        (INTERNET, set()),
    ],
    ids=["neighbour", "invited", "prometheus", "gateway", "stranger", "internet"],
)
def test_callers_reach_grpc_and_prometheus_the_metrics(peer, reached):
    """Each nothing else."""
    network, server = _closed()

    assert reached == {
        port for port in (REST, GRPC, METRICS) if network.lets_in(server, peer, port)
    }


def test_the_server_reaches_nobody():
    """Neither a neighbour, nor a resolver, nor the internet."""
    network, server = _closed()
    peers = (NEIGHBOUR, RESOLVER, COLLECTOR, INTERNET)

    assert not any(network.lets_out(server, peer, HTTPS) for peer in peers)
    assert not network.lets_out(server, RESOLVER, NAMES, "UDP")


def test_the_gateway_component_lets_the_gateway_in_and_nobody_else():
    """To gRPC."""
    network, server = _closed("gateway")

    assert network.lets_in(server, GATEWAY, GRPC)
    assert not network.lets_in(server, GATEWAY, METRICS)
    assert not network.lets_in(server, STRANGER, GRPC)
    assert network.lets_in(server, NEIGHBOUR, GRPC)


def test_the_rest_component_lets_in_who_may_call_grpc():
    """And nobody else."""
    network, server = _closed("rest")
    peers = (NEIGHBOUR, INVITED, PROMETHEUS, GATEWAY, STRANGER, INTERNET)

    assert [NEIGHBOUR, INVITED] == [p for p in peers if network.lets_in(server, p, REST)]


def test_tracing_opens_the_way_to_the_collector():
    """And to a resolver, but not to a store."""
    network, server = _closed("tracing")

    assert network.lets_out(server, COLLECTOR, OTLP)
    assert network.lets_out(server, RESOLVER, NAMES, "UDP")
    assert not network.lets_out(server, COLLECTOR, HTTPS)
    assert not network.lets_out(server, STRANGER, OTLP)
    assert not network.lets_out(server, INTERNET, HTTPS)


def test_fetching_models_opens_the_way_to_a_store():
    """By HTTPS, and to a resolver, but not to a collector."""
    network, server = _closed("models-fetch")

    assert network.lets_out(server, INTERNET, HTTPS)
    assert network.lets_out(server, RESOLVER, NAMES, "TCP")
    assert not network.lets_out(server, COLLECTOR, OTLP)


def test_ways_add_up_whatever_the_order():
    """Listed before network-policy or after it."""
    names = ("gateway", "models-fetch", "tracing")

    for components in ((*names, "network-policy"), ("network-policy", *names)):
        network, server = _network(rendered(BASE, components))
        assert network.lets_in(server, GATEWAY, GRPC)
        assert network.lets_out(server, COLLECTOR, OTLP)
        assert network.lets_out(server, INTERNET, HTTPS)
        assert not network.lets_in(server, STRANGER, GRPC)
        assert not network.lets_out(server, INTERNET, OTLP)


@pytest.mark.parametrize("component", ["gateway", "models-fetch", "rest", "tracing"])
def test_without_network_policy_no_component_closes_anything(component):
    """The trap of policies: the first one that selects a pod closes all other ways."""
    objects = rendered(BASE, (component,))
    network, server = _network(objects)

    assert of_kind(objects, "NetworkPolicy")
    assert network.lets_in(server, STRANGER, GRPC)
    assert network.lets_in(server, STRANGER, METRICS)
    assert network.lets_out(server, INTERNET, 9000)


def test_the_reader_sees_that_trap():
    """The control: without the label in its selector, tracing's policy would close the rest."""
    objects = [each for each in rendered(BASE, ("tracing",)) if each["kind"] != "NetworkPolicy"]
    policy = only(rendered(BASE, ("tracing",)), "NetworkPolicy")
    spec = policy["spec"] | {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "isotherm"}}}
    network, server = _network([*objects, policy | {"spec": spec}])

    assert network.lets_out(server, COLLECTOR, OTLP)
    assert not network.lets_out(server, INTERNET, 9000)


def test_the_reader_knows_named_ports_and_protocols():
    """`grpc` is what the pod calls so, and UDP is not TCP."""
    network, server = _closed("tracing")
    renamed = server._replace(ports={"grpc": 9001, "metrics": 9002})

    assert network.lets_in(renamed, NEIGHBOUR, 9001)
    assert not network.lets_in(renamed, NEIGHBOUR, GRPC)
    assert not network.lets_out(server, COLLECTOR, OTLP, "UDP")
