"""Values that the chart must refuse, and the place that the message must name."""

from __future__ import annotations

from typing import Any, Final


def nested(path: str, value: Any) -> dict[str, Any]:
    """Return the values that set one of them: `a.b` and 1 is {"a": {"b": 1}}."""
    for name in reversed(path.split(".")):
        value = {name: value}
    found: dict[str, Any] = value
    return found


# The value's path, what is wrong with it, and what the message must hold.
WRONG: Final[list[tuple[str, Any, str]]] = [
    # Misspelt, at every depth.
    ("replica", 2, "'replica'"),
    ("image.tga", "1", "'/image': additional properties 'tga'"),
    ("server.worker", 2, "'/server': additional properties 'worker'"),
    ("server.settings.max-batch", 2, "'/server/settings': additional properties 'max-batch'"),
    ("server.settings.workers", 2, "'/server/settings': additional properties 'workers'"),
    ("gpu.count", 2, "'/gpu': additional properties 'count'"),
    ("models.claim.claimName", "m", "'/models/claim': additional properties 'claimName'"),
    ("models.fetch.image.digset", "", "'/models/fetch/image': additional properties 'digset'"),
    ("rest.port", 8000, "'/rest': additional properties 'port'"),
    ("service.type", "NodePort", "'/service': additional properties 'type'"),
    ("test.image", "a", "'/test': additional properties 'image'"),
    ("monitoring.rules.label", {}, "'/monitoring/rules': additional properties 'label'"),
    ("autoscaling.keda.url", "x", "'/autoscaling/keda': additional properties 'url'"),
    ("resources.request", {}, "'/resources': additional properties 'request'"),
    ("affinity.nodeAffinty", {}, "'/affinity': additional properties 'nodeAffinty'"),
    ("tolerations", [{"keys": "a"}], "'/tolerations/0': additional properties 'keys'"),
    # Of a wrong type, as `--set-string` or a quote too many makes them.
    ("replicas", "2", "'/replicas': got string, want integer"),
    ("server.workers", 1.5, "'/server/workers': got number, want integer"),
    ("gpu.enabled", "true", "'/gpu/enabled': got string, want boolean"),
    ("monitoring.dashboards.labels.a", 1, "'/monitoring/dashboards/labels/a': got number"),
    ("podAnnotations.a", True, "'/podAnnotations/a': got boolean, want string"),
    ("nodeSelector.a", 1, "'/nodeSelector/a': got number, want string"),
    ("commonAnnotations.a", 1, "'/commonAnnotations/a': got number, want string"),
    # Removed by null: a default that the templates rely on.
    ("pdb.maxUnavailable", None, "'/pdb': missing property 'maxUnavailable'"),
    ("replicas", None, "missing property 'replicas'"),
    # Out of bounds.
    ("replicas", -1, "'/replicas': minimum"),
    ("server.workers", 0, "'/server/workers': minimum"),
    ("server.host", "localhost", "'/server/host': 'localhost' does not match pattern"),
    ("server.drainDelay", -0.5, "'/server/drainDelay': minimum"),
    ("server.drainDelay", 3601, "'/server/drainDelay': maximum"),
    ("server.grace", -1, "'/server/grace': minimum"),
    ("server.maxConnectionAge", -1, "'/server/maxConnectionAge': minimum"),
    ("server.startup", 1, "'/server/startup': minimum"),
    ("server.settings.max-batch-size", 0, "'/server/settings/max-batch-size': minimum"),
    ("server.settings.tracing-share", 1.5, "'/server/settings/tracing-share': maximum"),
    ("server.settings.vetting-memory-mib", 1, "'/server/settings/vetting-memory-mib': minimum"),
    ("gpu.workers", 0, "'/gpu/workers': minimum"),
    ("autoscaling.minReplicas", 0, "'/autoscaling/minReplicas': minimum"),
    ("autoscaling.maxReplicas", 0, "'/autoscaling/maxReplicas': minimum"),
    ("autoscaling.pendingRows", 0, "'/autoscaling/pendingRows': minimum"),
    ("autoscaling.cpuUtilization", 0, "'/autoscaling/cpuUtilization': minimum"),
    ("autoscaling.keda.fallbackReplicas", 0, "'/autoscaling/keda/fallbackReplicas': minimum"),
    ("rollout.minReadySeconds", -1, "'/rollout/minReadySeconds': minimum"),
    # A budget of nothing would hold up every drain of a node.
    ("pdb.maxUnavailable", 0, "'/pdb/maxUnavailable'"),
    ("pdb.maxUnavailable", "0%", "'/pdb/maxUnavailable'"),
    ("rollout.maxSurge", "101%", "'/rollout/maxSurge'"),
    ("rollout.maxUnavailable", "half", "'/rollout/maxUnavailable'"),
    # Not one of the choices.
    ("autoscaling.by", "both", "'/autoscaling/by': value must be one of 'none', 'hpa', 'keda'"),
    ("models.source", "s3", "'/models/source': value must be one of"),
    ("models.oci.pullPolicy", "", "'/models/oci/pullPolicy': value must be one of"),
    ("image.pullPolicy", "always", "'/image/pullPolicy': value must be one of"),
    ("server.settings.device-ids", "0;1", "'/server/settings/device-ids': '0;1' does not match"),
    ("server.settings.gpu-memory-limit", 1, "'/server/settings/gpu-memory-limit': minimum"),
    ("server.settings.log-format", "xml", "'/server/settings/log-format': value must be one of"),
    ("spread.whenUnsatisfiable", "Never", "'/spread/whenUnsatisfiable': value must be one of"),
    ("gpu.tolerations", [{"operator": "Is"}], "'/gpu/tolerations/0/operator': value must be one"),
    # Not of the form.
    ("image.repository", "isotherm:0.1.0", "'/image/repository': 'isotherm:0.1.0' does not match"),
    ("image.tag", "0.1.0@sha256", "'/image/tag': '0.1.0@sha256' does not match"),
    ("image.digest", "sha256:abc", "'/image/digest': 'sha256:abc' does not match"),
    ("models.fetch.image.tag", "", "'/models/fetch/image/tag': minLength"),
    ("models.fetch.sizeLimit", "4 GB", "'/models/fetch/sizeLimit'"),
    ("resources.limits.memory", "1GiB", "'/resources/limits/memory'"),
    ("gpu.resource", "gpu", "'/gpu/resource': 'gpu' does not match"),
    ("gpu.runtimeClassName", "NVIDIA", "'/gpu/runtimeClassName'"),
    ("priorityClassName", "Very High", "'/priorityClassName'"),
    ("serviceAccount.name", "A", "'/serviceAccount/name'"),
    ("tls.secret", "Isotherm_TLS", "'/tls/secret': 'Isotherm_TLS' does not match"),
    ("tls.authority", "../ca.crt", "'/tls/authority': '../ca.crt' does not match"),
    ("tracing.endpoint", "collector:4318", "'/tracing/endpoint': 'collector:4318' does not match"),
    ("tracing.endpoint", "http://collector", "'/tracing/endpoint'"),
    ("monitoring.podMonitor.interval", "15", "'/monitoring/podMonitor/interval'"),
    ("autoscaling.keda.prometheus", "prometheus:9090", "'/autoscaling/keda/prometheus'"),
    ("gateway.hostnames", ["https://a.org"], "'/gateway/hostnames/0'"),
    ("commonLabels.team", "a b", "'/commonLabels/team': 'a b' does not match"),
    ("fullnameOverride", "a" * 55, "'/fullnameOverride': maxLength"),
    ("nameOverride", "Isotherm", "'/nameOverride': 'Isotherm' does not match"),
    ("pullSecrets", ["a", "a"], "'/pullSecrets': items at 0 and 1 are equal"),
    # Names that the chart itself needs.
    ("podLabels", {"app.kubernetes.io/name": "x"}, "'/podLabels/app.kubernetes.io~1name'"),
    ("commonLabels", {"helm.sh/chart": "x"}, "'/commonLabels/helm.sh~1chart'"),
    ("volumes", [{"name": "models", "emptyDir": {}}], "'/volumes/0/name'"),
    ("volumeMounts", [{"name": "a", "mountPath": "/tls"}], "'/volumeMounts/0/mountPath'"),
    # A setting is a setting: as a variable nobody would check its name.
    ("server.env", [{"name": "ISOTHERM_GRACE", "value": "1"}], "'/server/env/0/name'"),
    ("server.env", [{"name": "A"}], "'/server/env/0'"),
    ("networkPolicy.callers", [{}], "'/networkPolicy/callers/0': minProperties"),
    ("networkPolicy.scrapers", [{"pods": {}}], "'/networkPolicy/scrapers/0': additional prop"),
    ("resources.requests", {"cpu": None}, "'/resources/requests': missing property 'cpu'"),
    # What needs something else.
    ("models.source", "oci", "'/models/oci/reference': minLength"),
    ("gateway.enabled", True, "'/gateway/parentRefs': minItems"),
    ("gateway.tls", {"enabled": True, "hostname": "a.org"}, "'/tls/enabled'"),
    ("gateway.tls.enabled", True, "'/gateway/tls/hostname': minLength"),
    ("server.settings.tls-client-ca", "/tls/ca.crt", "'/tls/enabled'"),
    ("server.settings.load-model", ["a"], "'/server/settings': missing property 'model-control'"),
    (
        "server.settings",
        {"vetting-domain": ["com.microsoft"], "vetting": "off"},
        "'/server/settings/vetting'",
    ),
    # What the templates compare.
    (
        "autoscaling",
        {"by": "hpa", "minReplicas": 5, "maxReplicas": 4},
        "autoscaling.minReplicas (5) is above autoscaling.maxReplicas (4)",
    ),
    (
        "autoscaling",
        {"by": "keda", "keda": {"fallbackReplicas": 11}},
        "autoscaling.keda.fallbackReplicas (11) is above autoscaling.maxReplicas (10)",
    ),
    ("rollout", {"maxSurge": 0, "maxUnavailable": "0%"}, "rollout.maxSurge and rollout.max"),
]
