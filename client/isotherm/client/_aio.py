"""The asyncio client."""
# ruff: noqa: ASYNC109  the timeout travels with the call, so that the server can give up as well

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, cast, overload

import grpc
import grpc.aio
from numpy.typing import ArrayLike

from isotherm.client._channel import check_target, options, secure
from isotherm.client._conversation import (
    Call,
    Conversation,
    Conversations,
    Deadline,
    Result,
    Version,
)
from isotherm.client._errors import IsothermError, from_status
from isotherm.client._feedback import Report
from isotherm.client._inputs import Inputs
from isotherm.client._methods import METHODS
from isotherm.client._prediction import Prediction
from isotherm.client._retry import Retry
from isotherm.client._security import Bearer, Tls, Token
from isotherm.client._trace import with_trace
from isotherm.v1.contract_pb2 import Contract
from isotherm.v1.open_inference_pb2 import (
    ModelConfig,
    ModelMetadataResponse,
    ServerMetadataResponse,
)
from isotherm.v1.tensors import Array

_DEFAULT_RETRY = Retry()


class AsyncClient:
    """Calls a server of the Open Inference Protocol; safe to share between the tasks of a loop.

    Every call has a deadline over all that it takes: the metadata that the first `predict` of a
    model asks for, and retries. Failures are an `IsothermError` of some kind.

    Args:
        target: The server's address, HOST:PORT or any other name that gRPC resolves.
        tls: Whether to speak TLS, with the authorities that gRPC knows; a `Tls` says more.
        token: What every call brings as its bearer token: the token itself, or the file it lies in,
            which is read again when it changes. Without TLS it travels unencrypted.
        timeout: Seconds that a call may take unless it says otherwise.
        retry: What is tried again when nobody answers.

    Raises:
        InvalidInputError: The target, a file or the token cannot be used.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: bool | Tls = False,
        token: Token | None = None,
        timeout: float = 5.0,
        retry: Retry = _DEFAULT_RETRY,
    ) -> None:
        self._conversations = Conversations(check_target(target), timeout)
        self._bearer = Bearer(token)
        secured = secure(tls)
        self._credentials = None if secured is None else secured.credentials()
        self._options = options(retry, secured)
        self._channel: grpc.aio.Channel | None = None
        self._stubs: dict[str, grpc.aio.UnaryUnaryMultiCallable[Any, Any]] = {}

    @overload
    async def predict(
        self,
        model: str,
        x: Inputs,
        *,
        version: Version = None,
        outputs: str,
        timeout: float | None = None,
    ) -> Array: ...

    @overload
    async def predict(
        self,
        model: str,
        x: Inputs,
        *,
        version: Version = None,
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Array | Prediction: ...

    async def predict(
        self,
        model: str,
        x: Inputs,
        *,
        version: Version = None,
        outputs: str | Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Array | Prediction:
        """Run the model on `x` and return its outputs, in the order of the rows.

        Args:
            model: The model's name.
            x: An array of shape `(rows, features)`, or a dict of arrays for several inputs. Shape
                `(n,)` is n rows if the model has one feature. Numbers are cast to the model's type
                where that is safe: float64 to FP32 rounds, a value beyond its range is refused.
            version: The model's version; the server chooses when there is none.
            outputs: The outputs to return: one name, several, or all.
            timeout: Seconds that the call may take in all.

        Returns:
            The array when there is one output, else a `Prediction`. Arrays are read-only views on
            the received message, and BYTES come as arrays of `bytes` objects.
        """
        return await self._run(self._conversations.predict(model, x, version, outputs), timeout)

    async def feedback(
        self,
        model: str,
        prediction: ArrayLike,
        truth: ArrayLike,
        *,
        version: Version = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        predicted_at: ArrayLike | None = None,
        timeout: float | None = None,
    ) -> str:
        """Report what predictions should have been, once it is known.

        The server sums the errors and shows them as metrics, by version and target. A report is
        never repeated by itself: one that arrived and is sent again counts twice. A long one goes
        out in several calls; where one of them fails, a note on the error says how many rows were
        counted before.

        Args:
            model: The model's name.
            prediction: What the model answered, of shape `(rows, targets)`, or `(rows,)` for one
                target. Finite, in the target's unit.
            truth: What it should have answered, of the same shape. Finite: leave rows out whose
                truth is not known.
            version: The version that predicted; the newest that serves when there is none.
            lower: Lower bounds of the predictions' intervals, of the same shape. Without bounds
                the contract's interval is taken, if it has one.
            upper: Upper bounds, likewise.
            predicted_at: When the rows were predicted, in seconds since 1970: one number a row, or
                one for all.
            timeout: Seconds that the call may take in all.

        Returns:
            The version that the rows were counted for.

        Raises:
            InvalidInputError: The arrays do not fit each other or the model.
            NotFoundError: No such model or version serves.
            RemoteError: Among others where the model's targets are labels (FAILED_PRECONDITION).
            UnsupportedError: The server has no such service: it is none of ours.
        """
        report = Report(prediction, truth, lower, upper, predicted_at)
        return await self._run(self._conversations.feedback(model, report, version), timeout)

    async def contract(
        self, model: str, version: Version = None, *, timeout: float | None = None
    ) -> Contract:
        """Return the model's contract: features, units, ranges, interval, provenance.

        Raises:
            NoContractError: The model carries none, or the server is none of ours.
        """
        return await self._run(self._conversations.contract(model, version), timeout)

    async def config(
        self, model: str, version: Version = None, *, timeout: float | None = None
    ) -> ModelConfig:
        """Return how the server runs the model: batching, instances, parameters."""
        return await self._run(self._conversations.config(model, version), timeout)

    async def model_metadata(
        self, model: str, version: Version = None, *, timeout: float | None = None
    ) -> ModelMetadataResponse:
        """Return the model's versions, inputs and outputs."""
        return await self._run(self._conversations.model_metadata(model, version), timeout)

    async def server_metadata(self, *, timeout: float | None = None) -> ServerMetadataResponse:
        """Return the server's name, version and extensions."""
        return await self._run(self._conversations.server_metadata(), timeout)

    async def health(
        self, model: str | None = None, version: Version = None, *, timeout: float | None = None
    ) -> bool:
        """Return whether the server, or one model, is ready to answer.

        Asks ServerReady or ModelReady, which every server of the protocol has; not all of them
        have `grpc.health.v1`. A server that cannot be reached raises an error.
        """
        return await self._run(self._conversations.health(model, version), timeout)

    async def close(self) -> None:
        """Close the connection; calls in flight end with CallCancelledError."""
        self._conversations.closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, conversation: Conversation[Result], timeout: float | None) -> Result:
        deadline = self._conversations.begin(timeout)
        self._connect()
        try:
            call = next(conversation)
            while True:
                try:
                    answer = await self._send(call, deadline)
                except IsothermError as error:
                    call = conversation.throw(error)
                else:
                    call = conversation.send(answer)
        except StopIteration as end:
            return cast("Result", end.value)

    def _connect(self) -> None:
        # A channel belongs to the running event loop; a client may be made before there is one.
        if self._channel is None:
            target = self._conversations.target
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(target, self._options)
            else:
                channel = grpc.aio.secure_channel(target, self._credentials, self._options)
            self._stubs = {
                method.path: channel.unary_unary(method.path, method.serialize, method.parse)
                for method in METHODS
            }
            self._channel = channel

    async def _send(self, call: Call, deadline: Deadline) -> Any:
        self._conversations.check_open()
        try:
            return await self._stubs[call.method.path](
                call.request,
                timeout=deadline.left_s(),
                metadata=with_trace(self._bearer.metadata()),
            )
        except grpc.RpcError as exc:
            raise from_status(exc, target=self._conversations.target, model=call.model) from exc
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling() or not self._conversations.closed:
                raise
            # grpc.aio tells of a closed channel as if the caller's own task had been cancelled.
            raise self._conversations.cut_off(call) from exc
