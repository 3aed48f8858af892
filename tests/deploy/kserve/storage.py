"""KServe's own storage initializer: it lays out at /mnt/models what `storageUri` names."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.support.environments import environment, run

# Of the package's dependencies what HTTP needs: the others are clients of every cloud there is.
REQUIREMENTS: Final = (
    *("--no-deps", "kserve-storage==0.20.0", "requests==2.34.2"),
    *("certifi", "charset-normalizer", "idna", "pyyaml", "urllib3"),
)
SCRIPT: Final = """
import sys

from kserve_storage import Storage

for uri, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    Storage.download(uri, folder)
"""


def lay_out(**folders: tuple[str, Path]) -> None:
    """Do what the init container does, for several services at once: (URI, folder) by name."""
    python = environment("kserve-storage", *REQUIREMENTS)
    arguments = [str(part) for pair in folders.values() for part in pair]
    run(python, "-c", SCRIPT, *arguments)


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP; yield its URL."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="models")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
