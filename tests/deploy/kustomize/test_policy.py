"""The policy's controls: a manifest that is broken in one way gets the sentence about it."""

from copy import deepcopy

import pytest

from tests.deploy.kustomize.broken import (
    SOUND,
    annotation,
    changed,
    first,
    of_container,
    of_deployment,
    of_pod,
    resource,
    security,
    service,
    spec,
    variable,
    volume,
    without,
)
from tests.deploy.kustomize.policy import faults
from tests.deploy.manifests import container, only, pod

BREAKS = [
    # The restricted standard.
    ("base", of_pod("hostNetwork", True), "hostNetwork is set"),
    ("base", volume({"hostPath": {"path": "/"}}), "volume extra is of the kind hostPath"),
    ("base", security("allowPrivilegeEscalation", True), "allowPrivilegeEscalation"),
    ("base", security("capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "capabilities"),
    ("base", security("privileged", True), "privileged is set"),
    ("base", security("runAsUser", 0), "runAsUser is 0"),
    ("base", security("runAsNonRoot", False), "runAsNonRoot is not true"),
    ("base", of_pod("securityContext", {}), "seccompProfile is not RuntimeDefault"),
    ("base", lambda o: container(o)["ports"][0].update(hostPort=8001), "by hostPort"),
    ("first", first(lambda c: c.pop("securityContext")), "container first: allowPrivilege"),
    # Nothing to write to, and no token.
    ("base", security("readOnlyRootFilesystem", False), "readOnlyRootFilesystem"),
    ("cpu", lambda o: [m.pop("readOnly", 0) for m in container(o)["volumeMounts"]], "writable"),
    (
        "base",
        lambda o: pod(o)["spec"]["volumes"][0].update(emptyDir={}),
        "is writable, and no emptyDir",
    ),
    ("base", of_pod("automountServiceAccountToken", True), "gets a token"),
    ("base", lambda o: only(o, "ServiceAccount").pop("automountServiceAccountToken"), "not false"),
    ("base", of_pod("enableServiceLinks", True), "enableServiceLinks"),
    ("base", volume({"projected": {"sources": [{"serviceAccountToken": {}}]}}), "brings a token"),
    # Volumes.
    ("base", of_pod("volumes", []), "mounts tmp, and the pod has no such volume"),
    ("base", volume({"emptyDir": {}, "secret": {}}), "has the sources ['emptyDir', 'secret']"),
    ("cpu", lambda o: container(o)["volumeMounts"].clear(), "volume models is mounted by nobody"),
    # root's alone, and of a group that is not there.
    ("tls", lambda o: pod(o)["spec"]["volumes"][-1]["secret"].update(defaultMode=0o400), "0400"),
    (
        "tls",
        lambda o: pod(o)["spec"]["securityContext"].pop("fsGroup"),
        "group None make it unreadable",
    ),
    # Bounds.
    ("base", lambda o: container(o)["resources"]["requests"].pop("memory"), "no memory is"),
    ("base", lambda o: container(o)["resources"]["limits"].pop("memory"), "the memory's limit"),
    ("base", lambda o: container(o)["resources"]["limits"].update(cpu="2"), "processor has a"),
    (
        "first",
        first(lambda c: c["resources"]["requests"].pop("memory")),
        "container first: no mem",
    ),
    # Image and settings.
    ("base", of_container("image", "isotherm"), "is not pinned"),
    ("base", of_container("image", "registry.example.org:5000/isotherm:latest"), "is not pinned"),
    ("first", first(lambda c: c.update(image="rclone/rclone")), "container first: image"),
    ("base", variable("ISOTHERM_WORKER", "2"), "ISOTHERM_WORKER is none of"),
    ("base", changed("ISOTHERM_WORKERS", "two"), "ISOTHERM_WORKERS is two, which"),
    ("base", changed("ISOTHERM_LOG_FORMAT", "yaml"), "ISOTHERM_LOG_FORMAT is yaml, which"),
    ("base", changed("ISOTHERM_GRACE", 30), "is no text but 30"),
    ("base", variable("ISOTHERM_GRACE", "60"), "ISOTHERM_GRACE is there twice"),
    ("base", variable("EXTRA", "$(POD_NAME)"), "EXTRA refers to POD_NAME"),
    ("base", lambda o: container(o)["args"].append("$(POD_NAME)"), "argument $(POD_NAME)"),
    ("base", changed("ISOTHERM_HOST", "127.0.0.1"), "nobody outside of the pod"),
    ("base", changed("ISOTHERM_WORKERS", "4"), "4 workers have 2 cores"),
    ("base", changed("ISOTHERM_MAX_CONNECTION_AGE", "0"), "new replicas stay idle"),
    ("base", changed("ISOTHERM_MAX_MESSAGE_BYTES", "0"), "one request could end the pod"),
    ("dev", changed("ISOTHERM_MAX_MESSAGE_BYTES", "268435456"), "one request could end the pod"),
    ("base", of_container("command", ["sh", "-c", "isotherm serve"]), "command is set"),
    # Probes.
    ("base", lambda o: container(o).pop("livenessProbe"), "livenessProbe has to ask"),
    ("base", lambda o: container(o)["livenessProbe"]["grpc"].update(service=""), "'liveness'"),
    ("base", lambda o: container(o)["readinessProbe"]["grpc"].update(port=8002), "readinessProbe"),
    ("base", variable("ISOTHERM_TLS_CERT", "/tls/tls.crt"), "the other speaks TLS"),
    ("base", variable("ISOTHERM_TLS_CERT", "/tls/tls.crt"), "whether the gRPC port is open"),
    (
        "base",
        lambda o: container(o)["livenessProbe"].update(failureThreshold=1),
        "stalls for less than 20 s",
    ),
    # The end, and the beginning.
    ("base", of_pod("terminationGracePeriodSeconds", 44), "to spare are 45"),
    ("base", changed("ISOTHERM_GRACE", "60"), "to spare are 75"),
    ("base", changed("ISOTHERM_DRAIN_DELAY", "0"), "lose calls"),
    ("base", of_deployment("progressDeadlineSeconds", 600), "start-up budget of 600 s"),
    ("base", lambda o: container(o)["startupProbe"].update(failureThreshold=450), "of 900 s"),
    # Replicas.
    ("base", of_deployment("strategy", {"rollingUpdate": {"maxSurge": 0}}), "a roll-out adds 0"),
    (
        "dev",
        of_deployment("strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        "takes the only replica away",
    ),
    ("base", lambda o: only(o, "Deployment")["spec"].pop("minReadySeconds"), "minReadySeconds"),
    (
        "base",
        lambda o: pod(o)["spec"]["topologySpreadConstraints"][1].pop("matchLabelKeys"),
        "spread over kubernetes.io/hostname counts",
    ),
    (
        "base",
        spec("PodDisruptionBudget", lambda s: s.pop("unhealthyPodEvictionPolicy")),
        "holds up a node's drain",
    ),
    ("base", without("PodDisruptionBudget"), "may take every replica"),
    ("base", spec("PodDisruptionBudget", lambda s: s.update(maxUnavailable=2)), "keeps 0 of 2"),
    ("dev", spec("PodDisruptionBudget", lambda s: s.update(minAvailable=1)), "keeps 1 of 1"),
    ("base", lambda o: only(o, "Deployment")["spec"].pop("replicas"), "0 autoscalers decide"),
    ("hpa", of_deployment("replicas", 2), "1 autoscalers decide"),
    ("keda", of_deployment("replicas", 2), "1 autoscalers decide"),
    ("hpa", lambda o: o.extend(resource("keda/scaledobject.yaml")), "fight about the replicas"),
    (
        "hpa",
        spec("HorizontalPodAutoscaler", lambda s: s["scaleTargetRef"].update(name="other")),
        "is for another Deployment",
    ),
    ("hpa", spec("HorizontalPodAutoscaler", lambda s: s.update(minReplicas=1)), "1 to 10"),
    ("keda", spec("ScaledObject", lambda s: s["fallback"].update(replicas=1)), "1 without fig"),
    (
        "keda",
        spec("ScaledObject", lambda s: s["fallback"].pop("behavior")),
        "while there are no figures",
    ),
    (
        "keda",
        spec("ScaledObject", lambda s: s["triggers"][0]["metadata"].pop("ignoreNullValues")),
        "takes a missing metric for 0",
    ),
    # Who finds whom.
    ("base", service(lambda s: s["selector"].update(tier="front")), "Service/isotherm selects"),
    (
        "base",
        spec("PodDisruptionBudget", lambda s: s["selector"].update(matchLabels={"app": "x"})),
        "PodDisruptionBudget/isotherm selects",
    ),
    (
        "cpu",
        spec("NetworkPolicy", lambda s: s["podSelector"].update(matchLabels={"app": "x"})),
        "NetworkPolicy/isotherm selects",
    ),
    (
        "base",
        lambda o: pod(o)["spec"]["topologySpreadConstraints"][0]["labelSelector"].update(
            matchLabels={}
        ),
        "spread over topology.kubernetes.io/zone selects",
    ),
    (
        "monitored",
        spec("PodMonitor", lambda s: s["selector"].update(matchLabels={"app": "x"})),
        "PodMonitor/isotherm selects",
    ),
    ("base", service(lambda s: s["ports"][0].update(targetPort="http")), "leads to http"),
    ("base", service(lambda s: s["ports"][0].pop("appProtocol")), "clear text: False"),
    (
        "cpu",
        spec("NetworkPolicy", lambda s: s["ingress"][0].update(ports=[{"port": 9}])),
        "port 9",
    ),
    (
        "monitored",
        spec("PodMonitor", lambda s: s["podMetricsEndpoints"][0].update(port="grpc")),
        "has no metrics",
    ),
    ("base", annotation("prometheus.io/port", "1"), "prometheus.io/* are"),
    ("base", annotation("prometheus.io/scrape", "false"), "'prometheus.io/scrape': 'false'"),
    (
        "monitored",
        spec("PodMonitor", lambda s: s["podMetricsEndpoints"][0].update(path="/metric")),
        "no metrics at /metric",
    ),
    # Models and GPUs.
    (
        "base",
        lambda o: container(o)["volumeMounts"].append({"name": "tmp", "mountPath": "/models"}),
        "the server could write to its models",
    ),
    (
        "base",
        lambda o: container(o)["volumeMounts"].append({"name": "tmp", "mountPath": "/data"}),
        "nothing of the server is at /data",
    ),
    ("gpu", changed("ISOTHERM_PROVIDER", "auto"), "of GPUs it asks for ['nvidia.com/gpu']"),
    ("gpu", lambda o: container(o)["resources"]["limits"].pop("nvidia.com/gpu"), "asks for []"),
    ("gpu", of_pod("tolerations", []), "does not tolerate"),
    (
        "gpu",
        lambda o: container(o)["resources"]["limits"].update({"nvidia.com/gpu": "2"}),
        "a replica uses one GPU",
    ),
    # Routes.
    (
        "gateway",
        spec("GRPCRoute", lambda s: s["rules"][0]["backendRefs"][0].update(port=8002)),
        "leads to isotherm:8002",
    ),
    ("gateway", spec("GRPCRoute", lambda s: s["rules"][0].pop("matches")), "lets every call"),
    (
        "gateway",
        spec("GRPCRoute", lambda s: s["rules"][0]["matches"][0]["method"].pop("method")),
        "LogSettings through, which is for operators",
    ),
    (
        "gateway",
        spec(
            "GRPCRoute",
            lambda s: s["rules"][0]["matches"][0]["method"].update(method="RepositoryModelLoad"),
        ),
        "RepositoryModelLoad through, which is for operators",
    ),
    (
        "gateway",
        spec("GRPCRoute", lambda s: s["rules"][0]["matches"][0]["method"].update(method="Infer")),
        "which the server does not serve",
    ),
    (
        "gateway",
        spec("GRPCRoute", lambda s: s["rules"][0]["matches"].pop(1)),
        "keeps /inference.GRPCInferenceService/ModelStreamInfer from callers",
    ),
    ("gateway", spec("GRPCRoute", lambda s: s["rules"][1]["matches"].pop()), "Report from callers"),
    (
        "gateway",
        lambda o: o.extend(resource("gateway-tls/backendtlspolicy.yaml")),
        "TLS is on: False",
    ),
    # Objects.
    ("base", lambda o: o.append(deepcopy(o[0])), "is there 2 times"),
]


@pytest.mark.parametrize("name", SOUND)
def test_what_is_broken_below_is_well_before(name):
    """A fault is then the break's."""
    assert faults(SOUND[name]) == []


@pytest.mark.parametrize(("name", "change", "sentence"), BREAKS, ids=[b[2] for b in BREAKS])
def test_a_broken_manifest_gets_the_sentence_about_it(name, change, sentence):
    """Whatever else it may break."""
    objects = deepcopy(SOUND[name])
    change(objects)

    assert any(sentence in fault for fault in faults(objects)), faults(objects)
