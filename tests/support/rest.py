"""REST as any HTTP client would call it: `http.client`, and no library of ours."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

import numpy as np

from isotherm.v1.tensors import datatype_of, encode_raw

JSON_LENGTH = "Inference-Header-Content-Length"
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The JSON of the body, which must be strict."""
        return json.loads(self.body, parse_constant=_refuse)

    @property
    def error(self) -> str:
        """The text of an error."""
        (key,) = self.content
        assert key == "error"
        text: str = self.content[key]
        return text

    def split(self) -> tuple[Any, bytes]:
        """Return the JSON of the body and the binary data after it."""
        length = int(self.headers[JSON_LENGTH.lower()])
        return json.loads(self.body[:length]), self.body[length:]


class Rest:
    """A server's REST port; every request has a connection of its own."""

    def __init__(
        self, port: int, *, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.port = port
        self._context = context
        self._host = host

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to keep."""
        if self._context is None:
            return http.client.HTTPConnection(self._host, self.port, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(
            self._host, self.port, timeout=TIMEOUT_S, context=self._context
        )

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Make one request; underscores in the names of headers are dashes."""
        connection = self.connect()
        try:
            return send(connection, method, path, body, **headers)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        """Get a page."""
        return self.request("GET", path, None, **headers)

    def post(self, path: str, content: Any = None, **headers: str) -> Reply:
        """Post JSON, or nothing."""
        body = b"" if content is None else json.dumps(content).encode()
        return self.request("POST", path, body, **headers)

    def infer(self, model: str, content: Any, **headers: str) -> Reply:
        """Post an inference request."""
        return self.post(f"/v2/models/{model}/infer", content, **headers)


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    **headers: str,
) -> Reply:
    """Make one request on a connection."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    response = connection.getresponse()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, found, response.read())


def tensor(name: str, array: np.ndarray, *, nested: bool = False) -> dict[str, Any]:
    """Return an input in JSON."""
    data = (array if nested else array.ravel()).tolist()
    return {
        "name": name,
        "datatype": datatype_of(array),
        "shape": list(array.shape),
        "data": data,
    }


def binary_request(
    tensors: list[tuple[str, str, np.ndarray]], **content: Any
) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request with binary data: (name, datatype, array)."""
    raws = [encode_raw(array, datatype) for _, datatype, array in tensors]
    inputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": list(array.shape),
            "parameters": {"binary_data_size": len(raw)},
        }
        for (name, datatype, array), raw in zip(tensors, raws, strict=True)
    ]
    head = json.dumps(content | {"inputs": inputs}).encode()
    return b"".join((head, *raws)), {JSON_LENGTH.replace("-", "_"): str(len(head))}


def _refuse(constant: str) -> Any:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)
