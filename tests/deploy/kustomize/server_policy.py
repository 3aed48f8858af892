"""What a Deployment has to say about our server: probes, patience, replicas, settings."""

import math
from collections.abc import Iterator

from tests.deploy.kustomize.deployed import AUTOSCALERS, Server, bounds, name_of

# Between the server's own end and the kubelet's SIGKILL.
SPARE_S = 5
# A pause of the machine is no death.
STALL_S = 20
PORTS = {"grpc": 8001, "metrics": 8002}
REST = {"rest": 8000}
# The health service that a probe asks, and the page under TLS; the start asks for the port alone.
PROBES = {
    "startupProbe": ("liveness", ""),
    "livenessProbe": ("liveness", "/healthz"),
    "readinessProbe": ("", "/v2/health/ready"),
}


def _probes(server: Server) -> Iterator[str]:
    ports = server.ports | {number: number for number in server.ports.values()}
    for name, (service, path) in PROBES.items():
        probe = server.container.get(name, {})
        if server.tls and not path:
            port = probe.get("tcpSocket", {}).get("port")
            if ports.get(port) != server.ports["grpc"] or "grpc" in probe:
                yield f"{name} has to ask whether the gRPC port is open: it speaks TLS"
        elif server.tls:
            asked = probe.get("httpGet", {})
            where = (ports.get(asked.get("port")), asked.get("path"), "grpc" in probe)
            if where != (server.ports["metrics"], path, False):
                yield f"{name} has to ask {path} of the metrics port by HTTP: the other speaks TLS"
        elif probe.get("grpc") != {"port": server.ports["grpc"], "service": service}:
            yield f"{name} has to ask the health service {service!r} of the gRPC port"
    alive = server.container.get("livenessProbe", {})
    if alive.get("periodSeconds", 10) * alive.get("failureThreshold", 3) < STALL_S:
        yield f"livenessProbe restarts a server that stalls for less than {STALL_S} s"


def _patience(server: Server) -> Iterator[str]:
    own_end_s = server.number("DRAIN_DELAY") + server.number("GRACE", 30)
    patience_s = server.pod.get("terminationGracePeriodSeconds", 30)
    if patience_s < own_end_s + SPARE_S:
        yield (
            f"terminationGracePeriodSeconds is {patience_s}, and the drain delay, the grace and"
            f" {SPARE_S} s to spare are {own_end_s + SPARE_S:g}"
        )
    if server.number("DRAIN_DELAY") <= 0:
        yield "ISOTHERM_DRAIN_DELAY is 0: balancers that learn late lose calls"
    startup = server.container.get("startupProbe", {})
    budget_s = startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3)
    if budget_s >= server.spec.get("progressDeadlineSeconds", 600):
        yield f"progressDeadlineSeconds ends before the start-up budget of {budget_s} s"


def _roll_out(server: Server) -> Iterator[str]:
    steps = server.spec["strategy"].get("rollingUpdate", {})
    surge, away = steps.get("maxSurge"), steps.get("maxUnavailable")
    if {(surge, away)} - {(1, 0), (0, 1)}:
        yield f"a roll-out adds {surge} and takes away {away}, expected one of them to be 1"
    if away and server.fewest == 1:
        yield "a roll-out takes the only replica away"
    if not server.spec.get("minReadySeconds"):
        yield "minReadySeconds is not set: a replica that dies soon takes its predecessor with it"
    for each in server.pod.get("topologySpreadConstraints", ()):
        if "pod-template-hash" not in each.get("matchLabelKeys", ()):
            yield f"spread over {each['topologyKey']} counts replicas that a roll-out takes away"


