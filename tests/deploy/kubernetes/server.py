"""The API over HTTP on loopback: discovery, and what can be done to objects.

Beside the schemas nothing is done to an object: no defaults, no admission, no controllers. So a
Deployment has no pods here.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.deploy.kubernetes import protobuf, resources
from tests.deploy.kubernetes.discovery import document
from tests.deploy.kubernetes.resources import Resource
from tests.deploy.kubernetes.store import Place, RefusedError, Store
from tests.deploy.manifests import Object

PATH: Final = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<named>[^/]+/[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?(?:/(?P<plural>[^/]+))?(?:/(?P<name>[^/]+))?"
)


class Request(NamedTuple):
    """What a client has asked."""

    method: str
    path: str
    dry: bool


@dataclass(frozen=True)
class Cluster:
    """A running API server: its objects, what it was asked, and how to reach it."""

    url: str
    version: str
    store: Store
    requests: list[Request] = field(default_factory=list)

    def objects(self, namespace: str) -> dict[tuple[str, str], Object]:
        """The objects of a namespace by kind and name."""
        found = self.store.all(namespace=namespace)
        return {(each["kind"], each["metadata"]["name"]): each for each in found}

    def changes(self) -> list[Request]:
        """The requests that were to change something, dry or not."""
        return [each for each in self.requests if each.method != "GET"]

    def add(self, namespace: str, kind: str, name: str, **content: Any) -> None:
        """Add an object, as somebody else would."""
        (resource,) = (each for each in resources.RESOURCES if each.kind == kind)
        node = {"apiVersion": resource.group_version, "kind": kind, "metadata": {"name": name}}
        self.store.create(Place(resource, namespace, name), node | content, dry=False)

    def write_kubeconfig(self, path: Path) -> Path:
        """Write how clients reach it; return the path."""
        here = {"name": "here"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [here | {"cluster": {"server": self.url}}],
            "users": [here | {"user": {}}],
            "contexts": [here | {"context": {"cluster": "here", "user": "here"}}],
            "current-context": "here",
        }
        path.write_text(yaml.safe_dump(config))
        return path


@contextmanager
def cluster(version: str = "1.32") -> Iterator[Cluster]:
    """Run an API server of this version of Kubernetes, with the namespace `default`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    served = Cluster(f"http://127.0.0.1:{server.server_port}", version, Store(version))
    served.add("", "Namespace", "default")
    server.cluster = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield served
    finally:
        served.store.close()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One request: to discovery, or to the objects."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # A client that keeps its connection open must not hold up the end.
    timeout: ClassVar[float] = 30

    def do_GET(self) -> None:
        self._answer(self._watch if "watch=true" in self.path else self._read)

    def do_POST(self) -> None:
        self._answer(self._create)

    def do_PUT(self) -> None:
        self._answer(self._replace)

    def do_PATCH(self) -> None:
        self._answer(self._patch)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def log_message(self, *_: Any) -> None:
        """Say nothing: `Cluster.requests` has them."""

    @property
    def _cluster(self) -> Cluster:
        served: Cluster = self.server.cluster  # type: ignore[attr-defined]
        return served

    def _answer(self, action: Callable[[], Object | None]) -> None:
        url = urlsplit(self.path)
        self._path = url.path.rstrip("/")
        self._query = parse_qs(url.query)
        self._dry = "All" in self._query.get("dryRun", [])
        # Read in any case: what is left would be taken for the next request.
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._cluster.requests.append(Request(self.command, self._path, self._dry))
        try:
            code, node = (201 if self.command == "POST" else 200), action()
        except RefusedError as error:
            code = error.code
            node = {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "reason": error.reason,
                "message": str(error),
                "code": error.code,
            }
        if node is None:
            return
        content = json.dumps(node).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _read(self) -> Object:
        found = document(self._path, self._cluster.version)
        if found is not None:
            return found
        place = self._place()
        if place.name:
            return self._cluster.store.get(place)
        return self._listed(place.resource, place.namespace)

    def _listed(self, resource: Resource, namespace: str) -> Object:
        version, found = self._cluster.store.snapshot(resource, namespace)
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.group_version,
            "metadata": {"resourceVersion": str(version)},
            "items": [each for each in found if self._selected(each)],
        }

    def _watch(self) -> None:
        """Tell what happens, one line each, for as long as the client listens."""
        place = self._place()
        if "sendInitialEvents" in self._query:
            raise RefusedError(422, "Invalid", "lists are not streamed here: list, then watch")
        (since,) = self._query.get("resourceVersion", ["0"])
        # However long it is quiet.
        self.connection.settimeout(None)
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        with suppress(OSError):
            for event in self._cluster.store.events(place.resource, place.namespace, int(since)):
                if self._selected(event.node):
                    line = json.dumps({"type": event.kind, "object": event.node})
                    self.wfile.write(f"{line}\n".encode())

    def _selected(self, node: Object) -> bool:
        """Whether the query's selectors, of the form a=b,c=d, take an object."""
        metadata = node["metadata"]
        labels = metadata.get("labels", {})
        fields = {f"metadata.{name}": metadata.get(name) for name in ("name", "namespace")}
        asked = (("labelSelector", labels), ("fieldSelector", fields))
        for parameter, values in asked:
            for part in filter(None, ",".join(self._query.get(parameter, [])).split(",")):
                name, sign, value = part.replace("==", "=").partition("=")
                if not sign or name.endswith("!"):
                    raise RefusedError(400, "BadRequest", f"the selector {part} is not known here")
                if values.get(name) != value:
                    return False
        return True

    def _create(self) -> Object:
        node = self._node()
        place = self._place()._replace(name=node["metadata"]["name"])
        return self._cluster.store.create(place, node, dry=self._dry)

    def _replace(self) -> Object:
        return self._cluster.store.replace(self._place(), self._node(), dry=self._dry)

    def _patch(self) -> Object:
        (manager,) = self._query.get("fieldManager", [""])
        form = self.headers.get_content_type()
        return self._cluster.store.patch(
            self._place(), self._node(), form, manager=manager, dry=self._dry
        )

    def _delete(self) -> Object:
        self._cluster.store.delete(self._place(), dry=self._dry)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _place(self) -> Place:
        match = PATH.fullmatch(self._path)
        if match and match["plural"]:
            resource = resources.found(match["core"] or match["named"], match["plural"])
            if resource:
                return Place(resource, match["namespace"] or "", match["name"] or "")
        raise RefusedError(404, "NotFound", f"there is nothing at {self._path}")

    def _node(self) -> Object:
        """The body, in one of the forms that are read here."""
        form = self.headers.get_content_type()
        if form.endswith("json"):
            node = json.loads(self._body)
        elif form.endswith("yaml"):
            node = yaml.safe_load(self._body)
        elif form == protobuf.FORM:
            node = self._secret()
        else:
            raise RefusedError(415, "UnsupportedMediaType", f"{form} is not read here: send JSON")
        if not isinstance(node, dict):
            raise RefusedError(400, "BadRequest", "the body is not an object")
        return node

    def _secret(self) -> Object:
        try:
            return protobuf.secret(self._body)
        except ValueError as error:
            raise RefusedError(415, "UnsupportedMediaType", str(error)) from error
