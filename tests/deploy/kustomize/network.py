"""NetworkPolicies as a network plugin understands them: who may reach whom, on which port."""

from collections.abc import Iterator
from typing import NamedTuple

from tests.deploy.manifests import Object, Objects, of_kind


class Workload(NamedTuple):
    """A pod among others: the labels of its namespace, its own, and its ports by name."""

    namespace: dict[str, str]
    labels: dict[str, str]
    ports: dict[str, int]


class Network:
    """A namespace with policies, and pods inside and outside of it."""

    def __init__(self, objects: Objects, namespace: dict[str, str]) -> None:
        self._policies = [each["spec"] for each in of_kind(objects, "NetworkPolicy")]
        self._namespace = namespace

    def lets_in(self, to: Workload, peer: Workload, port: int, protocol: str = "TCP") -> bool:
        """Whether a pod of the namespace accepts a connection of a peer."""
        return self._lets("Ingress", to, peer, (port, protocol), to.ports)

    def lets_out(self, of: Workload, peer: Workload, port: int, protocol: str = "TCP") -> bool:
        """Whether a pod of the namespace may connect to a peer."""
        return self._lets("Egress", of, peer, (port, protocol), peer.ports)

    def _lets(
        self,
        direction: str,
        pod: Workload,
        peer: Workload,
        port: tuple[int, str],
        names: dict[str, int],
    ) -> bool:
        policies = [
            each
            for each in self._policies
            if direction in each["policyTypes"] and _matches(each["podSelector"], pod.labels)
        ]
        # Who is selected by no policy is open; policies only ever add ways.
        if not policies:
            return True
        return any(
            self._peer(rule, direction, peer) and _port(rule, port, names)
            for rule in _rules(policies, direction)
        )

    def _peer(self, rule: Object, direction: str, peer: Workload) -> bool:
        who = rule.get("from" if direction == "Ingress" else "to")
        return not who or any(self._is(each, peer) for each in who)

    def _is(self, described: Object, peer: Workload) -> bool:
        unknown = described.keys() - {"namespaceSelector", "podSelector"}
        assert not unknown, f"this reader does not know {unknown}"
        if "namespaceSelector" in described:
            inside = _matches(described["namespaceSelector"], peer.namespace)
        else:
            inside = peer.namespace == self._namespace
        return inside and _matches(described.get("podSelector", {}), peer.labels)


def _rules(policies: Objects, direction: str) -> Iterator[Object]:
    for policy in policies:
        yield from policy.get(direction.lower(), ())


def _matches(selector: Object, labels: dict[str, str]) -> bool:
    unknown = selector.keys() - {"matchLabels"}
    assert not unknown, f"this reader does not know {unknown}"
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def _port(rule: Object, port: tuple[int, str], names: dict[str, int]) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        (names.get(each["port"], each["port"]), each.get("protocol", "TCP")) == port
        for each in ports
    )
