"""A prediction: the arrays that a model with several outputs answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from isotherm.v1.tensors import Array


class Prediction(Mapping[str, Array]):
    """A model's outputs by name: `prediction["lower"]`, or `prediction.lower` for short.

    The names of a mapping's own methods (`keys`, `items` ...) need the brackets. The arrays are
    read-only views on the received message: copy one to write to it.
    """

    __slots__ = ("_arrays",)

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __getattr__(self, name: str) -> Array:
        # Copying asks a half-made object for its attributes; its own are not there yet.
        names = [] if name.startswith("__") or name in _OWN else list(self)
        if name not in names:
            msg = f"the prediction has no output '{name}', only {', '.join(names) or 'none'}"
            raise AttributeError(msg)
        return self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={array.shape}" for name, array in self.items())
        return f"<Prediction {shapes}>"


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


class Lying(Prediction):
    """Outputs that lie in a message, and are made into arrays when they are asked for."""

    __slots__ = ("_data", "_places")

    def __init__(self, places: Mapping[str, Place], data: bytes) -> None:
        super().__init__({})
        self._places = places
        self._data = data

    def __getitem__(self, name: str) -> Array:
        array = self._arrays.get(name)
        if array is None:
            array = self._arrays[name] = self._places[name].array(self._data)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Part(Prediction):
    """Some rows of another prediction, cut out when they are asked for."""

    __slots__ = ("_start", "_stop", "_whole")

    def __init__(self, whole: Prediction, start: int, stop: int) -> None:
        self._whole = whole
        self._start = start
        self._stop = stop

    def __getitem__(self, name: str) -> Array:
        return self._whole[name][self._start : self._stop]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


_OWN = frozenset({*Prediction.__slots__, *Lying.__slots__, *Part.__slots__})
