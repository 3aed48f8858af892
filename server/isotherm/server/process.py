"""A worker's process: what vets its models starts first, so that both import at the same time."""

from __future__ import annotations

import os
import signal
import sys

from isotherm.server.config import ServerConfig
from isotherm.server.control import Line
from isotherm.server.transport import experiments
from isotherm.server.vetting.vetter import Vetter


def main() -> int:
    """Run a worker; the supervisor's line is the file descriptor in the first argument."""
    line = Line.from_fd(int(sys.argv[1]))
    # Ctrl-C reaches the whole process group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox = line.messages()
    start = next(inbox, None)
    if start is None:
        return 1
    config = ServerConfig.from_json(start["config"])
    vetter = Vetter(config.vetting, config.log_format)
    vetter.start()
    if config.transport != "aio":
        experiments.read_where_polled()
    # A connection that breaks is no news, and core's lines are no JSON; gRPC takes this when it is
    # imported.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # Here, since it imports gRPC and the model runtime.
    from isotherm.server import worker

    status = worker.run(config, start, line, inbox, vetter)
    if status == worker.DEVICE_LOST:
        # Whatever of CUDA's is cleaned up at an end would wait for the device.
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
