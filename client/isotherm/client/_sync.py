"""The blocking client."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import Self, overload

from isotherm.client import _types
from isotherm.client._retry import Retry

_DEFAULT_RETRY = Retry()
# What is left of a deadline that has just passed is no timeout.
_SOON_S = 1e-6


class Client:
    """Calls a server of the Open Inference Protocol; safe to share between threads.

    Every call has a deadline over all that it takes: what the first `predict` of a model asks
    about it, and retries. Failures are an `IsothermError` of some kind.

    Args:
        target: The server's address, HOST:PORT. `dns:///HOST:PORT` asks all servers that the name
            stands for in turn, as long as they are healthy; `ipv4:HOST:PORT,HOST:PORT` likewise.
        tls: Whether to speak TLS, with the authorities that gRPC knows; a `Tls` says more.
        token: What every call brings as its bearer token: the token itself, or the file it lies in,
            which is read again when it changes. Without TLS it travels unencrypted.
        timeout: Seconds that a call may take unless it says otherwise.
        retry: What is tried again, and how often; None for nothing.
        connections: How many connections calls are spread over, 1 to 64; they are opened as calls
            need them. A connection stays with one worker of a server.
        coalesce: Whether small requests for one model travel together where callers ask at the
            same time. An idle client delays nobody for it. Only where the server says that the
            model takes its rows one by one.
        hedge: Whether, and when, a late inference is sent a second time.
        unknown: What becomes of a table's value that is not among its category's: the model takes
            it as one that it does not know, or it is an "error" that names the value.

    Raises:
        InvalidInputError: The target, a file or the token cannot be used.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: bool | _types.Tls = False,
        token: _types.Token | None = None,
        timeout: float = 5.0,
        retry: Retry | None = _DEFAULT_RETRY,
        connections: int = 4,
        coalesce: bool = True,
        hedge: _types.Hedge | None = None,
        unknown: _types.Unknown = "take",
    ) -> None:
        # Here, with the first client: the messages alone take a third as long as gRPC.
        from isotherm.client._settings import Settings
        from isotherm.client._threads import Threads

        self._threads = Threads(
            Settings(target, tls, token, timeout, retry, connections, coalesce, hedge, unknown)
        )

    @overload
    def predict(
        self,
        model: str,
        x: _types.Inputs,
        *,
        version: _types.Version = None,
        outputs: str,
        timeout: float | None = None,
    ) -> _types.Array: ...

    @overload
    def predict(
        self,
        model: str,
        x: _types.Inputs,
        *,
        version: _types.Version = None,
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> _types.Array | _types.Prediction: ...

    def predict(
        self,
        model: str,
        x: _types.Inputs,
        *,
        version: _types.Version = None,
        outputs: _types.Outputs = None,
        timeout: float | None = None,
    ) -> _types.Array | _types.Prediction:
        """Run the model on `x` and return its outputs, in the order of the rows.

        Args:
            model: The model's name.
            x: An array of shape `(rows, features)`, or a dict of arrays for several inputs. Shape
                `(n,)` is n rows if the model has one feature. Numbers are cast to the model's type
                where that is safe: float64 to FP32 rounds, a value beyond its range is refused.
                Or a table, where the model has a contract: a list of dicts, a dict of columns, a
                DataFrame of pandas or polars, or a table of Arrow. Its columns are matched to the
                model's features by name; it may have others, and its units must not contradict.
                Categories are values there, such as text; in an array they are codes, places in
                the contract's list. None and the like are missing cells, NaN in an array.
            version: The model's version; the server chooses when there is none.
            outputs: The outputs to return: one name, several, or all.
            timeout: Seconds that the call may take in all.

        Returns:
            The array when there is one output, else a `Prediction`. Arrays are read-only views on
            the received message, and BYTES come as arrays of `bytes` objects.
        """
        return self._threads.predict(model, x, version, outputs, timeout)

    def predict_interval(
        self,
        model: str,
        x: _types.Inputs,
        *,
        version: _types.Version = None,
        timeout: float | None = None,
    ) -> _types.Interval:
        """Run the model on `x` and return its predictions with their bounds.

        Args:
            model: The model's name.
            x: As for `predict`.
            version: The model's version; the server chooses when there is none.
            timeout: Seconds that the call may take in all.

        Raises:
            NoContractError: The model has no prediction interval, or no contract that says so.
        """
        from isotherm.client._conversation import interval

        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        names, coverage = threads.run(threads.conversations.interval(model, version, deadline))
        left_s = max(deadline.left_s(), _SOON_S)
        prediction = self.predict(model, x, version=version, outputs=names, timeout=left_s)
        return interval(names, coverage, prediction)

    def predict_stream(
        self,
        model: str,
        batches: Iterable[_types.Inputs],
        *,
        version: _types.Version = None,
        outputs: _types.Outputs = None,
        timeout: float | None = None,
        in_flight: int = 16,
    ) -> Generator[_types.Array | _types.Prediction, None, None]:
        """Run the model on one batch after the other, and yield their outputs in that order.

        No more than `in_flight` batches are read ahead of the answers, so memory does not grow
        with their number. Small batches that follow each other travel in one request, unless the
        client was made with `coalesce=False`. An error ends the stream when its batch's turn has
        come: everything before it has been yielded. So does one that `batches` raises. Where the
        stream is left early, the few requests on their way are cancelled by the asyncio client, and
        end by themselves, or with the client, otherwise.

        Args:
            model: The model's name.
            batches: Batches of any size, each as for `predict`. Some thousand rows are fast.
            version: The model's version; the server chooses when there is none.
            outputs: The outputs to return: one name, several, or all.
            timeout: Seconds that each batch may take.
            in_flight: How many batches are read ahead, 1 or more; fewer where they are long.
        """
        return self._threads.stream(model, batches, version, outputs, timeout, in_flight)

    def feedback(
        self,
        model: str,
        prediction: _types.ArrayLike,
        truth: _types.ArrayLike,
        *,
        version: _types.Version = None,
        lower: _types.ArrayLike | None = None,
        upper: _types.ArrayLike | None = None,
        predicted_at: _types.ArrayLike | None = None,
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
        from isotherm.client._feedback import Report

        report = Report(prediction, truth, lower, upper, predicted_at)
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.feedback(model, report, version, deadline))

    def contract(
        self, model: str, version: _types.Version = None, *, timeout: float | None = None
    ) -> _types.Contract:
        """Return the model's contract: features, units, ranges, interval, provenance.

        Raises:
            NoContractError: The model carries none, or the server is none of ours.
        """
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.contract(model, version, deadline))

    def config(
        self, model: str, version: _types.Version = None, *, timeout: float | None = None
    ) -> _types.ModelConfig:
        """Return how the server runs the model: batching, instances, parameters."""
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.config(model, version, deadline))

    def model_metadata(
        self, model: str, version: _types.Version = None, *, timeout: float | None = None
    ) -> _types.ModelMetadataResponse:
        """Return the model's versions, inputs and outputs."""
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.model_metadata(model, version, deadline))

    def server_metadata(self, *, timeout: float | None = None) -> _types.ServerMetadataResponse:
        """Return the server's name, version and extensions."""
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.server_metadata(deadline))

    def health(
        self,
        model: str | None = None,
        version: _types.Version = None,
        *,
        timeout: float | None = None,
    ) -> bool:
        """Return whether the server, or one model, is ready to answer.

        Asks ServerReady or ModelReady, which every server of the protocol has; not all of them
        have `grpc.health.v1`. A server that cannot be reached raises an error.
        """
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.health(model, version, deadline))

    def wait_ready(
        self,
        model: str | None = None,
        version: _types.Version = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Wait until the server, or one model, is ready to answer.

        A server that is not there yet, and a model that it does not know yet, are waited for.

        Raises:
            DeadlineExceededError: It was not ready in time; the message says what it lacked.
        """
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.wait_ready(model, version, deadline))

    def statistics(
        self, model: str = "", version: _types.Version = None, *, timeout: float | None = None
    ) -> _types.ModelStatisticsResponse:
        """Return the server's counters of a model, or of all models.

        Raises:
            UnsupportedError: The server does not count (statistics are a Triton extension).
        """
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.statistics(model, version, deadline))

    def models(self, *, timeout: float | None = None) -> _types.RepositoryIndexResponse:
        """Return the models of the server's repository, with their versions and states.

        Raises:
            UnsupportedError: The server has no such index.
        """
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.models(deadline))

    def load(self, model: str, *, timeout: float | None = None) -> None:
        """Have the server load a model, or load it anew, and wait until it is there.

        Raises:
            RemoteError: Among others where the server takes no such orders (UNAVAILABLE of Triton,
                PERMISSION_DENIED or FAILED_PRECONDITION elsewhere).
        """
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.load(model, deadline))

    def unload(self, model: str, *, timeout: float | None = None) -> None:
        """Have the server unload a model.

        Raises:
            RemoteError: As for `load`.
        """
        threads = self._threads
        deadline = threads.conversations.begin(timeout)
        return threads.run(threads.conversations.unload(model, deadline))

    def close(self) -> None:
        """Close the connections; calls in flight end with CallCancelledError."""
        self._threads.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
