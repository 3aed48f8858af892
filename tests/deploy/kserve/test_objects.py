"""The objects of deploy/kserve: valid, restricted, and of one mind with each other."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest

from isotherm.server.config import BatchingConfig
from tests.deploy.kserve import controller
from tests.deploy.kserve.files import (
    EXAMPLES,
    FILES,
    KSERVE,
    NAMESPACED,
    RUNTIMES,
    example,
    runtime_of,
    runtimes,
)
from tests.deploy.kubernetes.validation import InvalidError, check
from tests.deploy.kustomize.pod_policy import pod_faults
from tests.deploy.kustomize.renderings import kustomize
from tests.deploy.manifests import Object, Objects, of_kind, only, parsed, read, settings
from tests.deploy.observability.metric_names import documented_families

VERSION = "1.32"
SPARE_S = 5
SERVICES = [each for file in EXAMPLES for each in of_kind(read(file), "InferenceService")]
# What a runtime for REST has to have otherwise.
OF_REST = {"ISOTHERM_HTTP_PORT"}


def server(pod: Object) -> Object:
    """The server's container."""
    (found,) = pod["spec"]["containers"]
    assert found["name"] == controller.CONTAINER
    return dict(found)


def changed(node: Object, value: Any, *path: str | int) -> Object:
    """A copy with one field that is another."""
    copy = deepcopy(node)
    at: Any = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_object_is_valid(file):
    """Against KServe's, the Gateway API's and the Prometheus operator's schemas, closed."""
    objects = read(file)
    for each in objects:
        check(each, VERSION)

    assert objects


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (["v2"], ("spec", "protocolversions")),
        ("8001", ("spec", "containers", 0, "ports", 0, "containerPort")),
        ({"grcp": {"port": 8001}}, ("spec", "containers", 0, "readinessProbe")),
        ("isotherm", ("spec", "image")),
    ],
)
def test_an_object_that_is_not_valid_is_refused(value, path):
    """A control: a misspelt field, a wrong type."""
    runtime = runtimes()[0]
    with pytest.raises(InvalidError):
        check(changed(runtime, value, *path), VERSION)


@pytest.mark.parametrize(
    "service", SERVICES, ids=lambda s: s["spec"]["predictor"]["model"]["storageUri"]
)
def test_the_pods_are_restricted_and_bounded(service):
    """Of runtime and service together."""
    assert [] == [*pod_faults(controller.pod(runtime_of(service), service)["spec"])]


def test_a_pod_that_is_not_restricted_is_seen():
    """A control: what the runtime alone can say."""
    service = example("https")
    runtime = runtime_of(service)
    context = ("spec", "containers", 0, "securityContext")
    for field in ("runAsNonRoot", "allowPrivilegeEscalation", "readOnlyRootFilesystem"):
        wrong = changed(
            runtime, not runtime["spec"]["containers"][0]["securityContext"][field], *context, field
        )
        assert [*pod_faults(controller.pod(wrong, service)["spec"])]


def drain_s(pod: Object) -> float:
    """How long a server takes to stop at the most, and what is to spare."""
    told = settings(server(pod))
    return float(told["ISOTHERM_DRAIN_DELAY"]) + float(told["ISOTHERM_GRACE"]) + SPARE_S


@pytest.mark.parametrize(
    "service", SERVICES, ids=lambda s: s["spec"]["predictor"]["model"]["storageUri"]
)
def test_the_drain_fits_into_the_pod_s_patience(service):
    """Which a runtime cannot set: without a word in the service it is 30 s."""
    pod = controller.pod(runtime_of(service), service)

    assert drain_s(pod) <= pod["spec"]["terminationGracePeriodSeconds"]


def test_a_drain_that_does_not_fit_is_seen():
    """A control: the same service without its word."""
    service = deepcopy(example("autoscaling"))
    del service["spec"]["predictor"]["terminationGracePeriodSeconds"]
    pod = controller.pod(runtime_of(service), service)

    assert drain_s(pod) > pod["spec"]["terminationGracePeriodSeconds"]


