"""Every rendering against the schemas of three versions of Kubernetes, and of others' kinds."""

import json
from copy import deepcopy
from functools import cache
from typing import Any

import pytest

from tests.deploy.kubernetes.validation import InvalidError, check
from tests.deploy.kustomize.renderings import combinations, label, rendered
from tests.deploy.manifests import container, of_kind, only, pod, read
from tests.deploy.places import KUSTOMIZE, RENDERED

pytestmark = pytest.mark.slow

# The oldest version with all that the manifests use, kubectl's own, and the newest known.
VERSIONS = ("1.29", "1.32", "1.37")
# Image volumes came with 1.31.
OLDER = "1.29"
BASE = KUSTOMIZE / "base"


@pytest.mark.parametrize("combination", combinations(), ids=label)
def test_every_object_is_valid_for_three_versions_of_kubernetes(combination):
    """Strictly: a field that the schema does not name is refused as well as a wrong type."""
    objects = rendered(*combination)
    versions = [version for version in VERSIONS if version != OLDER or not _image_volumes(objects)]

    for each in objects:
        text = json.dumps(each)
        for version in versions:
            _valid(text, version)


@cache
def _valid(text, version):
    """Most combinations have most objects in common."""
    check(json.loads(text), version)


def test_a_version_without_image_volumes_refuses_them():
    """The control of the exception above: models-oci, and it alone."""
    with pytest.raises(InvalidError, match="image"):
        check(only(rendered(BASE, ("models-oci",)), "Deployment"), OLDER)
    excepted = [label(each) for each in combinations() if _image_volumes(rendered(*each))]

    assert all("models-oci" in each for each in excepted)


def _image_volumes(objects):
    return any("image" in volume for volume in pod(objects)["spec"]["volumes"])


def _kinds():
    """One object of each kind that there is, by its kind."""
    found: Any = {}
    for combination in combinations():
        found |= {each["kind"]: each for each in rendered(*combination)}
    return found


def test_a_misspelt_field_is_refused_in_every_kind():
    """The control: in the specification, where there is one."""
    kinds = _kinds()
    assert {"BackendTLSPolicy", "GRPCRoute", "PodMonitor", "PrometheusRule", "ScaledObject"} < {
        *kinds
    }

    for version in VERSIONS:
        for each in kinds.values():
            broken = deepcopy(each)
            broken.get("spec", broken)["misspelt"] = {}
            with pytest.raises(InvalidError, match="misspelt"):
                check(broken, version)


def test_a_misspelt_field_is_refused_deep_inside():
    """In a container, in an alert, in a trigger, in a route."""
    kinds = _kinds()
    broken = deepcopy(read(RENDERED[BASE]))
    container(broken)["readynessProbe"] = {}
    places = [
        (only(broken, "Deployment"), container(broken)),
        *(
            (each, place(each["spec"]))
            for kind, place in (
                ("GRPCRoute", lambda spec: spec["rules"][0]["backendRefs"][0]),
                ("PodMonitor", lambda spec: spec["podMetricsEndpoints"][0]),
                ("PrometheusRule", lambda spec: spec["groups"][0]["rules"][0]),
                ("ScaledObject", lambda spec: spec["triggers"][0]),
            )
            for each in [deepcopy(kinds[kind])]
        ),
    ]

    for whole, part in places:
        part["readynessProbe"] = {}
        with pytest.raises(InvalidError, match="readynessProbe"):
            check(whole, VERSIONS[-1])


def test_no_object_is_too_large_for_kubectl_apply():
    """It keeps a copy in an annotation, and all of them together have 256 KiB."""
    for each in of_kind(rendered(BASE, ("monitoring",)), "ConfigMap", "PrometheusRule"):
        assert len(str(each)) < 256 * 1024
