"""The gateway's process: becomes what the supervisor's first message describes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading

from isotherm.server import control, logs
from isotherm.server.config import ServerConfig
from isotherm.server.control import Line
from isotherm.server.errors import StartError


def main() -> int:
    """Run the gateway; the supervisor's line is the file descriptor in the first argument."""
    line = Line.from_fd(int(sys.argv[1]))
    # Ctrl-C reaches the whole process group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox = line.messages()
    start = next(inbox, None)
    if start is None:
        return 1
    # A worker that closes its connection is no news; gRPC takes this when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from isotherm.server.rest.gateway import Gateway

    config = ServerConfig.from_json(start["config"])
    logs.configure(start["log_level"], process="gateway", form=config.log_format)
    listener = socket.socket(fileno=start["listener"])
    try:
        gateway = Gateway(config, listener, start["workers"])
    except StartError as error:
        line.send(control.FAILED, reason=str(error))
        return 1
    signal.signal(signal.SIGTERM, lambda *_: gateway.drain_soon())

    def obey() -> None:
        for message in inbox:
            if message["kind"] == control.DRAIN:
                gateway.drain_soon()
            elif message["kind"] == control.LOG:
                logs.set_level(message["level"])
        # The supervisor is gone: nobody would restart or stop this process.
        gateway.drain_soon()

    threading.Thread(target=obey, name="control", daemon=True).start()
    asyncio.run(gateway.serve(lambda: line.send(control.SERVING)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
