"""Both clients, called in one way: a test is written once, and runs against each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from isotherm.client import AsyncClient, Client, IsothermError

THREADS = 16

# The arguments of one call by name.
Arguments = Mapping[str, Any]


class Blocking:
    """`Client`, as it is; many calls at once come from threads."""

    def __init__(self, target: str, **settings: Any) -> None:
        self._client = Client(target, **settings)

    def __getattr__(self, method: str) -> Any:
        return getattr(self._client, method)

    def stream(self, *arguments: Any, **named: Any) -> list[Any]:
        """Return all that `predict_stream` yields."""
        return list(self._client.predict_stream(*arguments, **named))

    def together(self, method: str, calls: Sequence[Arguments]) -> list[Any]:
        """Make calls at once; return for each what it gave, or the client's error."""

        def one(call: Arguments) -> Any:
            try:
                return getattr(self._client, method)(**call)
            except IsothermError as error:
                return error

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(one, calls))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


class Awaiting:
    """`AsyncClient`, each call waited for in a loop of its own; many at once are tasks."""

    def __init__(self, target: str, **settings: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(target, **settings)

    def __getattr__(self, method: str) -> Any:
        def waited_for(*arguments: Any, **named: Any) -> Any:
            async def call() -> Any:
                return await getattr(self._client, method)(*arguments, **named)

            return self._runner.run(call())

        return waited_for

    def stream(self, *arguments: Any, **named: Any) -> list[Any]:
        """Return all that `predict_stream` yields."""

        async def collect() -> list[Any]:
            stream = self._client.predict_stream(*arguments, **named)
            return [each async for each in stream]

        return self._runner.run(collect())

    def together(self, method: str, calls: Sequence[Arguments]) -> list[Any]:
        """Make calls at once; return for each what it gave, or the client's error."""

        async def one(call: Arguments) -> Any:
            try:
                return await getattr(self._client, method)(**call)
            except IsothermError as error:
                return error

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*(one(call) for call in calls))

        return self._runner.run(all_of_them())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._runner:
            self._runner.run(self._client.close())


Caller = Blocking | Awaiting
