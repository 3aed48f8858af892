import re
import tomllib
from itertools import pairwise

import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import container, flag, objects, only, pod
from tests.deploy.places import DOCKERFILE, KUSTOMIZE, RENDERED, ROOT
from tests.deploy.processes import output, tool

# The oldest version with all that the manifests use, kubectl's own, and the newest known.
KUBERNETES_VERSIONS = ("1.29", "1.32", "1.37")
SPARE_S = 5

every_rendering = pytest.mark.parametrize(
    "rendering", RENDERED.values(), ids=lambda path: path.stem
)


@pytest.mark.slow
@pytest.mark.parametrize("folder", RENDERED, ids=lambda path: path.name)
def test_the_renderings_that_fast_tests_read_are_what_kustomize_makes(folder):
    """A changed manifest is rendered anew with `kubectl kustomize FOLDER > RENDERING`."""
    rendered = output([tool("kubectl", "Kubernetes"), "kustomize", str(folder)])

    assert list(yaml.safe_load_all(rendered)) == objects(RENDERED[folder])


@every_rendering
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_object_is_valid_for_three_versions_of_kubernetes(rendering, version):
    """Strict validation refuses a misspelt field as well as a wrong type."""
    for each in objects(rendering):
        kubernetes_validate.validate(each, version, strict=True)


def test_validation_sees_a_misspelt_field():
    """The control: strict validation does refuse."""
    broken = only(RENDERED[KUSTOMIZE / "base"], "Deployment")
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(broken, KUBERNETES_VERSIONS[0], strict=True)


