"""Reading manifests: the objects of a rendering, and the parts of them that tests ask for."""

from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
Objects = list[Object]


def parsed(text: str) -> Objects:
    """All objects of a rendering."""
    # The dashboards are large, and libyaml is ten times faster.
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each is not None]


def read(rendering: Path) -> Objects:
    """All objects of a file."""
    return parsed(rendering.read_text())


def of_kind(objects: Objects, *kinds: str) -> Objects:
    """The objects of some kinds."""
    return [each for each in objects if each["kind"] in kinds]


def only(objects: Objects, kind: str) -> Object:
    """The one object of its kind."""
    (found,) = of_kind(objects, kind)
    return found


def called(objects: Objects, kind: str, name: str) -> Object:
    """The object of a kind and a name."""
    (found,) = (each for each in of_kind(objects, kind) if each["metadata"]["name"] == name)
    return found


def pod(objects: Objects) -> Object:
    """The pod template of the one Deployment."""
    template: Object = only(objects, "Deployment")["spec"]["template"]
    return template


def container(objects: Objects) -> Object:
    """The server's container: the only one of the pod that is no init container."""
    found: Object
    (found,) = pod(objects)["spec"]["containers"]
    return found


def settings(container: Object) -> dict[str, str]:
    """The variables of a container that have a value."""
    return {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}


def setting(objects: Objects, name: str) -> str:
    """What the server's container sets a variable to."""
    return settings(container(objects))[name]