def _settings(server: Server) -> Iterator[str]:
    if server.settings.get("ISOTHERM_HOST") != "0.0.0.0":  # noqa: S104
        yield "ISOTHERM_HOST is not 0.0.0.0: nobody outside of the pod reaches the server"
    expected = PORTS | (REST if "ISOTHERM_HTTP_PORT" in server.settings else {})
    if server.ports != expected:
        yield f"the ports are {server.ports}, expected {expected}"
    cores = _cores(server.container["resources"]["requests"].get("cpu", "0"))
    workers = server.number("WORKERS", 1)
    if workers > math.ceil(cores):
        yield f"{workers:g} workers have {cores:g} cores to themselves"
    if not server.number("MAX_CONNECTION_AGE"):
        yield "ISOTHERM_MAX_CONNECTION_AGE is not set: new replicas stay idle"
    memory = _bytes(server.container["resources"]["limits"].get("memory", "0"))
    if not 0 < server.number("MAX_MESSAGE_BYTES") <= memory / 4:
        yield "ISOTHERM_MAX_MESSAGE_BYTES is no part of the memory: one request could end the pod"
    for field in server.container.keys() & {"command", "lifecycle"}:
        yield f"{field} is set: the image's own entry point drains, and is process 1"


def _accelerator(server: Server) -> Iterator[str]:
    limits = server.container["resources"]["limits"]
    devices = [name for name in limits if name.startswith("nvidia.com/")]
    cuda = server.settings.get("ISOTHERM_PROVIDER") == "cuda"
    if cuda != bool(devices):
        yield f"ISOTHERM_PROVIDER is cuda: {cuda}, and of GPUs it asks for {devices}"
    if len(devices) > 1 or any(limits[name] != "1" for name in devices):
        yield f"a replica uses one GPU, and asks for {devices}"
    tolerated = {each.get("key") for each in server.pod.get("tolerations", ())}
    if devices and "nvidia.com/gpu" not in tolerated:
        yield "it asks for a GPU and does not tolerate the taint of GPU nodes"


def _models(server: Server) -> Iterator[str]:
    folder = server.container["args"][0]
    mounts = {each["mountPath"]: each for each in server.container["volumeMounts"]}
    if folder in mounts and not mounts[folder].get("readOnly"):
        yield f"the server could write to its models at {folder}"
    for path in mounts.keys() - {folder, "/tmp", "/tls"}:  # noqa: S108
        yield f"nothing of the server is at {path}"


def _disruption(server: Server) -> Iterator[str]:
    budgets = server.kind("PodDisruptionBudget")
    if not budgets:
        yield "no PodDisruptionBudget: a node's drain may take every replica"
    for budget in budgets:
        away = budget["spec"].get("maxUnavailable", 0)
        kept = budget["spec"].get("minAvailable", server.fewest - away)
        # One replica alone cannot be kept for ever: that would hold up the node's drain.
        if kept != server.fewest - 1:
            yield f"{name_of(budget)}: keeps {kept} of {server.fewest} replicas"
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{name_of(budget)}: a replica that is not ready holds up a node's drain"


def _replicas(server: Server) -> Iterator[str]:
    scalers = server.autoscalers
    if len(scalers) > 1:
        yield f"{' and '.join(map(name_of, scalers))} fight about the replicas"
    if bool(scalers) == ("replicas" in server.spec):
        yield f"replicas is {server.spec.get('replicas')}, and {len(scalers)} autoscalers decide"
    for each in server.kind(*AUTOSCALERS):
        fewest, most = bounds(each)
        fallback = each["spec"].get("fallback", {}).get("replicas", fewest)
        if each not in scalers:
            yield f"{name_of(each)} is for another Deployment"
        if not 2 <= fewest <= fallback <= most:
            yield f"{name_of(each)}: {fewest} to {most} replicas, {fallback} without figures"
    for each in server.kind("ScaledObject"):
        # By default it scales to the fallback, however many replicas there are, and takes a metric
        # that is missing for a queue that is empty.
        if each["spec"].get("fallback", {}).get("behavior") != "currentReplicasIfHigher":
            yield f"{name_of(each)}: takes replicas away while there are no figures"
        for trigger in each["spec"]["triggers"]:
            told = trigger["metadata"].get("ignoreNullValues")
            if trigger["type"] == "prometheus" and told != "false":
                yield f"{name_of(each)}: takes a missing metric for 0"


RULES = (
    _probes,
    _patience,
    _roll_out,
    _settings,
    _accelerator,
    _models,
    _disruption,
    _replicas,
)


def _cores(quantity: str) -> float:
    text = str(quantity)
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def _bytes(quantity: str) -> float:
    number, unit = quantity[:-2], quantity[-2:]
    units = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
    return float(number) * units[unit] if unit in units else 0
