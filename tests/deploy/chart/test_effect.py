"""Every value has its effect, and no other: none is taken and then ignored."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest
from deploy.helm.reference import values

from tests.deploy.chart.places import VALUES
from tests.deploy.chart.refusals import nested

pytestmark = pytest.mark.slow

DIGEST: Final = f"sha256:{'0' * 64}"
PEERS: Final = [{"podSelector": {"matchLabels": {"a": "b"}}}]
RESOURCES: Final = {"requests": {"cpu": "3", "memory": "3Gi"}, "limits": {"memory": "3Gi"}}
ALL: Final = "all"

OCI: Final = {"models": {"source": "oci", "oci": {"reference": "r.org/models:1"}}}
FETCH: Final = nested("models.source", "fetch")
GPU: Final = nested("gpu.enabled", value=True)
TLS: Final = nested("tls.enabled", value=True)
TRACING: Final = nested("tracing.enabled", value=True)
MONITOR: Final = nested("monitoring.podMonitor.enabled", value=True)
RULES: Final = nested("monitoring.rules.enabled", value=True)
BOARDS: Final = nested("monitoring.dashboards.enabled", value=True)
HPA: Final = nested("autoscaling.by", "hpa")
KEDA: Final = nested("autoscaling.by", "keda")
GATEWAY: Final = {"gateway": {"enabled": True, "parentRefs": [{"name": "a"}]}}
GATEWAY_TLS: Final = {
    **TLS,
    "gateway": GATEWAY["gateway"] | {"tls": {"enabled": True, "hostname": "a.org"}},
}


class Effect(NamedTuple):
    """What another value changes, where the parts that it needs are on."""

    path: str
    value: Any
    files: str
    on: Mapping[str, Any] = MappingProxyType({})


EFFECTS: Final = [
    Effect("replicas", 3, "deployment"),
    Effect("image.repository", "r.org/isotherm", "deployment health"),
    Effect("image.tag", "2", "deployment health"),
    Effect("image.digest", DIGEST, "deployment health"),
    Effect("image.pullPolicy", "Always", "deployment health"),
    Effect("pullSecrets", ["a"], "deployment health"),
    Effect("server.host", "::", "deployment"),
    Effect("server.workers", 3, "deployment"),
    Effect("server.host", "127.0.0.1", "deployment"),
    Effect("server.drainDelay", 11, "deployment"),
    Effect("server.grace", 31, "deployment"),
    Effect("server.maxConnectionAge", 60, "deployment"),
    Effect("server.startup", 900, "deployment"),
    Effect("server.settings", {"max-batch-size": 7}, "deployment"),
    Effect("server.settings", {"cuda-graphs": False}, "deployment", GPU),
    Effect("server.settings", {"device-ids": "0,1"}, "deployment", GPU),
    Effect("server.settings", {"gpu-memory-limit": 512}, "deployment", GPU),
    Effect("server.env", [{"name": "A", "value": "b"}], "deployment"),
    Effect("models.source", "image", "deployment"),
    Effect("models.claim.name", "m", "deployment"),
    Effect("models.oci.reference", "r.org/models:2", "deployment", OCI),
    Effect("models.oci.pullPolicy", "Always", "deployment", OCI),
    Effect("models.fetch.secret", "s", "deployment", FETCH),
    Effect("models.fetch.sizeLimit", "8Gi", "deployment", FETCH),
    Effect("models.fetch.image.repository", "r.org/rclone", "deployment", FETCH),
    Effect("models.fetch.image.tag", "2", "deployment", FETCH),
    Effect("models.fetch.image.digest", DIGEST, "deployment", FETCH),
    Effect("models.fetch.image.pullPolicy", "Always", "deployment", FETCH),
    Effect("models.fetch.resources", RESOURCES, "deployment", FETCH),
    Effect("resources", RESOURCES, "deployment"),
    Effect("gpu.enabled", True, "deployment health"),
    Effect("gpu.resource", "nvidia.com/mig-1g.10gb", "deployment", GPU),
    Effect("gpu.workers", 2, "deployment", GPU),
    Effect("gpu.resources", RESOURCES, "deployment", GPU),
    Effect("gpu.runtimeClassName", "nvidia", "deployment", GPU),
    Effect("gpu.tolerations", [], "deployment", GPU),
    Effect("tls.enabled", True, "deployment services health"),
    Effect("tls.secret", "s", "deployment health", TLS),
    Effect("tls.authority", "a.crt", "health", TLS),
    Effect("rest.enabled", True, "deployment networkpolicies services"),
    Effect("tracing.enabled", True, "deployment networkpolicies"),
    Effect("tracing.endpoint", "http://a.org:4319", "deployment networkpolicies", TRACING),
    Effect("tracing.namespace", "n", "networkpolicies", TRACING),
    Effect("monitoring.annotations", False, "deployment"),
    Effect("monitoring.podMonitor.enabled", True, "monitoring"),
    Effect("monitoring.podMonitor.interval", "30s", "monitoring", MONITOR),
    Effect("monitoring.podMonitor.labels", {"a": "b"}, "monitoring", MONITOR),
    Effect("monitoring.rules.enabled", True, "monitoring"),
    Effect("monitoring.rules.labels", {"a": "b"}, "monitoring", RULES),
    Effect("monitoring.rules.runbooks", "https://a.org", "monitoring", RULES),
    Effect("monitoring.dashboards.enabled", True, "monitoring"),
    Effect("monitoring.dashboards.labels", {"a": "b"}, "monitoring", BOARDS),
    Effect("monitoring.dashboards.annotations", {"a": "b"}, "monitoring", BOARDS),
    Effect("autoscaling.by", "hpa", "deployment horizontalpodautoscaler"),
    Effect("autoscaling.by", "keda", "deployment scaledobject"),
    *(
        Effect(f"autoscaling.{name}", value, file, on)
        for on, file in ((HPA, "horizontalpodautoscaler"), (KEDA, "scaledobject"))
        for name, value in (
            ("minReplicas", 3),
            ("maxReplicas", 9),
            ("pendingRows", 7),
            ("cpuUtilization", 50),
            ("behavior", {"scaleUp": {"stabilizationWindowSeconds": 9}}),
        )
    ),
    Effect("autoscaling.keda.prometheus", "http://a.org:9090", "scaledobject", KEDA),
    Effect("autoscaling.keda.fallbackReplicas", 5, "scaledobject", KEDA),
    Effect("networkPolicy.enabled", False, "networkpolicies"),
    Effect("networkPolicy.callers", PEERS, "networkpolicies"),
    Effect("networkPolicy.scrapers", PEERS, "networkpolicies"),
    Effect("networkPolicy.gateways", PEERS, "networkpolicies", GATEWAY),
    Effect(
        "gateway.enabled",
        True,
        "gateway networkpolicies",
        nested("gateway.parentRefs", [{"name": "a"}]),
    ),
    Effect("gateway.parentRefs", [{"name": "b"}], "gateway", GATEWAY),
    Effect("gateway.hostnames", ["a.org"], "gateway", GATEWAY),
    Effect("gateway.tls.enabled", False, "gateway", GATEWAY_TLS),
    Effect("gateway.tls.authority", "a", "gateway", GATEWAY_TLS),
    Effect("gateway.tls.hostname", "b.org", "gateway", GATEWAY_TLS),
    Effect("pdb.enabled", False, "poddisruptionbudget"),
    Effect("pdb.maxUnavailable", 2, "poddisruptionbudget"),
    Effect("rollout.maxSurge", 2, "deployment"),
    Effect("rollout.maxUnavailable", 1, "deployment"),
    Effect("rollout.minReadySeconds", 6, "deployment"),
    Effect("spread.topologyKeys", ["a"], "deployment"),
    Effect("spread.whenUnsatisfiable", "DoNotSchedule", "deployment"),
    Effect("serviceAccount.create", False, "deployment serviceaccount health"),
    Effect("serviceAccount.name", "a", "deployment serviceaccount health"),
    Effect("serviceAccount.annotations", {"a": "b"}, "serviceaccount"),
    Effect("service.annotations", {"a": "b"}, "services"),
    Effect("nodeSelector", {"a": "b"}, "deployment health"),
    Effect("tolerations", [{"key": "a"}], "deployment health"),
    Effect("tolerations", [{"key": "a"}], "deployment health", GPU),
    Effect("affinity", {"nodeAffinity": {"a": []}}, "deployment"),
    Effect("priorityClassName", "a", "deployment"),
    Effect("podAnnotations", {"a": "b"}, "deployment"),
    Effect("podLabels", {"a": "b"}, "deployment"),
    Effect("volumes", [{"name": "a", "emptyDir": {}}], "deployment"),
    Effect("volumeMounts", [{"name": "a", "mountPath": "/a"}], "deployment"),
    Effect("commonLabels", {"a": "b"}, ALL),
    Effect("commonAnnotations", {"a": "b"}, ALL),
    Effect("test.enabled", False, "health"),
    Effect("nameOverride", "a", ALL),
    Effect("fullnameOverride", "a", ALL),
]


@pytest.fixture(name="files", scope="module")
def _files(helm):
    """What the templates make, once for each set of values."""
    kept: dict[str, dict[str, str]] = {}

    def files(values: Mapping[str, Any]) -> dict[str, str]:
        key = repr(dict(values))
        if key not in kept:
            made = helm.files(dict(values))
            kept[key] = {_name(path): text for path, text in made.items() if path.endswith(".yaml")}
        return kept[key]

    return files


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda each: f"{each.path} {each.value}"[:60])
def test_a_value_changes_what_it_says(files, effect):
    """File by file: what it must reach, and what it must leave."""
    before = files(effect.on)
    after = files(_merged(dict(effect.on), nested(effect.path, effect.value)))
    changed = {name for name in before if before[name].strip() != after[name].strip()}
    there = {name for name, text in before.items() if text.strip()}

    assert changed == (there if effect.files == ALL else {*effect.files.split()})


def test_every_value_is_tried():
    """The control: a new one needs a line above."""
    assert {effect.path for effect in EFFECTS} == {v.path for v in values(VALUES.read_text())}


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".yaml")


def _merged(one: Any, other: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    return one | {key: _merged(one.get(key), value) for key, value in other.items()}
