"""What leads to the server: selectors, ports, routes, and which calls a route lets through."""

from collections.abc import Iterator

from isotherm.server.rpcs import CONTROL_RPCS, COUNTED_RPCS, PREFIX, UNSERVED_RPCS
from tests.deploy.kustomize.deployed import Server, name_of
from tests.deploy.manifests import Object

SCRAPED = "prometheus.io/"
SERVED = frozenset(COUNTED_RPCS) - {PREFIX + name for name in UNSERVED_RPCS}
# Not for callers: what changes the server, what lies in its repository, what it is made of.
OF_CALLERS = {
    each
    for each in SERVED - CONTROL_RPCS - {f"{PREFIX}RepositoryIndex"}
    if not each.startswith("/grpc.reflection.")
}


def _selectors(server: Server) -> Iterator[str]:
    for where, labels in _selected(server):
        if not labels or not labels.items() <= server.labels.items():
            yield f"{where} selects {labels}, and the pods have {server.labels}"


def _selected(server: Server) -> Iterator[tuple[str, dict[str, str]]]:
    """Whoever selects pods, and by which labels."""
    yield "the Deployment", server.spec["selector"]["matchLabels"]
    for each in server.kind("Service"):
        yield name_of(each), each["spec"]["selector"]
    for each in server.kind("PodDisruptionBudget", "PodMonitor"):
        yield name_of(each), each["spec"]["selector"]["matchLabels"]
    for each in server.kind("NetworkPolicy"):
        # That they select nobody without the component network-policy is their point.
        labels = each["spec"]["podSelector"]["matchLabels"]
        yield name_of(each), {key: labels[key] for key in labels if key != "isotherm-network"}
    for each in server.pod.get("topologySpreadConstraints", ()):
        yield f"spread over {each['topologyKey']}", each["labelSelector"]["matchLabels"]


def _ports(server: Server) -> Iterator[str]:
    for service in server.kind("Service"):
        for port in service["spec"]["ports"]:
            if server.ports.get(port["targetPort"]) != port["port"]:
                yield f"{name_of(service)}: port {port['port']} leads to {port['targetPort']}"
            clear = port.get("appProtocol") == "kubernetes.io/h2c"
            if port["targetPort"] == "grpc" and clear == server.tls:
                yield f"{name_of(service)}: appProtocol says clear text: {clear}, TLS: {server.tls}"
    for policy in server.kind("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", ()):
            for port in rule.get("ports", ()):
                if port["port"] not in {*server.ports, *server.ports.values()}:
                    yield f"{name_of(policy)}: the pods have no port {port['port']}"
    for monitor in server.kind("PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            asked = endpoint["port"], endpoint.get("path", "/metrics")
            if asked != ("metrics", "/metrics"):
                yield f"{name_of(monitor)}: port {asked[0]} has no metrics at {asked[1]}"
    annotations = server.spec["template"]["metadata"].get("annotations", {})
    scraped = {key: annotations[key] for key in annotations if key.startswith(SCRAPED)}
    where = {"scrape": "true", "port": str(server.ports["metrics"]), "path": "/metrics"}
    if scraped and scraped != {f"{SCRAPED}{key}": value for key, value in where.items()}:
        yield f"{SCRAPED}* are {scraped}, expected {where}"


def _routes(server: Server) -> Iterator[str]:
    offered = {
        (service["metadata"]["name"], port["port"])
        for service in server.kind("Service")
        for port in service["spec"]["ports"]
        if port["targetPort"] == "grpc"
    }
    for route in server.kind("GRPCRoute"):
        through: set[str] = set()
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                if (backend["name"], backend["port"]) not in offered:
                    yield f"{name_of(route)} leads to {backend['name']}:{backend['port']}"
            for match in rule.get("matches", [{}]):
                through |= _through(match.get("method", {}))
                for fault in _calls(match.get("method", {})):
                    yield f"{name_of(route)} {fault}"
        for call in sorted(OF_CALLERS - through):
            yield f"{name_of(route)} keeps {call} from callers"
    for policy in server.kind("BackendTLSPolicy"):
        targets = {(each["name"], each["sectionName"]) for each in policy["spec"]["targetRefs"]}
        if not server.tls or not targets <= {(name, "grpc") for name, _ in offered}:
            yield f"{name_of(policy)} speaks TLS to {targets}; TLS is on: {server.tls}"


def _calls(method: Object) -> Iterator[str]:
    """What is wrong with the calls that a match of a route lets through."""
    path, through = _path(method), _through(method)
    if "service" not in method:
        yield "lets every call through"
    elif not through or ("method" in method and path not in through):
        yield f"lets {path} through, which the server does not serve"
    elif through & CONTROL_RPCS:
        yield f"lets {sorted(through & CONTROL_RPCS)[0]} through, which is for operators"


def _path(method: Object) -> str:
    return f"/{method.get('service', '')}/{method.get('method', '')}"


def _through(method: Object) -> set[str]:
    """The calls that a match lets through."""
    return {each for each in SERVED if each.startswith(_path(method))}


RULES = (_selectors, _ports, _routes)
