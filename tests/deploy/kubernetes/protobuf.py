"""Secrets as Helm sends its releases: in Kubernetes' own envelope around protobuf."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.deploy.manifests import Object

FORM: Final = "application/vnd.kubernetes.protobuf"
# Before the message, which is an Unknown.
MAGIC: Final = b"k8s\x00"

# Of each message the fields that Helm uses: their numbers and types. A map is a list of entries.
_MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "TypeMeta": {"apiVersion": (1, "string"), "kind": (2, "string")},
    "Unknown": {"typeMeta": (1, "TypeMeta"), "raw": (2, "bytes")},
    "Entry": {"key": (1, "string"), "value": (2, "bytes")},
    "ObjectMeta": {"name": (1, "string"), "namespace": (3, "string"), "labels": (11, "Entry*")},
    "Secret": {"metadata": (1, "ObjectMeta"), "data": (2, "Entry*"), "type": (3, "string")},
}
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {"string": _Field.TYPE_STRING, "bytes": _Field.TYPE_BYTES}


def secret(body: bytes) -> Object:
    """Return a Secret as JSON would have it; raise ValueError for anything else."""
    envelope = _parsed("Unknown", body.removeprefix(MAGIC))
    if not body.startswith(MAGIC) or envelope.typeMeta.kind != "Secret":
        msg = f"of protobuf only a Secret is read here, not a {envelope.typeMeta.kind}: send JSON"
        raise ValueError(msg)
    found = _parsed("Secret", envelope.raw)
    data = {key: base64.b64encode(value).decode() for key, value in _map(found.data)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": found.metadata.name,
            "labels": {key: value.decode() for key, value in _map(found.metadata.labels)},
        },
        "type": found.type,
        "data": data,
    }


def _map(entries: Iterable[Any]) -> list[tuple[str, bytes]]:
    return [(entry.key, entry.value) for entry in entries]


def _parsed(name: str, body: bytes) -> Any:
    message = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"k8s.{name}"))()
    message.ParseFromString(body)
    return message


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="k8s.proto", package="k8s", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number, label=_Field.LABEL_OPTIONAL)
            if kind.endswith("*"):
                added.label = _Field.LABEL_REPEATED
            if kind in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type = _Field.TYPE_MESSAGE
                added.type_name = f".k8s.{kind.removesuffix('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL: Final = _pool()
