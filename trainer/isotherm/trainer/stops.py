"""The rows that decide when to stop: a tenth of those that a copy may look at, and not learned."""

from __future__ import annotations

from typing import Final

import numpy as np

from isotherm.trainer.folds import Masks
from isotherm.trainer.splits import Keys, Split

_SHARE: Final = 0.1


def choose(learned: Masks, split: Split, seed: int) -> Masks:
    """Return the rows that decide when each copy stops, shape (copies, rows).

    They are chosen by the rule by which rows are left out: at random the same ones for all copies;
    by time the last ones, and by group whole groups, of those that the copy may look at.

    Args:
        learned: shape (copies, rows), what each copy may look at.
        split: of the table.
        seed: of the choice.
    """
    rows = learned.shape[1]
    rng = np.random.default_rng(seed)
    if split.kind == "random":
        chosen = np.zeros(rows, dtype=np.bool_)
        chosen[rng.permutation(rows)[: int(rows * _SHARE)]] = True
        return learned & chosen
    # The last time first; or the groups in any order.
    last = int(split.keys.max())
    ranks = last - split.keys if split.kind == "time" else rng.permutation(last + 1)[split.keys]
    alone = rng.permutation(rows)
    return np.stack([_first(ranks, one, alone) for one in learned])


def _first(ranks: Keys, among: Masks, alone: Keys) -> Masks:
    """Choose the lowest ranks until a tenth of the rows have them; at least one, never all.

    Where all rows are of one rank, they are chosen one by one, in the order of `alone`.
    """
    if len(np.unique(ranks[among])) == 1:
        ranks = alone
    found, counts = np.unique(ranks[among], return_counts=True)
    enough = int(np.searchsorted(np.cumsum(counts), among.sum() * _SHARE)) + 1
    return among & np.isin(ranks, found[: min(enough, len(found) - 1)])
