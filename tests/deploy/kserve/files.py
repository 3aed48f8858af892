"""The files of deploy/kserve."""

from __future__ import annotations

from typing import Final

from tests.deploy.manifests import Object, Objects, called, of_kind, read
from tests.deploy.places import DEPLOY

KSERVE: Final = DEPLOY / "kserve"
RUNTIMES: Final = KSERVE / "runtimes"
NAMESPACED: Final = KSERVE / "namespaced"
EXAMPLES: Final = sorted((KSERVE / "examples").glob("*.yaml"))
FILES: Final = [
    *sorted(RUNTIMES.glob("cluster*.yaml")),
    *sorted(KSERVE.glob("*.yaml")),
    *EXAMPLES,
]


def runtimes() -> Objects:
    """Return the cluster's runtimes."""
    return [each for file in sorted(RUNTIMES.glob("cluster*.yaml")) for each in read(file)]


def runtime_of(service: Object) -> Object:
    """Return the runtime that a service names."""
    name = service["spec"]["predictor"]["model"]["runtime"]
    return called(runtimes(), "ClusterServingRuntime", name)


def example(name: str) -> Object:
    """Return the one service of an example."""
    (service,) = of_kind(read(KSERVE / "examples" / f"{name}.yaml"), "InferenceService")
    return service
