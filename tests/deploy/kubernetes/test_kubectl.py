"""The overlays on an API server, by the real kubectl."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tests.deploy.kubernetes.kubectl import Kubectl
from tests.deploy.kubernetes.server import Cluster, cluster
from tests.deploy.kustomize.renderings import rendered
from tests.deploy.manifests import Object
from tests.deploy.places import KUSTOMIZE

pytestmark = pytest.mark.slow

# kubectl sends the selector of a budget every time, since it replaces it as a whole, and calls that
# a change, whatever the server says.
RESTLESS = "poddisruptionbudget.policy/isotherm configured"

OVERLAYS = sorted((KUSTOMIZE / "overlays").iterdir())

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)


@pytest.fixture(name="api")
def _api():
    with cluster() as api:
        yield api


@pytest.fixture(name="kubectl")
def _kubectl(api, tmp_path):
    return Kubectl.of(api, tmp_path)


def _rendered(overlay: Path) -> dict[tuple[str, str], Object]:
    """What kustomize makes of an overlay, by kind and name."""
    return {(node["kind"], node["metadata"]["name"]): node for node in rendered(overlay)}


def _kept(api: Cluster) -> dict[tuple[str, str], Object]:
    return api.objects("default")


def _apply(kubectl: Kubectl, overlay: Path, *options: str) -> set[str]:
    """Apply; return what happened to the objects."""
    return {
        line.split(" ", 1)[1] for line in kubectl("apply", "--kustomize", str(overlay), *options)
    }


@every_overlay
def test_an_overlay_is_applied_and_a_second_time_changes_nothing(api, kubectl, overlay):
    """Each object arrives with what was written, and then stays as it is."""
    wanted = _rendered(overlay)

    first = _apply(kubectl, overlay)
    kept = _kept(api)
    second = kubectl("apply", "--kustomize", str(overlay))

    assert {"created"} == first
    assert [RESTLESS] == [line for line in second if not line.endswith(" unchanged")]
    assert wanted.keys() == kept.keys()
    assert all(node["spec"] == kept[key]["spec"] for key, node in wanted.items() if "spec" in node)
    assert kept == _kept(api)


@every_overlay
def test_a_dry_run_on_the_server_keeps_nothing(api, kubectl, overlay):
    """The server checks what it would do, and does not do it."""
    said = _apply(kubectl, overlay, "--dry-run=server")

    assert {"created (server dry run)"} == said
    assert all(request.dry for request in api.changes())
    assert {} == _kept(api)


@every_overlay
def test_an_overlay_is_applied_by_the_server(api, kubectl, overlay):
    """Server-side apply creates the same, and a second one changes nothing."""
    wanted = _rendered(overlay)

    said = _apply(kubectl, overlay, "--server-side")
    kept = _kept(api)
    _apply(kubectl, overlay, "--server-side")

    assert {"serverside-applied"} == said
    assert wanted.keys() == kept.keys()
    assert kept == _kept(api)


@every_overlay
def test_an_overlay_is_deleted_as_a_whole(api, kubectl, overlay):
    """Nothing is left behind."""
    _apply(kubectl, overlay)

    kubectl("delete", "--kustomize", str(overlay))

    assert {} == _kept(api)


def test_from_one_overlay_to_another_only_what_differs_changes(api, kubectl):
    """From processors to GPUs: the Deployment, and nothing beside it."""
    cpu, gpu = KUSTOMIZE / "overlays" / "cpu", KUSTOMIZE / "overlays" / "gpu"
    _apply(kubectl, cpu)
    before = _kept(api)

    lines = kubectl("apply", "--kustomize", str(gpu))
    after = _kept(api)

    assert {"deployment.apps/isotherm configured", RESTLESS} == {
        line for line in lines if not line.endswith(" unchanged")
    }
    assert {("Deployment", "isotherm")} == {key for key in after if after[key] != before[key]}
    assert (
        _rendered(gpu)["Deployment", "isotherm"]["spec"] == after["Deployment", "isotherm"]["spec"]
    )


@pytest.mark.parametrize("option", ["--server-side=false", "--server-side"])
def test_an_unknown_field_is_refused(api, kubectl, tmp_path, option):
    """The control: the server says which object and which field, and keeps nothing of it."""
    node = deepcopy(_rendered(KUSTOMIZE / "overlays" / "cpu")["Deployment", "isotherm"])
    node["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    file = tmp_path / "broken.yaml"
    file.write_text(yaml.safe_dump(node))

    done = kubectl.run("apply", "--filename", str(file), option)

    assert done.returncode == 1
    assert 'Deployment "isotherm" is invalid' in done.stderr
    assert "'readynessProbe' was unexpected" in done.stderr
    assert {} == _kept(api)


def test_a_namespace_that_is_not_there_is_an_error(api, kubectl):
    """The control: objects do not land where nobody looks for them."""
    overlay = str(KUSTOMIZE / "overlays" / "dev")

    done = kubectl.run("apply", "--kustomize", overlay, "--namespace=nowhere")

    assert done.returncode == 1
    assert 'namespaces "nowhere" not found' in done.stderr
