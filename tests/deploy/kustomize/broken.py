"""Sound sets of objects, and changes that break one in one way."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import yaml

from tests.deploy.manifests import Object, Objects, called, container, only, pod, read
from tests.deploy.places import KUSTOMIZE, RENDERED

Change = Callable[[Objects], object]

COMPONENTS = KUSTOMIZE / "components"
RENDERINGS = {folder.name: read(path) for folder, path in RENDERED.items()}


def resource(path: str) -> Objects:
    """The objects of a component's file."""
    return list(yaml.safe_load_all((COMPONENTS / path).read_text()))


def _scaled(scaler: str) -> Objects:
    objects = deepcopy(RENDERINGS["cpu"])
    del only(objects, "Deployment")["spec"]["replicas"]
    return [*objects, *resource(scaler)]


def _fetching() -> Objects:
    """With a second container, which runs first."""
    objects = deepcopy(RENDERINGS["base"])
    first = deepcopy(container(objects)) | {"name": "first", "env": []}
    pod(objects)["spec"]["initContainers"] = [first]
    return objects


def _encrypted() -> Objects:
    """With a Secret in the pod."""
    objects = deepcopy(RENDERINGS["base"])
    volume = {"name": "tls", "secret": {"secretName": "isotherm-tls", "defaultMode": 0o440}}
    pod(objects)["spec"]["volumes"].append(volume)
    mount = {"name": "tls", "mountPath": "/tls", "readOnly": True}
    container(objects)["volumeMounts"].append(mount)
    return objects


# Each is well as it is.
SOUND = {
    **RENDERINGS,
    "first": _fetching(),
    "tls": _encrypted(),
    "hpa": _scaled("hpa/horizontalpodautoscaler.yaml"),
    "keda": _scaled("keda/scaledobject.yaml"),
    "gateway": [*RENDERINGS["cpu"], *resource("gateway/grpcroute.yaml")],
    "monitored": [*RENDERINGS["cpu"], *resource("monitoring/podmonitor.yaml")],
}


def security(field: str, value: Any) -> Change:
    """Another field of the container's security context."""
    return lambda objects: container(objects)["securityContext"].update({field: value})


def of_pod(field: str, value: Any) -> Change:
    """Another field of the pod."""
    return lambda objects: pod(objects)["spec"].update({field: value})


def of_container(field: str, value: Any) -> Change:
    """Another field of the server's container."""
    return lambda objects: container(objects).update({field: value})


def of_deployment(field: str, value: Any) -> Change:
    """Another field of the Deployment."""
    return spec("Deployment", lambda it: it.update({field: value}))


def annotation(name: str, value: str) -> Change:
    """Another annotation of the pod."""
    return lambda objects: pod(objects)["metadata"]["annotations"].update({name: value})


def variable(name: str, value: str) -> Change:
    """One variable more."""
    return lambda objects: container(objects)["env"].append({"name": name, "value": value})


def changed(name: str, value: Any) -> Change:
    """Another value of a variable."""

    def change(objects: Objects) -> None:
        (found,) = (each for each in container(objects)["env"] if each["name"] == name)
        found["value"] = value

    return change


def volume(source: Object) -> Change:
    """One volume more, mounted where the models are."""

    def change(objects: Objects) -> None:
        pod(objects)["spec"]["volumes"].append({"name": "extra", **source})
        mount = {"name": "extra", "mountPath": "/models", "readOnly": True}
        container(objects)["volumeMounts"].append(mount)

    return change


def first(change: Callable[[Object], object]) -> Change:
    """A change of the container that runs first."""

    def inner(objects: Objects) -> None:
        (found,) = pod(objects)["spec"]["initContainers"]
        change(found)

    return inner


def spec(kind: str, change: Callable[[Object], object]) -> Change:
    """A change of the one object of a kind."""
    return lambda objects: change(only(objects, kind)["spec"])


def service(change: Callable[[Object], object]) -> Change:
    """A change of the Service with an address."""
    return lambda objects: change(called(objects, "Service", "isotherm")["spec"])


def without(kind: str) -> Change:
    """Without the one object of a kind."""
    return lambda objects: objects.remove(only(objects, kind))