@every_rendering
def test_the_pod_meets_the_restricted_pod_security_standard(rendering):
    """Every field that the standard asks for is set, and none of the others is loosened."""
    spec = pod(rendering)["spec"]
    security = container(rendering)["securityContext"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security.keys().isdisjoint({"privileged", "procMount", "runAsUser", "seLinuxOptions"})
    assert spec.keys().isdisjoint({"hostIPC", "hostNetwork", "hostPID", "initContainers"})
    assert not any("hostPort" in port for port in container(rendering)["ports"])
    allowed_volumes = {"emptyDir", "persistentVolumeClaim"}
    assert all(volume.keys() - {"name"} <= allowed_volumes for volume in spec["volumes"])


@every_rendering
def test_the_server_can_write_to_its_scratch_folder_only(rendering):
    """The root is read-only, and so is every mount but /tmp, which is bounded."""
    mounts = {mount["mountPath"]: mount for mount in container(rendering)["volumeMounts"]}
    scratch = next(v for v in pod(rendering)["spec"]["volumes"] if v["name"] == "tmp")

    assert container(rendering)["securityContext"]["readOnlyRootFilesystem"] is True
    assert {path for path, mount in mounts.items() if not mount.get("readOnly")} == {"/tmp"}  # noqa: S108
    assert {"medium", "sizeLimit"} == scratch["emptyDir"].keys()


@every_rendering
def test_nobody_gets_a_token_for_the_kubernetes_api(rendering):
    """Neither the account nor the pod mounts one."""
    assert only(rendering, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod(rendering)["spec"]["automountServiceAccountToken"] is False


@every_rendering
def test_the_grace_period_covers_the_drain_and_the_longest_call(rendering):
    """The kubelet's SIGKILL comes after the server's own end, with time to spare."""
    own_end_s = flag(rendering, "--drain-delay") + flag(rendering, "--grace")

    assert own_end_s + SPARE_S <= pod(rendering)["spec"]["terminationGracePeriodSeconds"]


@every_rendering
def test_a_slow_load_fits_into_the_roll_out(rendering):
    """The roll-out is given up only after the start-up budget is spent."""
    probe = container(rendering)["startupProbe"]
    start_up_s = probe["periodSeconds"] * probe["failureThreshold"]

    assert start_up_s < only(rendering, "Deployment")["spec"]["progressDeadlineSeconds"]


@every_rendering
def test_each_probe_asks_the_health_service_that_answers_its_question(rendering):
    """Liveness never depends on a model; readiness does."""
    services = {
        name: container(rendering)[name]["grpc"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert services == {
        "startupProbe": {"port": 8001, "service": "liveness"},
        "livenessProbe": {"port": 8001, "service": "liveness"},
        "readinessProbe": {"port": 8001, "service": ""},
    }


@every_rendering
def test_a_roll_out_never_takes_away_a_ready_replica(rendering):
    """A new replica has to be ready before an old one is told to stop."""
    strategy = only(rendering, "Deployment")["spec"]["strategy"]["rollingUpdate"]

    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


@every_rendering
def test_resources_are_requested_and_memory_is_limited(rendering):
    """Without requests the scheduler overfills the node; a processor limit would throttle."""
    resources = container(rendering)["resources"]

    assert {"cpu", "memory"} == resources["requests"].keys()
    assert {"memory"} == resources["limits"].keys()


@every_rendering
def test_every_selector_finds_the_pods(rendering):
    """Deployment, Services, disruption budget and spread all select the template's labels."""
    labels = pod(rendering)["metadata"]["labels"]
    deployment = only(rendering, "Deployment")["spec"]
    selecting = [
        deployment["selector"]["matchLabels"],
        only(rendering, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(o["spec"]["selector"] for o in objects(rendering) if o["kind"] == "Service"),
        *(
            spread["labelSelector"]["matchLabels"]
            for spread in pod(rendering)["spec"]["topologySpreadConstraints"]
        ),
    ]

    assert len(selecting) == 6
    assert all(selector.items() <= labels.items() for selector in selecting)


@every_rendering
def test_services_lead_to_ports_that_the_container_has(rendering):
    """Each target is a named port, and gRPC says that it is HTTP/2 without TLS."""
    ports = {port["name"]: port["containerPort"] for port in container(rendering)["ports"]}
    services = [each for each in objects(rendering) if each["kind"] == "Service"]
    offered = [port for service in services for port in service["spec"]["ports"]]

    assert ports == {"grpc": 8001, "metrics": 8002}
    assert {port["targetPort"] for port in offered} == ports.keys()
    assert all(ports[port["targetPort"]] == port["port"] for port in offered)
    assert {"kubernetes.io/h2c"} == {
        port["appProtocol"] for port in offered if port["name"] == "grpc"
    }


@every_rendering
def test_one_service_has_an_address_and_one_has_none(rendering):
    """Headless is for clients that balance by themselves."""
    services = {
        each["metadata"]["name"]: each["spec"].get("clusterIP")
        for each in objects(rendering)
        if each["kind"] == "Service"
    }

    assert services == {"isotherm": None, "isotherm-headless": "None"}


@every_rendering
def test_the_image_is_of_this_version(rendering):
    """The manifests name the version that they were written for, never `latest`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, _, tag = container(rendering)["image"].partition(":")

    assert name in {"isotherm", "isotherm-demo"}
    assert project["version"] == tag


@every_rendering
def test_manifest_and_image_agree(rendering):
    """User, ports and signal are the same in the Dockerfile and in the pod."""
    dockerfile = DOCKERFILE.read_text()
    security = pod(rendering)["spec"]["securityContext"]
    ports = [str(port["containerPort"]) for port in container(rendering)["ports"]]

    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in dockerfile
    assert f"EXPOSE {' '.join(ports)}\n" in dockerfile
    assert "command" not in container(rendering)
    assert re.search(r'^ENTRYPOINT \["isotherm", "serve"\]$', dockerfile, re.MULTILINE)


@every_rendering
def test_every_flag_of_the_manifests_has_a_value(rendering):
    """`--flag`, then its value, in items of their own, so that a patch can replace the value."""
    args = container(rendering)["args"]
    flags = [(name, value) for name, value in pairwise(args) if name.startswith("--")]

    assert args[0] == "/models"
    assert len(args) == 1 + 2 * len(flags)
    assert all(not value.startswith("--") for _, value in flags)
