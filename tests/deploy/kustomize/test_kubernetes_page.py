"""docs/kubernetes.md against the manifests: its tables, its numbers, and every example of it."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes.validation import check
from tests.deploy.kustomize.policy import faults
from tests.deploy.kustomize.renderings import COMPONENTS, combinations, overlay, rendered
from tests.deploy.manifests import container, parsed, pod, read, setting
from tests.deploy.places import KUSTOMIZE, RENDERED, ROOT
from tests.deploy.processes import output, tool

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
BASE = read(RENDERED[KUSTOMIZE / "base"])
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
PLACE = re.compile(r"# on (overlays/\w+)(?: with (components/[\w-]+))?\n")


def test_the_page_lists_every_component_and_every_overlay():
    """And none that is gone."""
    rows = set(re.findall(r"^\| `([\w-]+)` \|", PAGE.partition("## An overlay")[0], re.MULTILINE))
    overlays = {folder.name for folder in RENDERED} - {"base"}

    assert {*COMPONENTS, *overlays} == rows


def test_the_page_gives_the_numbers_of_the_manifests():
    """Drain delay, grace, the pod's patience and the others."""
    startup = container(BASE)["startupProbe"]
    minutes = startup["periodSeconds"] * startup["failureThreshold"] / 60
    said = [
        f"`ISOTHERM_DRAIN_DELAY` ({setting(BASE, 'ISOTHERM_DRAIN_DELAY')} s)",
        f"`ISOTHERM_GRACE`\n({setting(BASE, 'ISOTHERM_GRACE')} s)",
        f"`terminationGracePeriodSeconds` ({pod(BASE)['spec']['terminationGracePeriodSeconds']})",
        f"closes each after {setting(BASE, 'ISOTHERM_MAX_CONNECTION_AGE')} s",
        f"within {minutes:g} minutes",
    ]

    assert [text for text in said if text not in PAGE] == []


@pytest.mark.slow
@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_every_example_is_valid_and_obeys_the_policy(text):
    """As a user would apply it."""
    objects = overlay(_kustomization(text))

    assert faults(objects) == []
    for each in objects:
        check(each, "1.37")


@pytest.mark.slow
@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_every_example_changes_what_it_names(text):
    """The control: a patch whose target is not there changes nothing, silently."""
    whole = _kustomization(text)
    places: dict[str, object] = {
        key: whole[key] for key in ("resources", "components") if key in whole
    }
    changes: list[dict[str, object]] = [
        {key: whole[key]} for key in ("images", "namespace") if key in whole
    ]
    before = overlay(places)
    changes += [{"patches": [patch]} for patch in whole["patches"]]

    for change in changes:
        assert overlay(places | change) != before, change


@pytest.mark.slow
def test_the_secret_of_the_page_has_what_the_init_container_asks_for():
    """Made by kubectl itself, from the command of the page."""
    (command,) = re.findall(r"^kubectl create secret(?:.*\\\n)*.*$", PAGE, re.MULTILINE)
    options = ["--dry-run=client", "--output=yaml"]
    program, *arguments = shlex.split(command.replace("\\\n", " "))
    (secret,) = parsed(output([tool(program, "Kubernetes"), *arguments, *options]))
    (fetch,) = pod(rendered(KUSTOMIZE / "base", ("models-fetch",)))["spec"]["initContainers"]
    (source,) = fetch["envFrom"]

    assert secret["metadata"]["name"] == source["secretRef"]["name"]
    assert set(re.findall(r"\$\((\w+)\)", str(fetch["args"]))) == {"MODELS_PATH"}
    for name in secret["data"].keys() - {"MODELS_PATH"}:
        assert name.startswith("RCLONE_CONFIG_SOURCE_")
    assert {"MODELS_PATH", "RCLONE_CONFIG_SOURCE_TYPE"} <= secret["data"].keys()


@pytest.mark.slow
def test_the_page_names_whatever_has_to_be_there_first():
    """Secrets, ConfigMaps and claims that a component refers to and does not bring."""
    named = set(re.findall(r"`([\w-]+)`", PAGE))
    found = set()
    for combination in combinations():
        objects = rendered(*combination)
        brought = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
        found |= {*_references(objects)} - brought

    assert {"isotherm-ca", "isotherm-models", "isotherm-models-source", "isotherm-tls"} == found
    assert found <= named


def _references(node: Any) -> Iterator[str]:
    """The names of what lies in the namespace, wherever an object refers to it."""
    if isinstance(node, list):
        for each in node:
            yield from _references(each)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in {"secretRef", "configMapRef"}:
                yield value["name"]
            elif key == "caCertificateRefs":
                yield from (each["name"] for each in value)
            elif key in {"claimName", "secretName"}:
                yield value
            else:
                yield from _references(value)


def _kustomization(text: str) -> dict[str, Any]:
    """An example as a kustomization: whole, or on top of what its first line names."""
    kustomization: dict[str, Any] = yaml.safe_load(text)
    place = PLACE.match(text)
    if place is None:
        for key in ("resources", "components"):
            here = [path.replace("../isotherm", str(ROOT)) for path in kustomization[key]]
            kustomization[key] = here
        return kustomization
    folder, component = place.groups()
    extra = {} if component is None else {"components": [str(KUSTOMIZE / component)]}
    return {"resources": [str(KUSTOMIZE / folder)], **extra, **kustomization}
