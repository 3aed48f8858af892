"""Protobuf messages as JSON objects, as Triton writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message


def to_object(message: Message) -> dict[str, Any]:
    """Return a message's fields by name; numbers stay numbers, and enums are their names.

    A field that may be absent is left out when it is; all others are there, also empty ones.
    """
    return {
        field.name: _value(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _value(field: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _single(field, item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_single(field, item) for item in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if isinstance(value, Message):
        return to_object(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value
