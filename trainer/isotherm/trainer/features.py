"""The served module: it speaks raw units and codes, its core sees encoded rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from isotherm.trainer import encoding, restoring
from isotherm.trainer.data import Floats
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.objective import probabilities
from isotherm.trainer.scaling import Scaling
from isotherm.trainer.transform import Transform


class ServedModel(nn.Module):
    """The module that is exported; a tuple of outputs, the prediction first."""

    core: nn.Sequential
    # The names of the outputs in the graph.
    outputs: tuple[str, ...] = ("y",)

    def answers(self, x: Floats) -> Floats:
        """Return the predictions for raw `x` (rows, features) as numpy, shape (rows, columns)."""
        with torch.inference_mode():
            y = self(torch.tensor(x, dtype=torch.float32))[0]
        return np.asarray(y.numpy(), dtype=np.float64)


class EncodedModel(ServedModel):
    """A module whose core sees encoded rows: the arithmetic of `Encoding`, in the graph.

    The scaling stays in float32 Sub and Div instead of being folded into the first layer: folding
    saves four nodes and costs a digit of precision, more where a column's mean is large.
    """

    x_numbers: Tensor
    x_codes: Tensor
    x_indicated: Tensor
    x_mean: Tensor
    x_scale: Tensor
    x_takes: Tensor
    x_missing: Tensor
    x_told: Tensor
    x_sizes: Tensor

    def __init__(self, core: nn.Sequential, inputs: Encoding) -> None:
        super().__init__()
        self.core = core
        columns = inputs.columns
        found = encoding.categories(columns)
        takes, indicated = encoding.flags(columns)
        self._mixed = bool(found) and len(takes) > 0
        self._takes = takes.tolist()
        self._embedded = [bool(column.embedding) for column in found]
        codes = np.array([bool(column.categories) for column in columns])
        for name, places in (
            ("x_numbers", np.flatnonzero(~codes)),
            ("x_codes", np.flatnonzero(codes)),
            ("x_indicated", indicated),
        ):
            self.register_buffer(name, torch.from_numpy(places))
        self.register_buffer("x_takes", torch.tensor(takes))
        self._note("x_mean", inputs.numbers.mean)
        self._note("x_scale", inputs.numbers.scale)
        # A graph holds what it uses: buffers of a block that is left out do not reach the file.
        seen = inputs.missing > 0
        self._note("x_missing", inputs.missing[indicated])
        self._note("x_told", seen[indicated].astype(np.float64))
        self._note("x_sizes", np.array([len(column.categories) for column in found]))
        for index, table in enumerate(inputs.tables()):
            self._note(f"x_values_{index}", table)

    def encoded(self, x: Tensor) -> Tensor:
        """Map raw `x` (batch, features) to what the core sees, (batch, width)."""
        parts = [*self._plain(x), *self._categories(x)]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _plain(self, x: Tensor) -> Iterator[Tensor]:
        if not self._takes:
            return
        if self._mixed:
            x = x.index_select(1, self.x_numbers)
        numbers = (x - self.x_mean) / self.x_scale
        if not any(self._takes):
            yield numbers
            return
        absent = x.isnan()
        taken = absent if all(self._takes) else absent & self.x_takes
        yield torch.where(taken, 0.0, numbers)
        if len(self.x_indicated):
            told = absent.index_select(1, self.x_indicated).to(x.dtype)
            yield (told - self.x_missing) * self.x_told

    def _categories(self, x: Tensor) -> Iterator[Tensor]:
        if not self._embedded:
            return
        codes = x.index_select(1, self.x_codes) if self._mixed else x
        known = (codes >= 0) & (codes < self.x_sizes) & (codes == codes.floor())
        places = torch.where(known, codes, self.x_sizes).long()
        for embedded in (False, True):
            for index, kind in enumerate(self._embedded):
                if kind == embedded:
                    values: Tensor = getattr(self, f"x_values_{index}")
                    yield functional.embedding(places[:, index], values)

    def _note(self, name: str, values: Floats) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.float32))


class Served(EncodedModel):
    """The module of numbers: encode, core, scale out, and an interval around the answer."""

    outputs = ("y", "lower", "upper")

    y_mean: Tensor
    y_scale: Tensor
    half_width: Tensor

    def __init__(
        self,
        core: nn.Sequential,
        *,
        inputs: Encoding,
        outputs: Scaling,
        half_width: Floats,
        transforms: Sequence[Transform] = (),
    ) -> None:
        """Take `transforms`, one a target, where other scales are learned than the targets'."""
        super().__init__(core, inputs)
        self._transforms = tuple(transforms)
        self._note("y_mean", outputs.mean)
        self._note("y_scale", outputs.scale)
        self._note("half_width", half_width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map raw `x` (batch, features) to `y`, `lower` and `upper`, each (batch, targets)."""
        y = self.core(self.encoded(x)) * self.y_scale + self.y_mean
        if not self._transforms:
            return y, y - self.half_width, y + self.half_width
        # Held first, so that the ends stand around the answer that is given.
        y = self._by_column(restoring.held, y)
        ends = y - self.half_width, y + self.half_width
        answer, lower, upper = (self._by_column(restoring.restored, one) for one in (y, *ends))
        return answer, lower, upper

    def _by_column(self, change: Callable[[Transform, Tensor], Tensor], values: Tensor) -> Tensor:
        pairs = enumerate(self._transforms)
        return torch.stack([change(one, values[:, i]) for i, one in pairs], dim=1)


class Classifier(EncodedModel):
    """The module of a label: encode, core, and a probability for each class."""

    def __init__(self, core: nn.Sequential, *, inputs: Encoding) -> None:
        super().__init__(core, inputs)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Map raw `x` (batch, features) to probabilities (batch, classes)."""
        return (probabilities(self.core(self.encoded(x))),)
