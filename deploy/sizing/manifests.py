"""What the manifests give a replica, and what the server's own defaults allow it to take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from isotherm.server.config import BatchingConfig

KUSTOMIZE: Final = Path(__file__).parents[1] / "kustomize"


@dataclass(frozen=True, slots=True)
class Replica:
    """A pod of the base, and how the autoscaler loads it."""

    workers: int
    cores: int
    memory_mib: int
    replicas: int
    # Of the processor, in percent, from which there are to be more.
    cpu_target: int
    # Waiting rows of a pod, likewise.
    rows_target: int


def replica() -> Replica:
    """Read the base and the component `hpa`."""
    spec = _read("base/deployment.yaml")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    metrics = _read("components/hpa/horizontalpodautoscaler.yaml")["spec"]["metrics"]
    targets = {metric["type"]: metric[metric["type"].lower()]["target"] for metric in metrics}
    return Replica(
        workers=int(environment["ISOTHERM_WORKERS"]),
        cores=int(container["resources"]["requests"]["cpu"]),
        memory_mib=_mib(container["resources"]["limits"]["memory"]),
        replicas=spec["replicas"],
        cpu_target=targets["Resource"]["averageUtilization"],
        rows_target=int(targets["Pods"]["averageValue"]),
    )


def queue_mib() -> int:
    """Return how much one model's waiting requests may take in a worker before it refuses more."""
    return BatchingConfig().max_queue_bytes >> 20


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((KUSTOMIZE / name).read_text(encoding="utf-8"))
    return document


def _mib(quantity: str) -> int:
    factors = {"Mi": 1, "Gi": 1024}
    return int(quantity[:-2]) * factors[quantity[-2:]]
