"""What `kubectl kustomize` makes of overlays, and of components on top of a base."""

import os
import tempfile
from functools import cache
from pathlib import Path

import yaml

from tests.deploy.manifests import Objects, parsed
from tests.deploy.places import KUSTOMIZE, RENDERED
from tests.deploy.processes import output, tool

COMPONENTS = sorted(folder.name for folder in (KUSTOMIZE / "components").iterdir())
# Each is rendered alone on the base, but for one that is of no use alone.
NEEDS = {"gateway-tls": ("tls", "gateway")}
# What people have together.
TOGETHER: dict[str, list[tuple[str, ...]]] = {
    "base": [
        ("models-fetch", "tls", "gateway", "gateway-tls", "rest"),
        ("models-pvc", "gpu", "hpa"),
        ("models-pvc", "network-policy", "gpu-mig", "hpa"),
        ("models-fetch", "tracing", "network-policy"),
        ("models-oci", "keda", "monitoring", "network-policy", "gateway"),
    ],
    "cpu": [("hpa", "monitoring", "tls", "tracing")],
    "gpu": [("keda", "monitoring", "gateway", "tracing"), ("gpu-shared",)],
}
# But for those that exclude another.
_INSTEAD = {"gpu-mig", "gpu-shared", "keda", "models-oci", "models-pvc"}
EVERYTHING = tuple(name for name in COMPONENTS if name not in _INSTEAD)


def combinations() -> list[tuple[Path, tuple[str, ...]]]:
    """Every overlay, every component alone, and those that people have together."""
    base = KUSTOMIZE / "base"
    folders = {folder.name: folder for folder in RENDERED}
    return [
        *((folder, ()) for folder in RENDERED),
        *((base, (*NEEDS.get(name, ()), name)) for name in COMPONENTS),
        *((folders[name], names) for name, several in TOGETHER.items() for names in several),
        (base, EVERYTHING),
    ]


def label(combination: tuple[Path, tuple[str, ...]]) -> str:
    """How a test names a combination."""
    folder, components = combination
    return "+".join((folder.name, *components))


@cache
def rendered(folder: Path, components: tuple[str, ...] = ()) -> Objects:
    """The objects of a folder with components, in this order."""
    if not components:
        return parsed(kustomize(folder))
    paths = [str(KUSTOMIZE / "components" / name) for name in components]
    return overlay({"resources": [str(folder)], "components": paths})


def overlay(kustomization: dict[str, object]) -> Objects:
    """The objects of a kustomization of the caller's, whose folders are absolute paths."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name).resolve()
        # kustomize takes no absolute path for a folder.
        relative = {
            key: [os.path.relpath(path, here) for path in paths]
            for key in ("resources", "components")
            if isinstance(paths := kustomization.get(key), list)
        }
        kinds = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
        text = yaml.safe_dump({**kinds, **kustomization, **relative})
        (here / "kustomization.yaml").write_text(text)
        return parsed(kustomize(here))


def kustomize(folder: Path) -> str:
    """What `kubectl kustomize` prints for a folder."""
    return output([tool("kubectl", "Kubernetes"), "kustomize", str(folder)])
