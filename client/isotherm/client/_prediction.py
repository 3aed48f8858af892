"""A prediction: the arrays that a model with several outputs answered."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from isotherm.v1.tensors import Array


class Place(NamedTuple):
    """Where an output's elements lie in a message: numpy's type, first byte, end, shape."""

    dtype: np.dtype[Any]
    start: int
    stop: int
    shape: tuple[int, ...]

    def array(self, data: bytes) -> Array:
        """Return the elements as a read-only array."""
        # A slice is a copy, which is aligned; within the message the elements are not.
        return np.ndarray(self.shape, self.dtype, data[self.start : self.stop])


class Source(Protocol):
    """Where the outputs of a prediction are made from, each when it is asked for."""

    @property
    def names(self) -> Collection[str]:
        """The outputs, in order."""
        ...

    def array(self, name: str) -> Array:
        """Return one of them; raise KeyError where there is none of that name."""
        ...


class Prediction(Mapping[str, Array]):
    """A model's outputs by name: `prediction["lower"]`, or `prediction.lower` for short.

    The names of a mapping's own methods (`keys`, `items` ...) need the brackets. The arrays are
    read-only views on the received message: copy one to write to it.
    """

    __slots__ = ("_arrays", "_source")

    def __init__(self, arrays: Mapping[str, Array], source: Source | None = None) -> None:
        """With a `source`, arrays are made when they are asked for."""
        self._arrays = dict(arrays)
        self._source = source

    def __getitem__(self, name: str) -> Array:
        array = self._arrays.get(name)
        if array is None:
            if self._source is None:
                raise KeyError(name)
            array = self._arrays[name] = self._source.array(name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays if self._source is None else self._source.names)

    def __len__(self) -> int:
        return len(self._arrays if self._source is None else self._source.names)

    def __getattr__(self, name: str) -> Array:
        # Copying asks a half-made object for its attributes; its own are not there yet.
        names = [] if name.startswith("__") or name in Prediction.__slots__ else list(self)
        if name not in names:
            msg = f"the prediction has no output '{name}', only {', '.join(names) or 'none'}"
            raise AttributeError(msg)
        return self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={array.shape}" for name, array in self.items())
        return f"<Prediction {shapes}>"


class Lying:
    """Outputs that lie in a message."""

    __slots__ = ("_data", "_places")

    def __init__(self, places: Mapping[str, Place], data: bytes) -> None:
        self._places = places
        self._data = data

    @property
    def names(self) -> Collection[str]:
        """The outputs, in order."""
        return self._places.keys()

    def array(self, name: str) -> Array:
        """Return one of them; raise KeyError where there is none of that name."""
        return self._places[name].array(self._data)


class Rows:
    """Some rows of another prediction."""

    __slots__ = ("_prediction", "_start", "_stop")

    def __init__(self, prediction: Prediction, start: int, stop: int) -> None:
        self._prediction = prediction
        self._start = start
        self._stop = stop

    @property
    def names(self) -> Collection[str]:
        """The outputs, in order."""
        return self._prediction

    def array(self, name: str) -> Array:
        """Return one of them; raise KeyError where there is none of that name."""
        return self._prediction[name][self._start : self._stop]
