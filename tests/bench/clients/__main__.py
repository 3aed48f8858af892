"""A process with one client in it, which does what its standard input says and times it itself.

    python -m tests.bench.clients LIBRARY SHELL ADDRESS SETTINGS

SHELL is `sync` or `aio`, SETTINGS are the client's keyword arguments in JSON. A line of input is
the name of some work and its arguments, in JSON, and is answered with a line of figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeAlias

from tests.bench.clients import callers, calls, streams

Work: TypeAlias = Callable[..., Any]


def main() -> None:
    """Make the client and work until there is nothing more to do."""
    library, shell, address, settings = sys.argv[1:]
    serve = _blocking if shell == "sync" else _asyncio
    serve(library, address, json.loads(settings))


def _blocking(library: str, address: str, settings: dict[str, Any]) -> None:
    client, call = calls.blocking(library, address, settings)

    def one_row(**arguments: Any) -> callers.Seen:
        return callers.blocking(call, **arguments)

    def stream(**arguments: Any) -> streams.Passed:
        return streams.blocking(client, **arguments)

    _serve({"one_row": one_row, "stream": stream})
    client.close()


def _asyncio(library: str, address: str, settings: dict[str, Any]) -> None:
    with asyncio.Runner() as runner:

        async def make() -> tuple[Any, calls.Awaiting]:
            return calls.awaiting(library, address, settings)

        client, call = runner.run(make())

        def one_row(**arguments: Any) -> callers.Seen:
            return runner.run(callers.awaiting(call, **arguments))

        def stream(**arguments: Any) -> streams.Passed:
            return runner.run(streams.awaiting(client, **arguments))

        _serve({"one_row": one_row, "stream": stream})
        runner.run(client.close())


def _serve(works: dict[str, Work]) -> None:
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(asdict(works[name](**arguments))), flush=True)


if __name__ == "__main__":
    main()
