"""What kustomize makes of overlays and components, against the policy and against the image."""

import re
import tomllib
from typing import Any

import pytest

from tests.deploy.kustomize.policy import faults
from tests.deploy.kustomize.renderings import EVERYTHING, combinations, label, rendered
from tests.deploy.manifests import Objects, container, of_kind, pod, read, settings
from tests.deploy.places import DOCKERFILE, KUSTOMIZE, RENDERED, ROOT

BASE = KUSTOMIZE / "base"

every_rendering = pytest.mark.parametrize(
    "objects",
    [read(path) for path in RENDERED.values()],
    ids=[path.stem for path in RENDERED.values()],
)


@pytest.mark.slow
@pytest.mark.parametrize("folder", RENDERED, ids=lambda path: path.name)
def test_the_renderings_that_fast_tests_read_are_what_kustomize_makes(folder):
    """A changed manifest is rendered anew with `kubectl kustomize FOLDER > RENDERING`."""
    assert rendered(folder) == read(RENDERED[folder])


@every_rendering
def test_every_overlay_obeys_the_policy(objects):
    """Restricted, read-only, bounded, probed, patient, selected: `policy.py`."""
    assert faults(objects) == []


@pytest.mark.slow
@pytest.mark.parametrize("combination", combinations(), ids=label)
def test_components_obey_the_policy_alone_and_together(combination):
    """One component undoes nothing of another."""
    assert faults(rendered(*combination)) == []


@pytest.mark.slow
def test_the_order_of_components_makes_no_difference():
    """All that can be together, from the first to the last and back."""
    forwards = rendered(BASE, EVERYTHING)
    backwards = rendered(BASE, tuple(reversed(EVERYTHING)))

    assert _sorted(forwards) == _sorted(backwards)


@pytest.mark.slow
def test_two_sources_of_models_are_refused():
    """The control: kustomize makes one volume of two, which no cluster would take."""
    objects = rendered(BASE, ("models-fetch", "models-pvc"))

    assert any("volume models has the sources" in fault for fault in faults(objects))


@pytest.mark.slow
def test_two_autoscalers_are_refused():
    """The control: each is fine alone."""
    objects = rendered(BASE, ("hpa", "keda"))

    assert any("fight about the replicas" in fault for fault in faults(objects))


@every_rendering
def test_one_service_has_an_address_and_one_has_none(objects):
    """Headless is for clients that balance by themselves."""
    services = {
        each["metadata"]["name"]: each["spec"].get("clusterIP")
        for each in of_kind(objects, "Service")
    }

    assert services == {"isotherm": None, "isotherm-headless": "None"}


@every_rendering
def test_the_image_is_of_this_version(objects):
    """The manifests name the version that they were written for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, _, tag = container(objects)["image"].partition(":")
    suffix = "-gpu" if settings(container(objects)).get("ISOTHERM_PROVIDER") == "cuda" else ""

    assert name in {"isotherm", "isotherm-demo"}
    assert tag == f"{project['version']}{suffix}"


@pytest.mark.parametrize("folder", sorted({*RENDERED} - {BASE}), ids=lambda path: path.name)
def test_an_overlay_mounts_models_or_has_the_image_with_some(folder):
    """The base does neither: it is not applied alone."""
    server = container(read(RENDERED[folder]))
    mounted = "/models" in {mount["mountPath"] for mount in server["volumeMounts"]}

    assert mounted is not server["image"].startswith("isotherm-demo:")


@every_rendering
def test_manifest_and_image_agree(objects):
    """User, ports and entry point are those of the Dockerfile."""
    dockerfile = DOCKERFILE.read_text()
    security = pod(objects)["spec"]["securityContext"]
    ports = {str(port["containerPort"]) for port in container(objects)["ports"]}
    (exposed,) = re.findall(r"^EXPOSE (.*)$", dockerfile, re.MULTILINE)

    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in dockerfile
    assert ports <= set(exposed.split())
    assert re.search(r'^ENTRYPOINT \["isotherm", "serve"\]$', dockerfile, re.MULTILINE)


def test_every_patch_is_a_file_of_its_own():
    """The kustomize of kubectl 1.30 and before takes no file with two."""
    files = [
        folder / patch["path"]
        for path in KUSTOMIZE.rglob("kustomization.yaml")
        for folder, (kustomization,) in [(path.parent, read(path))]
        for patch in kustomization.get("patches", ())
    ]

    assert len(files) > 8
    assert {len(read(path)) for path in files} == {1}


def _sorted(objects: Objects) -> Any:
    """The objects with every list in an order of its own: that of its items' text."""
    return sorted((_settled(each) for each in objects), key=str)


def _settled(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _settled(value) for key, value in sorted(node.items())}
    if isinstance(node, list):
        return sorted((_settled(each) for each in node), key=str)
    return node
