"""The composition: its services, and what each of them has to hold to."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from tests.deploy.places import COMPOSE

FILE = COMPOSE / "compose.yaml"
Service = dict[str, Any]


def read(text: str) -> dict[str, Service]:
    """The services of a compose file, with its own defaults in place of the variables."""
    document = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    services: dict[str, Service] = document["services"]
    return services


def mounts(service: Service) -> dict[str, tuple[str, bool]]:
    """What is mounted at each path: the source, and whether it is read-only."""
    parts = [volume.split(":") for volume in service.get("volumes", [])]
    return {path: (source, mode == ["ro"]) for source, path, *mode in parts}


def faults(services: dict[str, Service]) -> list[str]:
    """What of the services is not as it should be; a sentence for each."""
    return [f"{name}: {fault}" for name, each in services.items() for fault in _faults(each)]


def _faults(service: Service) -> Iterator[str]:
    for holds, fault in _RULES:
        if not holds(service):
            yield fault
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"others than this machine reach port {port}"
    for path, (source, read_only) in mounts(service).items():
        if "/" in source and not read_only:
            yield f"it can write {source}, mounted at {path}"
        if "/" in source and not (COMPOSE / source).exists():
            yield f"{source}, mounted at {path}, does not exist"
    for variable, value in service.get("environment", {}).items():
        if re.search("password|secret|token", variable.lower()):
            yield f"it carries a secret: {variable}"
        if not isinstance(value, str):
            yield f"{variable} is no string, so YAML decides how it is written"


def _without_capabilities(service: Service) -> bool:
    added = service.get("cap_add") or service.get("privileged")
    return service.get("cap_drop") == ["ALL"] and not added


def _checks_itself(service: Service) -> bool:
    test: list[str] = service.get("healthcheck", {}).get("test", [])
    return test[:1] == ["CMD"]


# What has to be true of a service, and what is said where it is not.
_RULES: tuple[tuple[Callable[[Service], object], str], ...] = (
    (lambda each: each.get("read_only"), "its root file system can be written"),
    (_without_capabilities, "it has capabilities"),
    (
        lambda each: each.get("security_opt") == ["no-new-privileges:true"],
        "it can gain privileges",
    ),
    (lambda each: each.get("user", "") not in {"0", "root"}, "it runs as root"),
    (lambda each: "mem_limit" in each, "its memory has no limit"),
    (lambda each: re.search(r":v?\d+\.\d+", each["image"]), "its image has no version"),
    (_checks_itself, "its health check is missing, or needs a shell"),
    (lambda each: "docker.sock" not in str(each.get("volumes")), "it can command the engine"),
)
