"""What every pod has to be: restricted, unable to write or to ask the API, bounded, rightly set."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_args, get_type_hints

from isotherm.server.__main__ import serve
from tests.deploy.manifests import Object, settings

# Of the restricted Pod Security Standard; `image` since Kubernetes 1.33.
VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
}
OF_THE_HOST = ("hostIPC", "hostNetwork", "hostPID")
GROUP_READS = 0o040
REFERENCE = re.compile(r"(?<!\$)\$\((\w+)\)")


def pod_faults(spec: Object) -> Iterator[str]:
    """What is wrong with the spec of a pod, one sentence each."""
    yield from _restricted_pod(spec)
    yield from _without_rights(spec)
    yield from _readable(spec)
    yield from _volumes(spec)
    for each in containers(spec):
        for fault in (
            *_restricted(each, spec.get("securityContext", {})),
            *_unable_to_write(each, spec),
            *_bounded(each),
            *_pinned(each),
            *_variables(each),
        ):
            yield f"container {each['name']}: {fault}"


def containers(spec: Object) -> list[Object]:
    """All containers of a pod, those that run first included."""
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _restricted_pod(spec: Object) -> Iterator[str]:
    for field in OF_THE_HOST:
        if spec.get(field):
            yield f"{field} is set, which the restricted standard refuses"
    for field in ("seLinuxOptions", "sysctls", "windowsOptions"):
        if field in spec.get("securityContext", {}):
            yield f"securityContext.{field} is set, which nothing of ours needs"
    for volume in spec.get("volumes", ()):
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is of the kind {kind}, which the standard refuses"


def _restricted(container: Object, of_pod: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    effective = of_pod | own
    if effective.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if effective.get("runAsUser", 0) == 0:
        yield "runAsUser is 0 or missing, and an image may name its user by a word"
    if effective.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile is not RuntimeDefault"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield f"capabilities are {own.get('capabilities')}, expected to drop ALL"
    for field in own.keys() & {"privileged", "procMount", "seLinuxOptions", "windowsOptions"}:
        yield f"securityContext.{field} is set, which nothing of ours needs"
    for port in container.get("ports", ()):
        if "hostPort" in port:
            yield f"port {port['containerPort']} is taken of the node, by hostPort"


def _without_rights(spec: Object) -> Iterator[str]:
    if spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false: the pod gets a token of the API"
    if spec.get("enableServiceLinks") is not False:
        yield "enableServiceLinks is not false: a Service called isotherm sets ISOTHERM_* variables"
    for volume in spec.get("volumes", ()):
        for source in volume.get("projected", {}).get("sources", ()):
            if "serviceAccountToken" in source:
                yield f"volume {volume['name']} brings a token of the API"


def _readable(spec: Object) -> Iterator[str]:
    """A Secret's files are root's, and only the group can be given to others."""
    group = spec.get("securityContext", {}).get("fsGroup")
    for volume in spec.get("volumes", ()):
        mode = volume.get("secret", {}).get("defaultMode")
        if mode is not None and not (group and mode & GROUP_READS):
            yield f"volume {volume['name']}: mode {mode:04o} and group {group} make it unreadable"


def _volumes(spec: Object) -> Iterator[str]:
    volumes = {each["name"]: each for each in spec.get("volumes", ())}
    mounted = {mount["name"] for each in containers(spec) for mount in each.get("volumeMounts", ())}
    for name in mounted - volumes.keys():
        yield f"a container mounts {name}, and the pod has no such volume"
    for name in volumes.keys() - mounted:
        yield f"volume {name} is mounted by nobody"
    for name, volume in volumes.items():
        if len(volume) != 2:
            kinds = sorted(volume.keys() - {"name"})
            yield f"volume {name} has the sources {kinds}, expected one: components that exclude"


def _unable_to_write(container: Object, spec: Object) -> Iterator[str]:
    if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem is not true"
    scratch = {each["name"] for each in spec.get("volumes", ()) if _bounded_scratch(each)}
    for mount in container.get("volumeMounts", ()):
        if not mount.get("readOnly") and mount["name"] not in scratch:
            yield f"{mount['mountPath']} is writable, and no emptyDir with a sizeLimit"


def _bounded_scratch(volume: Object) -> bool:
    return "sizeLimit" in volume.get("emptyDir", ())


def _bounded(container: Object) -> Iterator[str]:
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in {"cpu", "memory"} - requests.keys():
        yield f"no {name} is requested, so the scheduler overfills the node"
    if limits.get("memory") != requests.get("memory"):
        yield "the memory's limit is not its request: the node may promise it twice"
    if "cpu" in limits:
        yield "the processor has a limit, which stretches the slowest answers"


def _pinned(container: Object) -> Iterator[str]:
    tag = container["image"].rpartition("/")[2].partition(":")[2]
    if not tag or tag == "latest":
        yield f"image {container['image']} is not pinned to a version"


def _variables(container: Object) -> Iterator[str]:
    names = [each["name"] for each in container.get("env", ())]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"variable {name} is there twice"
    for name, text in settings(container).items():
        if not isinstance(text, str):
            yield f"variable {name} is no text but {text!r}"
        elif name.startswith("ISOTHERM_"):
            yield from _setting(name, text)
    if "envFrom" not in container:
        yield from _references(container)


def _references(container: Object) -> Iterator[str]:
    """Kubernetes puts in only what it has seen before, and leaves the rest as it is."""
    seen: set[str] = set()
    for each in container.get("env", ()):
        for name in set(REFERENCE.findall(str(each.get("value", "")))) - seen:
            yield f"variable {each['name']} refers to {name}, which is not set before it"
        seen.add(each["name"])
    for argument in container.get("args", ()):
        for name in set(REFERENCE.findall(argument)) - seen:
            yield f"argument {argument} refers to {name}, which is not set"


def _setting(name: str, text: str) -> Iterator[str]:
    """By the types of the flags of `isotherm serve`."""
    if name not in known_settings():
        yield f"variable {name} is none of `isotherm serve`"
        return
    read = known_settings()[name]
    try:
        read(text)
    except ValueError as error:
        yield f"variable {name} is {text}, which `isotherm serve` refuses: {error}"


@cache
def known_settings() -> dict[str, Callable[[str], object]]:
    """What reads each variable of `isotherm serve`."""
    found: dict[str, Callable[[str], object]] = {}
    for hint in get_type_hints(serve, include_extras=True).values():
        kind, *about = get_args(hint) or (hint,)
        for each in about:
            variable = getattr(each, "envvar", None)
            if variable is not None:
                found[variable] = _reader(kind)
    return found


def _reader(kind: Any) -> Callable[[str], object]:
    """What turns text into the type of a flag; an optional one has the other type."""
    types = [each for each in get_args(kind) if each is not type(None)] or [kind]
    read: Callable[[str], object] = types[0] if callable(types[0]) else str
    return _truth if read is bool else read


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        msg = "expected true or false"
        raise ValueError(msg)
    return text.lower() in {"true", "1"}
