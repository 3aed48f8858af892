"""The objects that a cluster has, and what may be done to them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tests.deploy.kubernetes import merging
from tests.deploy.kubernetes.resources import NAMESPACES, Resource
from tests.deploy.kubernetes.validation import InvalidError, check
from tests.deploy.manifests import Object

JSON_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
# What the server itself writes into an object.
OWN_FIELDS: Final = ("uid", "creationTimestamp", "resourceVersion", "generation")


class RefusedError(Exception):
    """A request that is answered with a status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Place(NamedTuple):
    """Where an object is, or will be."""

    resource: Resource
    namespace: str
    name: str

    def missing(self) -> RefusedError:
        """The answer when there is nothing."""
        return RefusedError(404, "NotFound", f'{self.resource.qualified} "{self.name}" not found')


class Event(NamedTuple):
    """What has happened to an object: ADDED, MODIFIED or DELETED."""

    version: int
    kind: str
    place: Place
    node: Object


class Store:
    """Objects by their place. Nothing is kept that is not valid."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._objects: dict[Place, Object] = {}
        # What each manager has applied from the server's side.
        self._applied: dict[tuple[Place, str], Object] = {}
        self._events: list[Event] = []
        self._changes = 0
        self._closed = False

    @property
    def changes(self) -> int:
        """How many there were: the version of the whole."""
        return self._changes

    def snapshot(self, resource: Resource, namespace: str) -> tuple[int, list[Object]]:
        """The version of the whole, and what was there: who watches from it misses nothing."""
        with self._lock:
            return self._changes, self.all(resource, namespace)

    def get(self, place: Place) -> Object:
        """One object."""
        with self._lock:
            if place not in self._objects:
                raise place.missing()
            return deepcopy(self._objects[place])

    def all(self, resource: Resource | None = None, namespace: str = "") -> list[Object]:
        """The objects, all or of one kind, everywhere or in one namespace."""
        with self._lock:
            return [
                deepcopy(node)
                for place, node in self._objects.items()
                if resource in {None, place.resource} and namespace in {"", place.namespace}
            ]

    def events(self, resource: Resource, namespace: str, since: int) -> Iterator[Event]:
        """What happens to the objects of a kind after a version, until the store is closed."""
        seen = 0
        while not self._closed:
            fresh = self._fresh(seen)
            seen += len(fresh)
            for event in fresh:
                here = resource == event.place.resource and namespace in {"", event.place.namespace}
                if here and event.version > since:
                    yield event

    def _fresh(self, seen: int) -> list[Event]:
        """Wait until there are more events than were seen; return those."""
        with self._lock:
            self._changed.wait_for(lambda: self._closed or len(self._events) > seen)
            return self._events[seen:]

    def close(self) -> None:
        """End all that is watched."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def create(self, place: Place, node: Object, *, dry: bool) -> Object:
        """Add an object."""
        with self._lock:
            if place in self._objects:
                message = f'{place.resource.qualified} "{place.name}" already exists'
                raise RefusedError(409, "AlreadyExists", message)
            return self._keep(place, node, dry=dry)

    def replace(self, place: Place, node: Object, *, dry: bool) -> Object:
        """Put an object in the place of another."""
        with self._lock:
            self.get(place)
            return self._keep(place, node, dry=dry)

    def patch(
        self, place: Place, patch: Object, form: str, *, manager: str = "", dry: bool
    ) -> Object:
        """Change an object; applying one that is not there creates it."""
        with self._lock:
            if form == APPLY_PATCH:
                before = self._applied.get((place, manager), {})
                changed = merging.applied(self._objects.get(place, {}), before, patch)
            elif form == STRATEGIC_PATCH:
                changed = merging.strategically_merged(self.get(place), patch)
            elif form == JSON_PATCH:
                changed = merging.merged(self.get(place), patch)
            else:
                raise RefusedError(415, "UnsupportedMediaType", f"no patch is of the type {form}")
            kept = self._keep(place, changed, dry=dry)
            if form == APPLY_PATCH and not dry:
                self._applied[place, manager] = deepcopy(patch)
            return kept

    def delete(self, place: Place, *, dry: bool) -> Object:
        """Remove an object at once, whatever belongs to it."""
        with self._lock:
            node = self.get(place)
            if not dry:
                del self._objects[place]
                self._changes += 1
                self._tell("DELETED", place, node)
                self._applied = {key: v for key, v in self._applied.items() if key[0] != place}
            return node

    def _keep(self, place: Place, node: Object, *, dry: bool) -> Object:
        self._refuse(place, node)
        old = self._objects.get(place)
        new = deepcopy(node)
        metadata = new["metadata"]
        if place.resource.namespaced:
            metadata["namespace"] = place.namespace
        for field in OWN_FIELDS:
            metadata.pop(field, None)
        if old is not None:
            metadata |= {field: old["metadata"][field] for field in OWN_FIELDS}
            if new == old:
                return new
        else:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now, "generation": 0}
        self._changes += 1
        metadata["resourceVersion"] = str(self._changes)
        if old is None or new.get("spec") != old.get("spec"):
            metadata["generation"] += 1
        if not dry:
            self._objects[place] = deepcopy(new)
            self._tell("ADDED" if old is None else "MODIFIED", place, new)
        return new

    def _tell(self, kind: str, place: Place, node: Object) -> None:
        self._events.append(Event(self._changes, kind, place, deepcopy(node)))
        self._changed.notify_all()

    def _refuse(self, place: Place, node: Object) -> None:
        """Raise for an object that a cluster would not take."""
        home = Place(NAMESPACES, "", place.namespace)
        if place.resource.namespaced and home not in self._objects:
            raise home.missing()
        try:
            check(node, self._version)
        except InvalidError as error:
            message = f'{place.resource.kind} "{place.name}" is invalid: {error}'
            raise RefusedError(422, "Invalid", message) from error
