"""Whether an object is valid: strictly, against the schemas of Kubernetes and of its operators."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import jsonschema
import kubernetes_validate

from tests.deploy.manifests import Object
from tests.deploy.places import SCHEMAS

# What Kubernetes demands of names and labels is not in its schemas.
LABEL: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
SUBDOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
# A Service's name becomes one label of a DNS name.
DNS_LABEL: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


class InvalidError(ValueError):
    """An object that a cluster would refuse, or that says something nobody reads."""


def check(node: Object, version: str) -> None:
    """Raise InvalidError for an object that this version of Kubernetes would refuse."""
    for fault in _faults(node, version):
        raise InvalidError(fault)


def _faults(node: Object, version: str) -> Iterator[str]:
    yield from _naming_faults(node)
    try:
        kubernetes_validate.validate(node, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        yield from _operator_faults(node)
    except kubernetes_validate.ValidationError as error:
        yield f"{_place(error.path)}: {error.message.splitlines()[0]}"


def _naming_faults(node: Object) -> Iterator[str]:
    metadata = node["metadata"]
    form = DNS_LABEL if node["kind"] == "Service" else SUBDOMAIN
    if not form.fullmatch(metadata["name"]):
        yield f"metadata.name: '{metadata['name']}' does not match {form.pattern}"
    for key, value in metadata.get("labels", {}).items():
        if not isinstance(value, str) or not LABEL.fullmatch(value):
            yield f"metadata.labels.{key}: {value!r} does not match {LABEL.pattern}"


def _operator_faults(node: Object) -> Iterator[str]:
    for error in _validator(node["apiVersion"], node["kind"]).iter_errors(node):
        yield f"{_place(error.absolute_path)}: {error.message}"


@cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft7Validator:
    file = SCHEMAS / f"{kind.lower()}_{api_version.rpartition('/')[2]}.json"
    if not file.exists():
        msg = f"kind: there is no schema of {kind} in {api_version}: {file.name}"
        raise InvalidError(msg)
    # Go's patterns may have their flags after the anchor.
    text = file.read_text().replace("^(?i)", "(?i)^")
    return jsonschema.Draft7Validator(_closed(json.loads(text)))


def _closed(node: Any) -> Any:
    """The schema that refuses fields it does not name."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    named = isinstance(node.get("properties"), dict) and node.get("type") == "object"
    # `metadata` is Kubernetes' own, and these schemas leave it empty.
    opened = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if named and node["properties"] and not opened:
        closed["additionalProperties"] = False
    return closed


def _place(path: Any) -> str:
    return ".".join(map(str, path)) or "the object"
