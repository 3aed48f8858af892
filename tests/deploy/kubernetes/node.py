"""The part of a cluster that runs pods: here, whatever a test does in their place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.deploy.kubernetes import resources
from tests.deploy.kubernetes.server import Cluster
from tests.deploy.kubernetes.store import JSON_PATCH
from tests.deploy.manifests import Object


@contextmanager
def running(api: Cluster, run: Callable[[Object], int]) -> Iterator[None]:
    """Run each new pod with `run`, which returns its exit status, until the cluster is closed."""
    # From now on: the thread may begin later than the pod.
    arguments = (api, run, api.store.changes)
    thread = threading.Thread(target=_work, args=arguments, name="node", daemon=True)
    thread.start()
    yield


def _work(api: Cluster, run: Callable[[Object], int], since: int) -> None:
    pods = resources.found("v1", "pods")
    assert pods is not None
    for event in api.store.events(pods, "", since):
        if event.kind == "ADDED":
            phase = "Failed" if run(event.node) else "Succeeded"
            api.store.patch(event.place, {"status": {"phase": phase}}, JSON_PATCH, dry=False)
