"""Ranks: the processes that torchrun starts to train one network, as its environment tells each of them.

Owns the reading of that environment, which needs no torch. What the processes do together is in
:mod:`voxelsmith.train.together`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from voxelsmith.core.errors import InputError

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True)
class Ranks:
    """One process among those that train together.

    Parameters
    ----------
    rank
        Which one it is, from 0.
    count
        How many they are.
    local
        Which one on its machine, from 0; it takes the GPU of this number.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and messages."""
        return self.rank == 0


def ranks() -> Ranks:
    """This process among the others; it is alone if torchrun did not start it.

    Raises
    ------
    InputError
        If the environment says what torchrun does not say.
    """
    told = [os.environ.get(name) for name in _VARIABLES]
    if told[1] is None:
        return Ranks()
    try:
        rank, count, local = (int(value) for value in told if value is not None)
        if 0 <= rank < count and 0 <= local < count:
            return Ranks(rank, count, local)
    except ValueError:
        pass
    said = ", ".join(f"{name}={value}" for name, value in zip(_VARIABLES, told, strict=True))
    raise InputError(
        f"torchrun tells each process which one it is, but the environment says {said}; start the command with "
        "torchrun, or unset these variables."
    )
