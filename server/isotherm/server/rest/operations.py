"""What REST offers: each operation is a path, a method, and a call of the workers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

from isotherm.server.rest.exchange import Answer, Exchange, Gone, json_answer
from isotherm.server.rest.inference import JSON_LENGTH, compose, parse, parse_object
from isotherm.server.rest.messages import to_object
from isotherm.server.rest.status import HttpError
from isotherm.server.rest.workers import Workers
from isotherm.server.rpcs import UNSERVED_RPCS
from isotherm.v1 import open_inference_pb2 as pb

# Larger bodies are read only for callers whom a worker knows.
_TRUSTED_BYTES: Final = 64 << 10
# gRPC's own header: a number of at most eight digits and a unit.
_TIMEOUT: Final = re.compile(r"(\d{1,8})([HMSmun])")
_MOST_TIMEOUT_S: Final = 1e8
_SECONDS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

# Headers that are metadata of the gRPC call.
_PASSED_ON: Final = ("authorization", "traceparent", "tracestate")

_MODEL: Final = r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"

Handler = Callable[[Exchange, dict[str, str]], Awaitable[Answer]]


class Operations:
    """Finds the operation of a request, and carries it out."""

    def __init__(self, workers: Workers, ready: Callable[[], bool], *, guarded: bool) -> None:
        """`ready` is the gateway's own word; `guarded` when workers ask for tokens."""
        self._workers = workers
        self._ready = ready
        self._guarded = guarded
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", r"/v2", self._server_metadata),
            ("GET", r"/v2/health/live", self._server_live),
            ("GET", r"/v2/health/ready", self._server_ready),
            # Before the models: "stats" is the name of none here.
            ("GET", r"/v2/models/stats", self._statistics),
            ("GET", _MODEL, self._model_metadata),
            ("GET", _MODEL + "/ready", self._model_ready),
            ("GET", _MODEL + "/config", self._model_config),
            ("GET", _MODEL + "/stats", self._statistics),
            ("POST", _MODEL + "/infer", self._infer),
            ("POST", r"/v2/repository/index", self._index),
            ("POST", r"/v2/repository/models/(?P<model>[^/]+)/load", self._load),
            ("POST", r"/v2/repository/models/(?P<model>[^/]+)/unload", self._unload),
            ("GET", r"/v2/logging", self._log_settings),
            ("POST", r"/v2/logging", self._log_settings),
        )
        self._routes = tuple((method, re.compile(path), run) for method, path, run in routes)

    async def run(self, exchange: Exchange) -> Answer:
        """Carry out a request; raise HttpError when that fails."""
        path = exchange.path.removesuffix("/")
        method = "GET" if exchange.method == "HEAD" else exchange.method
        allowed: list[str] = []
        for served, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if served == method:
                found = {key: unquote(value or "") for key, value in match.groupdict().items()}
                return await handler(exchange, found)
            allowed.append(served)
        if allowed:
            msg = f"{exchange.method} is not served here, expected {' or '.join(allowed)}"
            raise HttpError(405, msg, (("allow", ", ".join(allowed)),))
        raise HttpError(*_unserved(path))

    async def _server_live(self, _exchange: Exchange, _found: dict[str, str]) -> Answer:
        return json_answer({"live": True})

    async def _server_ready(self, _exchange: Exchange, _found: dict[str, str]) -> Answer:
        ready = self._ready() and await self._workers.ready()
        return json_answer({"ready": ready}, 200 if ready else 503)

    async def _server_metadata(self, exchange: Exchange, _found: dict[str, str]) -> Answer:
        return json_answer(
            to_object(await self._call(exchange, "ServerMetadata", pb.ServerMetadataRequest()))
        )

    async def _model_metadata(self, exchange: Exchange, found: dict[str, str]) -> Answer:
        request = pb.ModelMetadataRequest(name=found["model"], version=found["version"])
        return json_answer(to_object(await self._call(exchange, "ModelMetadata", request)))

    async def _model_ready(self, exchange: Exchange, found: dict[str, str]) -> Answer:
        request = pb.ModelReadyRequest(name=found["model"], version=found["version"])
        ready = (await self._call(exchange, "ModelReady", request)).ready
        return json_answer({"name": found["model"], "ready": ready}, 200 if ready else 503)

    async def _model_config(self, exchange: Exchange, found: dict[str, str]) -> Answer:
        request = pb.ModelConfigRequest(name=found["model"], version=found["version"])
        return json_answer(to_object((await self._call(exchange, "ModelConfig", request)).config))

    async def _statistics(self, exchange: Exchange, found: dict[str, str]) -> Answer:
        request = pb.ModelStatisticsRequest(
            name=found.get("model", ""), version=found.get("version", "")
        )
        return json_answer(to_object(await self._call(exchange, "ModelStatistics", request)))

    async def _infer(self, exchange: Exchange, found: dict[str, str]) -> Answer:
        timeout_s = _timeout_s(exchange)
        body = await self._body(exchange)
        length = exchange.header(JSON_LENGTH)
        request, form = parse(body, length, found["model"], found["version"])
        response = await _unless_gone(
            exchange, self._call(exchange, "ModelInfer", request, timeout_s)
        )
        return exchange.packed(compose(response, form))

    async def _index(self, exchange: Exchange, _found: dict[str, str]) -> Answer:
        content = await self._object(exchange)
        ready = content.get("ready", False)
        if not isinstance(ready, bool):
            msg = "'ready' must be true or false"
            raise HttpError(400, msg)
        request = pb.RepositoryIndexRequest(ready=ready)
        models = (await self._call(exchange, "RepositoryIndex", request)).models
        # As in Triton's: what is empty is left out.
        return json_answer([{k: v for k, v in to_object(m).items() if v} for m in models])

    async def _load(self, exchange: Exchange, found: dict[str, str]) -> Answer:
        request = pb.RepositoryModelLoadRequest(model_name=found["model"])
        _set(request.parameters, await self._object(exchange))
        await self._call(exchange, "RepositoryModelLoad", request)
        return Answer()

    async def _unload(self, exchange: Exchange, found: dict[str, str]) -> Answer:
        request = pb.RepositoryModelUnloadRequest(model_name=found["model"])
        _set(request.parameters, await self._object(exchange))
        await self._call(exchange, "RepositoryModelUnload", request)
        return Answer()

    async def _log_settings(self, exchange: Exchange, _found: dict[str, str]) -> Answer:
        request = pb.LogSettingsRequest()
        if exchange.method == "POST":
            for name, value in (await self._object(exchange)).items():
                _set_log(request.settings[name], name, value)
        settings = (await self._call(exchange, "LogSettings", request)).settings
        return json_answer(
            {
                name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
                for name, value in sorted(settings.items())
            }
        )

    async def _object(self, exchange: Exchange) -> dict[str, Any]:
        body = await self._body(exchange)
        return parse_object(body) if body.strip() else {}

    async def _body(self, exchange: Exchange) -> bytes:
        size = exchange.declared_bytes
        if self._guarded and (size is None or size > _TRUSTED_BYTES):
            await self._call(exchange, "ServerLive", pb.ServerLiveRequest())
        return await exchange.body()

    async def _call(
        self, exchange: Exchange, rpc: str, request: Any, timeout_s: float | None = None
    ) -> Any:
        timeout_s = _timeout_s(exchange) if timeout_s is None else timeout_s
        return await self._workers.call(
            rpc, request, metadata=_metadata(exchange), timeout_s=timeout_s
        )


