"""Tensors of every datatype and shape, for the tests by property."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isotherm.v1.tensors import DTYPES, Array

# Without BYTES and BF16, whose elements are not on the wire as they are in an array.
NUMERIC = tuple(name for name in DTYPES if name not in {"BYTES", "BF16"})

# Machines that do other things as well are slow at times.
forty_examples = settings(max_examples=40)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn, datatypes: tuple[str, ...] = tuple(DTYPES)) -> tuple[str, str, Array]:
    """A name, a datatype, and an array of any bits."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(shapes)
    return draw(names), datatype, draw(arrays(datatype, shape))


def arrays(datatype: str, shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Arrays of a datatype: texts, or any bits."""
    count = int(np.prod(shape, dtype=int))
    if datatype == "BYTES":
        elements = st.lists(st.binary(max_size=6), min_size=count, max_size=count)
        return elements.map(lambda values: _objects(values).reshape(shape))
    if datatype == "BF16":
        bits = st.binary(min_size=2 * count, max_size=2 * count)
        return bits.map(
            lambda raw: (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
        )
    dtype = DTYPES[datatype]
    size = count * dtype.itemsize
    bits = st.binary(min_size=size, max_size=size)
    if datatype == "BOOL":
        bits = bits.map(lambda raw: bytes(byte & 1 for byte in raw))
    return bits.map(lambda raw: np.frombuffer(raw, dtype).reshape(shape))


def _objects(values: list[Any]) -> Array:
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array
