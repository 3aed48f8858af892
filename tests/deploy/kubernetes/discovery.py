"""What the server tells clients of itself: the kinds that it keeps, and that it checks them."""

from __future__ import annotations

from tests.deploy.kubernetes.resources import RESOURCES
from tests.deploy.manifests import Object

OPENAPI = "/openapi/v3"


def document(path: str, version: str) -> Object | None:
    """The document of discovery at a path, if there is one."""
    major, minor = version.split(".")
    fixed: dict[str, Object] = {
        "/version": {"major": major, "minor": minor, "gitVersion": f"v{version}.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": _groups(),
        OPENAPI: _openapi(),
    }
    if path in fixed:
        return fixed[path]
    if path.startswith(OPENAPI):
        return _openapi_of(path.removeprefix(f"{OPENAPI}/"))
    return _listing(path.removeprefix("/"))


def _groups() -> Object:
    """The groups beside Kubernetes' core."""
    by_group: dict[str, list[Object]] = {}
    for group_version in dict.fromkeys(each.group_version for each in RESOURCES):
        group, _, version = group_version.rpartition("/")
        if group:
            entry = {"groupVersion": group_version, "version": version}
            by_group.setdefault(group, []).append(entry)
    listed = [
        {"name": group, "versions": entries, "preferredVersion": entries[0]}
        for group, entries in by_group.items()
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def _listing(root: str) -> Object | None:
    """The kinds of one group and version."""
    resources = [each for each in RESOURCES if each.root == root]
    if not resources:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": resources[0].group_version,
        "resources": [each.described() for each in resources],
    }


def _openapi() -> Object:
    """Where the descriptions of the groups are."""
    places = {each.root for each in RESOURCES}
    return {"paths": {each: {"serverRelativeURL": f"{OPENAPI}/{each}"} for each in places}}


def _openapi_of(root: str) -> Object | None:
    """That the server itself checks every field, which is all that clients ask it for."""
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {
        each.path: {
            "patch": {
                "parameters": [parameter],
                "responses": {},
                "x-kubernetes-group-version-kind": each.described_kind(),
            }
        }
        for each in RESOURCES
        if each.root == root
    }
    if not paths:
        return None
    return {"openapi": "3.0.0", "info": {"title": root, "version": "1"}, "paths": paths}
