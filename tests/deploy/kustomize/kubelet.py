"""A container of a manifest as a process of this machine, started and probed as a kubelet would."""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.manifests import Object
from tests.deploy.pages import page
from tests.deploy.server import check

_REFERENCE = re.compile(r"\$(?:\$|\((\w+)\))")


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a pod finds where it runs: its folders, its ports, its name, the Secrets."""

    # Where a mount's path is on this machine.
    folders: Mapping[str, Path]
    # A container's port to one of this machine.
    ports: Mapping[int, int] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # What a `fieldRef` asks for.
    fields: Mapping[str, str] = field(default_factory=dict)

    def environment(self, container: Object) -> dict[str, str]:
        """The container's variables."""
        variables: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            variables |= self.secrets[source["secretRef"]["name"]]
        for each in container.get("env", ()):
            if "valueFrom" in each:
                text = self.fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
            else:
                text = self._here(_expanded(each["value"], variables))
            variables[each["name"]] = text
        return variables

    def arguments(self, container: Object) -> list[str]:
        """The container's arguments."""
        variables = self.environment(container)
        return [self._here(_expanded(each, variables)) for each in container["args"]]

    def passes(self, container: Object, probe: str) -> bool:
        """Ask a probe once, with its own patience."""
        described = container[probe]
        patience_s = described["timeoutSeconds"]
        if "grpc" in described:
            asked = described["grpc"]
            target = f"127.0.0.1:{self.ports[asked['port']]}"
            return check(target, asked["service"], patience_s) == "SERVING"
        named = {each["name"]: each["containerPort"] for each in container["ports"]}
        asked = described.get("httpGet") or described["tcpSocket"]
        port = self.ports[named.get(asked["port"], asked["port"])]
        try:
            if "tcpSocket" in described:
                socket.create_connection(("127.0.0.1", port), patience_s).close()
                return True
            status, _ = page(port, asked["path"])
        except OSError:
            return False
        return 200 <= status < 400

    def _here(self, text: str) -> str:
        """A path below a mount, on this machine; the address of all interfaces is loopback."""
        for mount, folder in self.folders.items():
            if text == mount or text.startswith(f"{mount}/"):
                return f"{folder}{text.removeprefix(mount)}"
        return "127.0.0.1" if text == "0.0.0.0" else text  # noqa: S104


class SecretVolume:
    """A Secret as a kubelet mounts it: its files are links, and one rename changes all of them."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self.folder = folder
        self._updates = 0
        folder.mkdir()
        self.update(files)
        for name in files:
            (folder / name).symlink_to(Path("..data", name))

    def update(self, files: Mapping[str, bytes]) -> None:
        """Bring other contents."""
        self._updates += 1
        data = self.folder / f"..{self._updates}"
        data.mkdir()
        for name, content in files.items():
            (data / name).write_bytes(content)
        link = self.folder / "..data_tmp"
        link.symlink_to(data.name)
        link.rename(self.folder / "..data")


def budget_s(container: Object, probe: str) -> float:
    """How long a probe may fail before the kubelet acts."""
    described = container[probe]
    seconds: float = described["periodSeconds"] * described["failureThreshold"]
    return seconds


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes puts it in: what it does not know stays, and `$$` is one `$`."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else variables.get(name, found[0])

    return _REFERENCE.sub(value, text)
