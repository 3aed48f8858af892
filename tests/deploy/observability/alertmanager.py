"""A real Alertmanager that tells a receiver of ours, and the receiver."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.pages import page

Notification = dict[str, Any]


class Receiver:
    """A webhook that keeps what it is told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.notifications: list[Notification] = []

    def alerts(self, status: str, **labels: str) -> list[Notification]:
        """The alerts with that status (`firing`, `resolved`) and these labels, the oldest first."""
        return [
            alert
            for notification in list(self.notifications)
            for alert in notification["alerts"]
            if alert["status"] == status and labels.items() <= alert["labels"].items()
        ]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of its own until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.notifications.append(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="receiver")
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def ready(port: int) -> bool:
    """Whether an Alertmanager takes alerts."""
    return page(port, "/-/ready")[0] == 200


def command(program: str, folder: Path, port: int, receiver: Receiver) -> list[str]:
    """How it is started: by itself, without a pause before it tells."""
    config = {
        "route": {
            "receiver": "test",
            "group_by": ["alertname"],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [
            {
                "name": "test",
                "webhook_configs": [{"url": f"http://127.0.0.1:{receiver.port}/"}],
            }
        ],
    }
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return [
        program,
        f"--config.file={path}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
