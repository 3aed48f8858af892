"""Patches of every kind that clients send, applied to an object.

Lists of named things (containers, variables, volumes) are merged element by element, as Kubernetes
does; every other list is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Final

from tests.deploy.manifests import Object

# By which field the elements of a list are told apart; the first one that they have.
KEYS: Final[dict[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ports": ("containerPort", "port"),
    "topologySpreadConstraints": ("topologyKey",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}


def merged(live: Any, patch: Any) -> Any:
    """The result of a JSON merge patch (RFC 7386): null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(live) if isinstance(live, dict) else {}
    for field, value in patch.items():
        if value is None:
            result.pop(field, None)
        else:
            result[field] = merged(result.get(field), value)
    return result


def strategically_merged(live: Object, patch: Object) -> Object:
    """The result of a strategic merge patch, with the directives that kubectl writes."""
    return _merged_object(live, patch, applying=False)


def applied(live: Object, before: Object, wanted: Object) -> Object:
    """The result of a server-side apply by a manager that has applied `before`, if anything."""
    return _merged_object(_without(live, before, wanted, ""), wanted, applying=True)


def _merged_object(live: Any, patch: Object, *, applying: bool) -> Object:
    if patch.get("$patch") == "replace":
        return {key: deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = dict(live) if isinstance(live, dict) else {}
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for field, value in patch.items():
        if field.startswith("$"):
            continue
        if value is None:
            result.pop(field, None)
        elif isinstance(value, dict):
            result[field] = _merged_object(result.get(field), value, applying=applying)
        elif (key := _key(field, value)) is not None:
            elements = _merged_elements(result.get(field), value, key, applying=applying)
            order = value if applying else patch.get(f"$setElementOrder/{field}", ())
            result[field] = _ordered(elements, key, order)
        else:
            result[field] = deepcopy(value)
    return result


def _merged_elements(live: Any, patch: list[Object], key: str, *, applying: bool) -> list[Object]:
    elements = {each[key]: each for each in live or ()}
    for each in patch:
        if each.get("$patch") == "delete":
            elements.pop(each[key], None)
        else:
            merged_one = _merged_object(elements.get(each[key]), each, applying=applying)
            elements[each[key]] = merged_one
    return list(elements.values())


def _ordered(elements: list[Object], key: str, order: Iterable[Object]) -> list[Object]:
    """The elements as they are asked to stand; those that nobody asked for at the end."""
    rank = {each[key]: index for index, each in enumerate(order)}
    return sorted(elements, key=lambda each: rank.get(each[key], len(rank)))


def _without(live: Any, before: Any, wanted: Any, field: str) -> Any:
    """What is live, less what was applied and is wanted no longer."""
    if isinstance(live, dict) and isinstance(before, dict):
        kept = {}
        for name, value in live.items():
            if name not in before:
                kept[name] = value
            elif isinstance(wanted, dict) and name in wanted:
                kept[name] = _without(value, before[name], wanted[name], name)
            elif isinstance(value, dict) and value.keys() - before[name].keys():
                kept[name] = _without(value, before[name], {}, name)
        return kept
    key = _key(field, live)
    if key is not None and isinstance(before, list):
        gone = {each[key] for each in before} - {each[key] for each in wanted}
        old = {each[key]: each for each in before}
        new = {each[key]: each for each in wanted}
        return [
            _without(each, old.get(each[key], {}), new.get(each[key], {}), "")
            for each in live
            if each[key] not in gone
        ]
    return live


def _key(field: str, elements: Any) -> str | None:
    for key in KEYS.get(field, ()):
        if isinstance(elements, list) and all(isinstance(e, dict) and key in e for e in elements):
            return key
    return None
