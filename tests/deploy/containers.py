"""Images and containers with buildah and podman, in a store that leaves nothing behind."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.deploy.places import DOCKERFILE, ROOT
from tests.deploy.processes import output, running, tool

# Debian with Python, in place of a base image from a registry.
BASE_PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
BASE = "localhost/base:test"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Without the right to raise limits, as in most containers, the defaults are refused.
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")


class Store(NamedTuple):
    """A folder with images and containers."""

    folder: Path

    def buildah(self, *arguments: str) -> str:
        """What a buildah command printed."""
        return output([tool("buildah", "Debian's buildah"), *self._places(), *arguments]).strip()

    def podman(self, *arguments: str) -> str:
        """What a podman command printed."""
        return output([*self._podman(), *arguments]).strip()

    def make_base(self) -> None:
        """Make the base image from Debian's packages."""
        tar = str(self.folder / "base.tar")
        made = tool("mmdebstrap", "Debian's mmdebstrap")
        output([made, "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", tar])
        container = self.buildah("from", "--quiet", "scratch").splitlines()[-1]
        self.buildah("add", "--quiet", container, tar, "/")
        self.buildah("commit", "--quiet", "--rm", container, BASE)

    def build(self, tag: str, *, target: str = "server") -> None:
        """Build a target of our Dockerfile on the base."""
        # The format of Docker has HEALTHCHECK, the one of OCI has not. The certificates are those
        # that this machine trusts, for a package index behind a proxy.
        self.buildah(
            *("build", "--quiet", "--layers", "--isolation", "chroot", "--format", "docker"),
            *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
            *("--build-arg", f"BASE={BASE}", "--build-arg", "VERSION=test"),
            *("--file", str(DOCKERFILE), "--target", target, "--tag", tag, str(ROOT)),
        )

    @contextmanager
    def running(
        self, name: str, image: str, *arguments: str, options: tuple[str, ...]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A container in the foreground on this machine's network; its exit status is podman's."""
        run = [*self._podman(), "run", "--rm", "--name", name, "--network", "host", *LIMITS]
        with running([*run, *options, image, *arguments], self.folder / f"{name}.log") as process:
            yield process

    def remove(self) -> None:
        """Let go of the folder: buildah leaves its layers mounted."""
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in reversed([path for path in mounted if path.startswith(f"{self.folder}/")]):
            output(["umount", path])

    def log(self, name: str) -> str:
        """What a container printed."""
        return (self.folder / f"{name}.log").read_text()

    def _podman(self) -> list[str]:
        # runc, cgroupfs and a file work without systemd, where crun and journald do not.
        engine = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        return [tool("podman", "Debian's podman and runc"), *self._places(), *engine]

    def _places(self) -> list[str]:
        places = ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        return [*places, "--storage-driver", "overlay"]