def test_workers_are_as_many_as_cores():
    """Of each service, with what it changes."""
    for service in SERVICES:
        container = server(controller.pod(runtime_of(service), service))
        cores = container["resources"]["requests"]["cpu"]
        assert settings(container)["ISOTHERM_WORKERS"] == cores


def test_a_model_has_the_service_s_name():
    """Unless the service says otherwise, which its canary does."""
    names = {}
    for service in (*map(example, ("https", "http")), example("canary-standard")):
        container = server(controller.pod(runtime_of(service), service))
        names[service["metadata"]["name"]] = settings(container)["ISOTHERM_MODEL_NAME"]

    assert names == {"thermometer": "thermometer", "thermometer-canary": "thermometer"}


def test_a_runtime_has_the_one_port_that_knative_allows():
    """Named so that it knows what is spoken; and it is what readiness asks."""
    for runtime in runtimes():
        (container,) = runtime["spec"]["containers"]
        (port,) = container["ports"]
        (probe,) = (v for k, v in container["readinessProbe"].items() if isinstance(v, dict))
        told = settings(container)
        protocol, setting, asked = {
            "h2c": ("grpc-v2", "8001", {"service": ""}),
            "http1": ("v2", told.get("ISOTHERM_HTTP_PORT"), {"path": "/v2/health/ready"}),
        }[port["name"]]
        assert runtime["spec"]["protocolVersions"] == [protocol]
        assert str(port["containerPort"]) == setting
        assert probe == {"port": port["containerPort"], **asked}
        assert "startupProbe" not in container


