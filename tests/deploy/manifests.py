"""Reading manifests: the objects of a rendering, and the parts of them that tests ask for."""

from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]


def objects(rendering: Path) -> list[Object]:
    """All objects of a rendering."""
    return list(yaml.safe_load_all(rendering.read_text()))


def only(rendering: Path, kind: str) -> Object:
    """The one object of its kind."""
    (found,) = (each for each in objects(rendering) if each["kind"] == kind)
    return found


def pod(rendering: Path) -> Object:
    """The pod template of the one Deployment."""
    template: Object = only(rendering, "Deployment")["spec"]["template"]
    return template


def container(rendering: Path) -> Object:
    """The server's container: the only one of the pod."""
    found: Object
    (found,) = pod(rendering)["spec"]["containers"]
    return found


def flag(rendering: Path, name: str) -> float:
    """The number that the container's arguments give to a flag."""
    args = container(rendering)["args"]
    return float(args[args.index(name) + 1])
