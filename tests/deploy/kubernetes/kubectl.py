"""The real kubectl, pointed at a server of ours."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.kubernetes.server import Cluster
from tests.deploy.processes import tool


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl against one cluster, with nothing of the user's own configuration."""

    program: str
    folder: Path

    @classmethod
    def of(cls, cluster: Cluster, folder: Path) -> Kubectl:
        """Return a kubectl for a cluster; what it keeps lies in the folder."""
        cluster.write_kubeconfig(folder / "kubeconfig")
        return cls(tool("kubectl", "Kubernetes"), folder)

    def __call__(self, *arguments: str) -> list[str]:
        """Run a command that must succeed; return the lines that it printed."""
        done = self.run(*arguments)
        if done.returncode != 0:
            pytest.fail(f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout.splitlines()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes of it."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.folder / "kubeconfig"),
        }
        return subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=variables,
            timeout=60,
        )
