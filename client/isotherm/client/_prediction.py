"""A prediction: the arrays that a model with several outputs answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
        # Copying asks a half-made object for its attributes; `_arrays` is not there yet.
        arrays = {} if name.startswith("__") or name == "_arrays" else self._arrays
        if name not in arrays:
            msg = f"the prediction has no output '{name}', only {', '.join(arrays) or 'none'}"
            raise AttributeError(msg)
        return arrays[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._arrays]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={array.shape}" for name, array in self._arrays.items())
        return f"<Prediction {shapes}>"
