"""values.yaml, its schema, its page and the server's flags say the same."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from deploy.helm.reference import PAGE, values, written

from isotherm.server import logs
from isotherm.server.__main__ import serve
from tests.deploy.chart.places import CHART, SETS, VALUES, schema, values_of
from tests.deploy.chart.refusals import WRONG
from tests.deploy.places import ROOT

# What the chart itself sets, from values of other names.
OWNED = {
    "drain-delay": "server.drainDelay",
    "grace": "server.grace",
    "grpc-port": "8001",
    "host": "server.host",
    "http-port": "rest",
    "max-connection-age": "server.maxConnectionAge",
    "metrics-port": "8002",
    "provider": "gpu",
    "tls-cert": "tls",
    "tls-key": "tls",
    "tracing-endpoint": "tracing",
    "workers": "server.workers",
}
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}


def _settings() -> dict[str, Any]:
    found: dict[str, Any] = schema()["properties"]["server"]["properties"]["settings"]
    return found


def _kind(annotation: Any) -> str | list[str]:
    """What the schema calls the type of a flag: its name, or the choices."""
    (kind, *_) = [each for each in get_args(annotation) if each is not type(None)] or [annotation]
    if get_origin(kind) is list or get_origin(annotation) is list:
        return "array"
    if issubclass(kind, Enum):
        return sorted(each.value for each in kind)
    return TYPES[kind]


def _form(node: dict[str, Any]) -> str | list[str]:
    """The same of a part of the schema."""
    if "$ref" in node:
        node = schema()["definitions"][node["$ref"].rpartition("/")[2]]
    return sorted(node["enum"]) if "enum" in node else node["type"]


def _nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part of the schema with its place in the file."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _nodes(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _nodes(value, f"{path}/{index}")


def test_schema_and_defaults_have_the_same_names():
    """A new value needs a place in both; `global` is Helm's."""

    def compare(properties: dict[str, Any], defaults: dict[str, Any]) -> None:
        assert properties.keys() - {"global"} == defaults.keys()
        for name, node in properties.items():
            if "properties" in node and name not in {"settings", "behavior", "affinity"}:
                compare(node["properties"], defaults[name])

    compare(schema()["properties"], values_of(VALUES))


def test_the_schema_is_closed_everywhere():
    """Whatever names properties refuses others; a volume alone may be of any kind."""
    objects = [(p, n) for p, n in _nodes(schema()) if n.get("type") == "object"]
    # Selectors, sources of variables and volumes: Kubernetes' API checks what is in them.
    opened = {
        path
        for path, node in objects
        if node.get("additionalProperties") is not False
        and not isinstance(node.get("additionalProperties"), dict)
    }
    affinities = {
        f"/properties/affinity/properties/{n}Affinity" for n in ("node", "pod", "podAnti")
    }
    sources = "/properties/server/properties/env/items/properties/valueFrom/properties"
    kinds = ("configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef")
    peers = "/definitions/peers/items/properties"

    assert len(objects) > 40
    assert opened == {
        "/properties/global",
        *affinities,
        *(f"{sources}/{kind}" for kind in kinds),
        f"{peers}/namespaceSelector",
        f"{peers}/podSelector",
        "/properties/volumes/items/additionalProperties",
    }


def test_every_default_is_required():
    """So that null, which removes a value in Helm, is refused by name."""
    root = schema()
    optional = {
        path
        for path, node in _nodes(root["properties"])
        if node.get("type") == "object"
        and set(node.get("properties", {})) - set(node.get("required", []))
    }

    assert set(root["properties"]) - set(root["required"]) == {"global"}
    # Where everything may be left out: there are no defaults, or they are Kubernetes' own.
    assert {path.removeprefix("/").replace("/properties", "") for path in optional} == {
        "affinity",
        "autoscaling/behavior",
        "gateway/parentRefs/items",
        "server/env/items",
        "server/env/items/valueFrom",
        "server/settings",
        "volumeMounts/items",
    }


def test_the_settings_are_the_flags_of_the_server():
    """By name, type and choices: a flag more, or one renamed, is missed here."""
    flags = {name.replace("_", "-"): kind for name, kind in get_type_hints(serve).items()}
    settings = _settings()["properties"]

    assert OWNED.keys() <= flags.keys()
    assert settings.keys() == flags.keys() - OWNED.keys() - {"repository", "return"}
    assert {name: _kind(flags[name]) for name in settings} == {
        name: "string" if name == "log-level" else _form(node) for name, node in settings.items()
    }


def test_the_levels_of_the_log_are_the_servers():
    """Its flag takes any text, and then says what it expected."""
    assert _settings()["properties"]["log-level"]["enum"] == list(logs.LEVELS)


def test_the_chart_installs_the_version_of_this_tree():
    """The image's tag is the appVersion unless another is given."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == values_of(CHART / "Chart.yaml")["appVersion"]


def test_each_set_of_values_exists():
    """The three overlays, all at once, and the other autoscaler."""
    assert SETS.keys() == {"cpu", "dev", "everything", "gpu", "keda"}


def test_the_page_has_the_table_of_the_values():
    """Written anew by `python -m deploy.helm.reference`."""
    page = PAGE.read_text()

    assert page == written(page, VALUES.read_text())


def test_every_value_is_described():
    """Each, or what it is a part of."""
    described = {value.path for value in values(VALUES.read_text())}

    def leaves(node: Any, path: str) -> Iterator[str]:
        if path in described:
            return
        if not isinstance(node, dict) or not node:
            yield path
            return
        for name, value in node.items():
            yield from leaves(value, f"{path}.{name}".lstrip("."))

    assert list(leaves(values_of(VALUES), "")) == []
    assert all(
        value.description[0].isupper() or value.description[0] == "`"
        for value in values(VALUES.read_text())
    )


@pytest.mark.parametrize("part", sorted(schema()["properties"].keys() - {"global"}))
def test_each_part_of_the_values_has_a_refusal(part):
    """The control of the controls: the schema has no part without a case that it refuses."""
    assert any(path.split(".")[0] == part for path, *_ in WRONG)