def test_the_metrics_port_is_everywhere_the_same():
    """In annotations, in the probe, in the monitor; it is the server's default."""
    monitor = only(read(KSERVE / "podmonitor.yaml"), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (address,) = (
        each["replacement"]
        for each in endpoint["relabelings"]
        if each.get("targetLabel") == "__address__"
    )
    assert address == "$1:8002"
    for runtime in runtimes():
        annotations = runtime["spec"]["annotations"]
        (container,) = runtime["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"] == {"port": 8002, "path": "/healthz"}
        for name in ("prometheus.io", "prometheus.kserve.io"):
            assert (annotations[f"{name}/port"], annotations[f"{name}/path"]) == (
                "8002",
                "/metrics",
            )
        assert "ISOTHERM_METRICS_PORT" not in settings(container)


def test_the_monitor_finds_the_pods():
    """By what KServe and the runtime put on them."""
    monitor = only(read(KSERVE / "podmonitor.yaml"), "PodMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    for service in SERVICES:
        labels = controller.pod(runtime_of(service), service)["metadata"]["labels"]
        assert wanted.items() <= labels.items()


def test_the_monitor_scrapes_one_container_under_the_job_of_the_rules():
    """A pod has others, and is found once for each of their ports."""
    monitor = only(read(KSERVE / "podmonitor.yaml"), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    keep = {
        "sourceLabels": ["__meta_kubernetes_pod_container_name"],
        "action": "keep",
        "regex": controller.CONTAINER,
    }

    assert keep in endpoint["relabelings"]
    assert {"targetLabel": "job", "replacement": "isotherm"} in endpoint["relabelings"]
    assert endpoint["path"] == "/metrics"


def test_a_service_on_a_gpu_has_the_image_for_it():
    """And fails rather than to take the processor; the others have neither."""
    for service in SERVICES:
        container = server(controller.pod(runtime_of(service), service))
        on_gpu = "nvidia.com/gpu" in container["resources"]["limits"]
        assert container["image"].endswith("-gpu") is on_gpu
        assert (settings(container).get("ISOTHERM_PROVIDER") == "cuda") is on_gpu


def test_what_selects_a_service_s_pods_finds_them():
    """The budget, and the spread over zones and nodes, by the label that KServe gives."""
    service = example("autoscaling")
    pod = controller.pod(runtime_of(service), service)
    budget = only(read(KSERVE / "poddisruptionbudget.yaml"), "PodDisruptionBudget")
    spread = pod["spec"]["topologySpreadConstraints"]
    selectors = [budget["spec"]["selector"], *(each["labelSelector"] for each in spread)]

    assert len(spread) == 2
    for selector in selectors:
        assert selector["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_the_runtimes_differ_in_what_their_protocols_need():
    """A setting that is added to one is added to the other."""
    grpc, http = (runtime["spec"]["containers"][0] for runtime in reversed(runtimes()))
    differ = {field for field in grpc.keys() | http.keys() if grpc.get(field) != http.get(field)}

    assert differ == {"env", "ports", "readinessProbe"}
    assert settings(http).keys() - settings(grpc).keys() == OF_REST
    assert settings(grpc).items() <= settings(http).items()


def test_an_external_metric_has_the_one_number_that_kserve_reads():
    """It takes `value` alone: older ones crash where it is not there, newer ones scale by 0."""
    _, metric = _external()

    assert metric["target"] == {"type": "Value", "value": str(BatchingConfig().max_batch_size)}


def test_an_external_metric_counts_the_service_s_own_pods():
    """Its Deployment is the service's name and `-predictor`; names may begin alike."""
    name, metric = _external()
    query = metric["metric"]["query"]
    families = {family.name for family in documented_families()}
    (pattern,) = re.findall(r'pod=~"([^"]*)"', query)
    pods = [f"{each}-predictor-5b7f9d6c8-x2x9k" for each in (name, f"{name}-canary", f"a-{name}")]

    assert set(re.findall(r"isotherm_\w+", query)) <= families
    assert [pod for pod in pods if re.fullmatch(pattern, pod)] == pods[:1]


def _external() -> tuple[str, Object]:
    """The one service that scales by a metric of ours, and the metric."""
    (found,) = [
        (service["metadata"]["name"], each["external"])
        for service in SERVICES
        for each in service["spec"]["predictor"].get("autoScaling", {}).get("metrics", ())
        if each["type"] == "External"
    ]
    return found


def test_the_canary_s_route_leads_to_kserve_s_services():
    """To that of each service, at its port, with weights that add up."""
    canary = read(KSERVE / "examples" / "canary-standard.yaml")
    (rule,) = only(canary, "GRPCRoute")["spec"]["rules"]
    services = [
        controller.service_of(runtime_of(each), each)
        for each in (example("https"), only(canary, "InferenceService"))
    ]
    backends = [(each["name"], each["port"]) for each in rule["backendRefs"]]

    assert backends == [(each["name"], each["ports"][0]["port"]) for each in services]
    assert sum(each["weight"] for each in rule["backendRefs"]) == 100


def test_a_service_for_another_runtime_is_refused():
    """A control of what stands for the controller here."""
    service = example("http")
    for value, path in (("v1", "protocolVersion"), ({"name": "sklearn"}, "modelFormat")):
        wrong = changed(service, value, "spec", "predictor", "model", path)
        with pytest.raises(controller.MismatchError):
            controller.pod(runtime_of(service), wrong)


def _normal(objects: Objects) -> dict[str, Object]:
    """By name, without what makes a runtime the namespace's."""
    found = {}
    for each in objects:
        copy = deepcopy(each)
        copy.pop("kind")
        for form in copy["spec"]["supportedModelFormats"]:
            form.pop("autoSelect")
            form.pop("priority", None)
        found[copy["metadata"]["name"]] = copy
    return found


@pytest.mark.slow
def test_the_namespace_s_runtimes_are_the_cluster_s():
    """Of another kind, and chosen where a service names none."""
    objects = parsed(kustomize(NAMESPACED))
    for each in objects:
        check(each, VERSION)

    assert {each["kind"] for each in objects} == {"ServingRuntime"}
    assert _normal(objects) == _normal(runtimes()) == _normal(parsed(kustomize(RUNTIMES)))
    for each in objects:
        (form,) = each["spec"]["supportedModelFormats"]
        assert (form["autoSelect"], form["priority"]) == (True, 2)
