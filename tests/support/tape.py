"""A recorder in the host's memory: what a CUDA graph is to a device, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from isotherm.trainer.recorder import Tensors

# Operations whose result the host must have before it goes on.
_WAITS: Final = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.equal")


class Watch(TorchDispatchMode):
    """Sees every operation; refuses those that wait for the device."""

    def __init__(self, *, forgiving: bool = False) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, dict[str, Any], Any]] = []
        self.waits: list[str] = []
        self._forgiving = forgiving

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Do the operation, and note it."""
        name = str(function)
        if name.startswith(_WAITS):
            self.waits.append(name)
            if not self._forgiving:
                msg = f"called a synchronizing CUDA operation ({name})"
                raise RuntimeError(msg)
        result = function(*args, **(kwargs or {}))
        if not name.startswith("profiler."):
            self.operations.append((function, args, kwargs or {}, result))
        return result


class Tape:
    """Replays the recorded operations on the very tensors that they were recorded with.

    As with a graph, Python does not run again, numbers of the host stay as they were, and results
    are not there before the first replay.
    """

    def __init__(
        self, *, fast: bool = True, without: int | None = None, frozen: bool = False
    ) -> None:
        """`fast`: replaying is timed as faster; `without`: this operation gets lost.

        `frozen`: the learning rate is what it was while it was recorded.
        """
        self.replays = 0
        self.recordings = 0
        self.names: list[str] = []
        self.inside = False
        self._fast = fast
        self._without = without
        self._frozen = frozen

    @contextmanager
    def working(self) -> Iterator[None]:
        """Note whether a training is going on."""
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Refuse what waits."""
        with Watch():
            yield

    def record(self, work: Callable[[], Tensors]) -> tuple[Callable[[], None], Tensors]:
        """Write the operations of the work down."""
        assert self.inside, "recorded outside of `working`"
        self.recordings += 1
        with Watch() as seen:
            results = work()
        operations = list(enumerate(seen.operations))
        for _, (_, _, kwargs, _) in operations if self._frozen else ():
            kwargs.update({"lr": kwargs["lr"].clone()} if "lr" in kwargs else {})
        self.names = [str(function) for _, (function, *_) in operations]
        for result in results:
            result.fill_(torch.nan)

        def replay() -> None:
            assert self.inside, "replayed outside of `working`"
            self.replays += 1
            for index, operation in operations:
                if index != self._without:
                    _again(*operation)

        return replay, results

    def seconds(self, work: Callable[[], object]) -> float:
        """Say 2 s of work, 1 s of it where it is replayed; or the other way round."""
        before = self.replays
        work()
        return 1.0 if (self.replays > before) is self._fast else 2.0


@torch.no_grad()
def _again(function: Any, args: Any, kwargs: dict[str, Any], noted: Any) -> None:
    result = function(*args, **kwargs)
    for ours, new in zip(tree_leaves(noted), tree_leaves(result), strict=True):
        # A view, or what was changed in place, is there already.
        if isinstance(ours, Tensor) and _place(ours) != _place(new):
            ours.copy_(new)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