async def _unless_gone(exchange: Exchange, call: Awaitable[Any]) -> Any:
    """Await a call; cancel it and raise Gone when its caller hangs up."""
    calling, gone = asyncio.ensure_future(call), asyncio.ensure_future(exchange.gone())
    try:
        await asyncio.wait((calling, gone), return_when=asyncio.FIRST_COMPLETED)
        if calling.done():
            return calling.result()
        raise Gone
    finally:
        calling.cancel()
        gone.cancel()


def _metadata(exchange: Exchange) -> list[tuple[str, str]]:
    """Return what goes on to the worker: who asks, and the trace that this belongs to."""
    metadata: list[tuple[str, str]] = []
    for name in _PASSED_ON:
        value = exchange.header(name)
        if value is None:
            continue
        if value.isascii() and value.isprintable():
            metadata.append((name, value))
        elif name == "authorization":
            msg = "the header 'authorization' has characters that no token has"
            raise HttpError(400, msg)
    return metadata


def _timeout_s(exchange: Exchange) -> float | None:
    header = exchange.header("grpc-timeout")
    if header is None:
        return None
    match = _TIMEOUT.fullmatch(header.strip())
    if match is None:
        msg = (
            f"grpc-timeout is '{header[:20]}', expected a number of up to eight digits and a unit: "
            "H, M, S, m (milliseconds), u or n"
        )
        raise HttpError(400, msg)
    # gRPC takes nought for no deadline, and centuries for one that has passed.
    timeout_s = min(int(match[1]) * _SECONDS[match[2]], _MOST_TIMEOUT_S)
    if not timeout_s:
        msg = "grpc-timeout is nought: it has passed"
        raise HttpError(504, msg)
    return timeout_s


def _unserved(path: str) -> tuple[int, str]:
    if path == "/v2/trace/setting":
        return 501, UNSERVED_RPCS["TraceSetting"]
    if path.startswith(("/v2/systemsharedmemory/", "/v2/cudasharedmemory/")):
        return 501, UNSERVED_RPCS["SystemSharedMemoryStatus"]
    return 404, "there is nothing at this path: see docs/rest.md"


def _set(target: Any, content: dict[str, Any]) -> None:
    parameters = content.get("parameters", {})
    if not isinstance(parameters, dict):
        msg = "'parameters' must be an object"
        raise HttpError(400, msg)
    for name, value in parameters.items():
        if type(value) is bool:
            target[name].bool_param = value
        elif type(value) is int and abs(value) < 1 << 63:
            target[name].int64_param = value
        elif type(value) is str:
            target[name].string_param = value
        else:
            msg = f"parameter '{name}' must be a whole number, text, true or false"
            raise HttpError(400, msg)


def _set_log(target: Any, name: str, value: object) -> None:
    if type(value) is bool:
        target.bool_param = value
    elif type(value) is int and 0 <= value < 1 << 32:
        target.uint32_param = value
    elif type(value) is str:
        target.string_param = value
    else:
        msg = f"setting '{name}' must be a whole number, text, true or false"
        raise HttpError(400, msg)
