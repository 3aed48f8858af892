"""Batches of rows asked for, several at a time; the row that a refusal is about is found."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import cast

import numpy as np

from isotherm.client._errors import InvalidInputError
from isotherm.client._inputs import Inputs
from isotherm.client._prediction import Prediction
from isotherm.client._sync import Client
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Model
from isotherm.client.cli.rows import Batch
from isotherm.v1.tensors import Array

Answer = Array | Prediction
Answered = tuple[Batch, Answer]


class Asking:
    """Asks a server for the predictions of one model.

    Args:
        client: Calls the server; its timeout is that of each batch.
        model: The model.
        version: Its version; the server's choice if there is none.
    """

    def __init__(self, client: Client, model: Model, version: int | None) -> None:
        self._client = client
        self._model = model
        self._version = version

    def answers(self, batches: Iterable[Batch]) -> Generator[Answered, None, None]:
        """Yield each batch with its answer, in their order.

        Of a batch with a row that is refused, the rows before that one are answered.

        Raises:
            Failure: A row was refused, or could not be read; what lay before it was answered.
            IsothermError: The call failed for another reason.
        """
        source = _Source(batches)
        while not source.ended:
            try:
                yield from self._streamed(source)
            except InvalidInputError as error:
                if not source.waiting:
                    raise
                yield from self._one_by_one(source.waiting, error)
        if source.failure is not None:
            raise source.failure

    def _streamed(self, source: _Source) -> Iterator[Answered]:
        inputs = (_as_input(self._model, batch) for batch in source)
        name, version = self._model.name, self._version
        for answer in self._client.predict_stream(name, inputs, version=version):
            yield source.waiting.popleft(), answer

    def _one_by_one(self, batches: deque[Batch], error: InvalidInputError) -> Iterator[Answered]:
        """Answer the batches that were under way when one of them was refused."""
        while batches:
            batch = batches.popleft()
            answer = self._ask(batch)
            if isinstance(answer, InvalidInputError):
                yield from self._before_the_culprit(batch, answer)
            else:
                yield batch, answer

    def _before_the_culprit(self, batch: Batch, error: InvalidInputError) -> Iterator[Answered]:
        """Answer the rows of a refused batch up to the one that is refused by itself."""
        start, stop = 0, len(batch)
        while start < stop:
            middle = (start + stop + 1) // 2
            part = batch.part(start, middle)
            answer = self._ask(part)
            if not isinstance(answer, InvalidInputError):
                yield part, answer
                start = middle
            elif len(part) == 1:
                msg = f"{batch.place(start)}: {answer}"
                raise Failure(msg) from answer
            else:
                stop = middle
        # Each of the rows was taken, with fewer others.
        msg = f"{error}; {len(batch)} rows at once were refused, fewer were not: lower --batch-rows"
        raise Failure(msg) from error

    def _ask(self, batch: Batch) -> Answer | InvalidInputError:
        rows = _as_input(self._model, batch)
        try:
            return self._client.predict(self._model.name, rows, version=self._version)
        except InvalidInputError as error:
            return error


class _Source:
    """Batches on their way: those that were handed out and have no answer, and how they ended."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)
        self.waiting: deque[Batch] = deque()
        self.ended = False
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        try:
            batch = next(self._batches)
        except StopIteration:
            self.ended = True
            raise
        except (Failure, OSError) as failure:
            # What was read before it is to be answered first.
            self.ended, self.failure = True, failure
            raise StopIteration from None
        self.waiting.append(batch)
        return batch


def _as_input(model: Model, batch: Batch) -> Inputs:
    """Return rows in a kind that becomes the model's; refused rows are left to the client."""
    rows = batch.rows
    if batch.texts:
        # By name, so that the client looks the codes up again where another version answers.
        columns = {each.name: rows[:, index] for index, each in enumerate(model.features)}
        texts = {model.features[index].name: texts for index, texts in batch.texts.items()}
        return cast("Inputs", columns | texts)
    if model.datatype == "BOOL" and np.isin(rows, (0, 1)).all():
        return rows.astype(bool)
    if model.datatype.startswith(("INT", "UINT")) and (np.floor(rows) == rows).all():
        with np.errstate(invalid="ignore"):
            return rows.astype(np.int64)
    return rows
