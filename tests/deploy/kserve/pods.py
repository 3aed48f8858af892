"""The server's container of a service's pod, run on this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from tests.deploy.kserve import controller
from tests.deploy.kserve.files import runtime_of
from tests.deploy.kustomize.pods import Pod, running_server
from tests.deploy.manifests import Object


def running_pod(
    service: Object, models: Path, log: Path, *, drain_delay_s: float = 0
) -> AbstractContextManager[Pod]:
    """Run what KServe makes of a service, with a folder in place of its storage.

    It looks for versions more often than the service says.
    """
    return running_server(
        controller.pod(runtime_of(service), service),
        log,
        folders={controller.MODELS: models},
        drain_delay_s=drain_delay_s,
        changed={"ISOTHERM_POLL_SECONDS": "0.2"},
    )
