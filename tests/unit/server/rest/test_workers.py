"""The gateway's way to the workers, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from isotherm.server.rest.status import HttpError
from isotherm.server.rest.workers import Workers
from isotherm.server.rpcs import PREFIX
from isotherm.server.transport.call import Call, Unary
from isotherm.v1 import open_inference_pb2 as pb
from tests.unit.server.serving import PATIENCE_S, serving

# Longer than a channel pauses between two tries.
GREETS_AFTER_S = 0.4


def live(call: Call, _message: bytes) -> None:
    """Answer that the server lives."""
    call.reply(pb.ServerLiveResponse(live=True).SerializeToString())


async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all that comes, as long as both ends are there."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()


async def test_a_worker_that_greets_late_is_found_by_the_first_try(tmp_path: Path) -> None:
    """It is busy, and would be as busy at the next one."""
    tries, left = 0, asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await asyncio.sleep(GREETS_AFTER_S)
        from_worker, to_worker = await asyncio.open_unix_connection(tmp_path / "worker")
        await asyncio.gather(passed(reader, to_worker), passed(from_worker, writer))
        left.set()

    async def ask(workers: Workers) -> bool:
        while True:
            try:
                answer = await workers.call("ServerLive", pb.ServerLiveRequest())
            except HttpError as error:
                assert error.status == 503
            else:
                return bool(answer.live)

    methods = {PREFIX + "ServerLive": Unary(live)}
    with serving("core", methods, private=str(tmp_path / "worker")):
        door = await asyncio.start_unix_server(greet, tmp_path / "door")
        async with door:
            workers = Workers([str(tmp_path / "door")], 0)
            async with asyncio.timeout(PATIENCE_S):
                found = await ask(workers)
                await workers.close()
                await left.wait()

    assert found
    assert tries == 1
