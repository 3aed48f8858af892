"""Images and containers with buildah and podman, in a folder that leaves nothing behind."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.deploy.processes import output, running, tool

# runc, cgroupfs and a file work without systemd, where crun and journald do not. Without the right
# to raise limits, as in most containers, the default ones are refused.
_ENGINE = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/root"
runroot = "{folder}/run"
"""


class Store:
    """A folder with images, containers and networks, for buildah, podman and what calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: Mapping[str, str] = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        if not folder.is_mount():
            # In memory, where thousands of small files are made and removed in no time.
            folder.mkdir(exist_ok=True)
            output(["mount", "-t", "tmpfs", "-o", "size=8g,mode=755", "store", str(folder)])
        (folder / "networks").mkdir(exist_ok=True)
        (folder / "containers.conf").write_text(_ENGINE.format(folder=folder))
        (folder / "storage.conf").write_text(_STORAGE.format(folder=folder))

    def buildah(self, *arguments: str) -> str:
        """What a buildah command printed."""
        return self.output([tool("buildah", "Debian's buildah"), *arguments])

    def podman(self, *arguments: str) -> str:
        """What a podman command printed."""
        return self.output([self._podman(), *arguments])

    def output(
        self, command: list[str], variables: Mapping[str, str] = MappingProxyType({})
    ) -> str:
        """What a command that works in this store printed."""
        return output(command, variables={**self.variables, **variables}).strip()

    def exits(self, *arguments: str) -> int:
        """The exit status of a podman command, whatever it is."""
        command = [self._podman(), *arguments]
        environment = os.environ | self.variables
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    @contextmanager
    def running(
        self, name: str, image: str, *arguments: str, options: tuple[str, ...]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A container in the foreground; its exit status is podman's."""
        command = [self._podman(), "run", "--rm", "--name", name, *options, image, *arguments]
        with running(command, self.folder / f"{name}.log", variables=self.variables) as process:
            yield process

    def status(self, container: str) -> Mapping[str, str]:
        """What the kernel says of a container's first process."""
        pid = self.podman("inspect", "--format", "{{.State.Pid}}", container)
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines)

    def log(self, name: str) -> str:
        """What a container in the foreground printed."""
        return (self.folder / f"{name}.log").read_text()

    def remove(self) -> None:
        """Let go of the folder: buildah leaves its layers mounted."""
        mounted = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
        for path in reversed([path for path in mounted if path.is_relative_to(self.folder)]):
            output(["umount", str(path)])
        self.folder.rmdir()

    @staticmethod
    def _podman() -> str:
        tool("runc", "Debian's runc")
        return tool("podman", "Debian's podman")
