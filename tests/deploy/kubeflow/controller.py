"""What Kubeflow Trainer makes of a TrainJob for `torch-distributed`, as its sources say (2.3).

The runtime is a JobSet with one job, `node`, whose container of that name gets the trainer's image,
command, environment and resources, and torchrun's settings as PET_* variables. `runtimePatches` are
merged into its pod.
"""

from __future__ import annotations

from typing import Any, Final

from tests.deploy.kubernetes.merging import strategically_merged
from tests.deploy.manifests import Object

RUNTIME: Final = "torch-distributed"
CONTAINER: Final = "node"
PORT: Final = 29500
# What a job may not set by itself.
RESERVED: Final = {
    *("PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_NNODES", "PET_NODE_RANK", "PET_NPROC_PER_NODE"),
}
# The label by which JobSet's pods are known.
LABEL: Final = "jobset.sigs.k8s.io/jobset-name"


def pod(job: Object, node: int) -> Object:
    """Return metadata and spec of the pod of a node, 0 the first."""
    assert job["spec"]["runtimeRef"]["name"] == RUNTIME, "another runtime has another pod"
    name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
    spec: Object = {"containers": [_container(name, trainer, node)]}
    for patch in job["spec"].get("runtimePatches", ()):
        spec = strategically_merged(spec, _of_node(patch))
    return {"metadata": {"labels": {LABEL: name}}, "spec": spec}


def _container(job: str, trainer: Object, node: int) -> Object:
    own: Object = {
        field: trainer[field] for field in ("image", "command", "args") if field in trainer
    }
    return {
        "name": CONTAINER,
        **own,
        "resources": trainer["resourcesPerNode"],
        "env": [*trainer.get("env", ()), *_variables(job, trainer, node)],
        "ports": [{"containerPort": PORT}],
    }


def _variables(job: str, trainer: Object, node: int) -> list[Object]:
    values = {
        "PET_NNODES": trainer["numNodes"],
        "PET_NPROC_PER_NODE": trainer["numProcPerNode"],
        "PET_NODE_RANK": node,
        # The first pod, by the headless Service of the JobSet.
        "PET_MASTER_ADDR": f"{job}-node-0-0.{job}",
        "PET_MASTER_PORT": PORT,
    }
    return [{"name": name, "value": str(value)} for name, value in values.items()]


def _of_node(patch: Object) -> Object:
    jobs = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    (node,) = (each for each in jobs if each["name"] == "node")
    found: Any = node["template"]["spec"]["template"]["spec"]
    return dict(found)
