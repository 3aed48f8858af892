"""The Deployment of the overlay dev as a pod of podman: the manifest and the image together."""

import json

import pytest
import yaml

from tests.deploy.manifests import container, only, read, settings
from tests.deploy.places import KUSTOMIZE, RENDERED
from tests.deploy.server import MODEL, Address, check, wait_until_ready
from tests.support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(name="played")
def _played(store, tmp_path):
    """The pod's container, its ports published on loopback, its drain short enough to wait for."""
    objects = read(RENDERED[KUSTOMIZE / "overlays" / "dev"])
    deployment = only(objects, "Deployment")
    server = container(objects)
    address = Address(free_port(), free_port())
    for port, here in zip(server["ports"], address, strict=True):
        port |= {"hostIP": "127.0.0.1", "hostPort": here}
    for variable in server["env"]:
        if variable["name"] == "ISOTHERM_DRAIN_DELAY":
            variable["value"] = "1"
    path = tmp_path / "deployment.yaml"
    path.write_text(yaml.safe_dump(deployment))
    printed = store.podman("kube", "play", str(path)).splitlines()
    try:
        yield printed[printed.index("Container:") + 1], server, address
    finally:
        store.podman("kube", "down", str(path))


def test_the_dev_deployment_runs_as_a_pod(store, played):
    """Podman reads what Kubernetes reads: user, limits, variables, volumes, the image's model."""
    name, server, address = played
    wait_until_ready(address, within_s=60)
    readiness = check(address.target, MODEL, 2)
    status = store.status(name)
    (inspected,) = json.loads(store.podman("inspect", name))
    set_to = dict(each.split("=", 1) for each in inspected["Config"]["Env"])
    store.podman("stop", "--time", "45", name)
    code = store.podman("inspect", "--format", "{{.State.ExitCode}}", name)

    assert readiness == "SERVING"
    assert "65532" in status["Uid"].split()
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert inspected["HostConfig"]["ReadonlyRootfs"]
    assert inspected["HostConfig"]["Memory"] == 512 * 2**20
    assert settings(server).items() <= set_to.items()
    assert code == "0", store.podman("logs", name)
