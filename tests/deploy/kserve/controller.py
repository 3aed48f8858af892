"""What KServe's controller makes of a runtime and a service, as its sources say (0.20).

The container is a strategic merge of both, but arguments are appended. Of the runtime's pod only a
few fields go in. `{{.Name}}` is the service's. `runtimeVersion` is the image's tag. The files of
`storageUri` lie at /mnt/models.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from tests.deploy.kubernetes.merging import strategically_merged
from tests.deploy.manifests import Object

CONTAINER: Final = "kserve-container"
MODELS: Final = "/mnt/models"
# Kubernetes' own, where the service does not say otherwise.
GRACE_PERIOD_S: Final = 30
OF_RUNTIME: Final = ("affinity", "imagePullSecrets", "nodeSelector", "tolerations", "volumes")
# Fields of a service's `model` that are KServe's and not the container's.
OF_MODEL: Final = (
    *("modelFormat", "protocolVersion", "runtime", "runtimeVersion", "storage", "storageUri"),
)
# Fields of a predictor that are KServe's and not the pod's.
OF_PREDICTOR: Final = (
    *("autoScaling", "batcher", "canaryTrafficPercent", "containerConcurrency", "logger"),
    *("maxReplicas", "minReplicas", "model", "scaleMetric", "scaleTarget", "timeout"),
)

_PLACEHOLDER: Final = re.compile(r"\{\{\s*\.(\w+)(?:\.([\w-]+))?\s*\}\}")


class MismatchError(ValueError):
    """A service that this runtime is not for."""


def pod(runtime: Object, service: Object) -> Object:
    """Return metadata and spec of the pods of a service."""
    predictor = service["spec"]["predictor"]
    model = predictor["model"]
    _check(runtime, service)
    spec = {field: runtime["spec"][field] for field in OF_RUNTIME if field in runtime["spec"]}
    own = {field: value for field, value in predictor.items() if field not in OF_PREDICTOR}
    spec = strategically_merged(spec, own)
    spec.setdefault("terminationGracePeriodSeconds", GRACE_PERIOD_S)
    spec["containers"] = [_container(runtime, service)]
    spec.setdefault("volumes", []).append({"name": "models", **_storage(model["storageUri"])})
    return {
        "metadata": {
            "labels": {
                **runtime["spec"].get("labels", {}),
                "component": "predictor",
                "serving.kserve.io/inferenceservice": service["metadata"]["name"],
            },
            "annotations": runtime["spec"].get("annotations", {}),
        },
        "spec": spec,
    }


def service_of(runtime: Object, service: Object) -> Object:
    """Return the Service in front of the pods, in Standard mode."""
    (first, *others) = _container(runtime, service)["ports"]
    return {
        "name": f"{service['metadata']['name']}-predictor",
        "ports": [
            {"name": first["name"], "port": 80, "targetPort": first["containerPort"]},
            *(
                {"name": p["name"], "port": p["containerPort"], "targetPort": p["containerPort"]}
                for p in others
            ),
        ],
    }


def _check(runtime: Object, service: Object) -> None:
    model = service["spec"]["predictor"]["model"]
    name, spec = runtime["metadata"]["name"], runtime["spec"]
    if model["runtime"] != name:
        msg = f"the service asks for the runtime {model['runtime']}, this is {name}"
        raise MismatchError(msg)
    if model["protocolVersion"] not in spec["protocolVersions"]:
        msg = f"{name} does not support the protocol {model['protocolVersion']}"
        raise MismatchError(msg)
    formats = [each["name"] for each in spec["supportedModelFormats"]]
    if model["modelFormat"]["name"] not in formats:
        msg = f"{name} does not support models of the format {model['modelFormat']['name']}"
        raise MismatchError(msg)


def _container(runtime: Object, service: Object) -> Object:
    (given,) = (each for each in runtime["spec"]["containers"] if each["name"] == CONTAINER)
    model = service["spec"]["predictor"]["model"]
    own = {field: value for field, value in model.items() if field not in OF_MODEL}
    merged = strategically_merged(given, own)
    merged["args"] = [*given.get("args", ()), *own.get("args", ())]
    merged = _filled(merged, service["metadata"])
    if "runtimeVersion" in model:
        merged["image"] = re.sub(
            r"(:[\w.-]*)?$", f":{model['runtimeVersion']}", merged["image"], count=1
        )
    name = service["metadata"]["name"]
    merged.setdefault("env", []).append({"name": "INFERENCE_SERVICE_NAME", "value": name})
    merged.setdefault("volumeMounts", []).append(
        {"name": "models", "mountPath": MODELS, "readOnly": True}
    )
    return merged


def _filled(container: Object, metadata: Object) -> Object:
    """Put the service's metadata in place of placeholders; KServe does it in the JSON."""

    def value(found: re.Match[str]) -> str:
        field, key = found[1], found[2]
        text: Any = metadata[field.lower()]
        return str(text[key] if key else text)

    filled: Object = json.loads(_PLACEHOLDER.sub(value, json.dumps(container)))
    return filled


def _storage(uri: str) -> Object:
    scheme, _, rest = uri.partition("://")
    if scheme == "pvc":
        return {"persistentVolumeClaim": {"claimName": rest.partition("/")[0]}}
    if scheme == "oci+native":
        return {"image": {"reference": rest, "pullPolicy": "IfNotPresent"}}
    return {"emptyDir": {}}
