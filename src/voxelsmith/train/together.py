"""One training in several processes: their group, the gradients that they average, and what they decide together.

Owns torch's DistributedDataParallel around the loss of a recipe. A process by itself is a group of one: nothing is
wrapped and nothing is sent.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from voxelsmith.core.errors import InputError
from voxelsmith.train.ranks import ranks

Loss: TypeAlias = Callable[..., dict[str, Tensor]]


class Together:
    """What one process does with the others.

    Parameters
    ----------
    device
        Where it computes: processes on CUDA talk by NCCL, others by gloo.

    Attributes
    ----------
    ranks : Ranks
        Which process this is.
    device : torch.device
        With several processes on CUDA, the GPU of this one.

    Raises
    ------
    InputError
        If the environment is not torchrun's, or a process has no GPU of its own.
    """

    def __init__(self, device: torch.device) -> None:
        self.ranks, self.device = ranks(), device
        self._parallel: DistributedDataParallel | None = None
        if self.ranks.count == 1:
            return
        if device.type == "cuda":
            if self.ranks.local >= torch.cuda.device_count():
                raise InputError(
                    f"Each process takes a GPU of its own, but this machine has {torch.cuda.device_count()}; tell "
                    "torchrun to start no more processes than that, or choose the device cpu."
                )
            self.device = torch.device("cuda", self.ranks.local)
            torch.cuda.set_device(self.device)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
            # One group for the life of the process: the next would meet what the last one left with torchrun.
            atexit.register(distributed.destroy_process_group)

    def sharing(self, model: nn.Module, loss: Loss) -> Loss:
        """A loss whose gradients are averaged over the processes, and whose model begins as that of the first one."""
        if self.ranks.count == 1:
            return loss
        # The loss decides which parts of the model it asks, so some may have no gradient in a step.
        self._parallel = DistributedDataParallel(_Asked(model, loss), find_unused_parameters=True)
        return self._parallel

    def passes(self, *, last: bool) -> AbstractContextManager[None]:
        """Around each pass of a step; gradients are averaged in the last one."""
        if self._parallel is None or last:
            return nullcontext()
        quiet: AbstractContextManager[None] = self._parallel.no_sync()
        return quiet

    def any(self, here: bool) -> bool:
        """Whether something is so in any of the processes; each of them must ask."""
        if self.ranks.count == 1:
            return here
        flag = torch.tensor(int(here), device=self.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)


class _Asked(nn.Module):
    """A model behind its loss, as the parallel wrapper wants it: the loss may ask any part of the model."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, sample: Any, rng: Any) -> dict[str, Tensor]:
        """The terms; only "loss" can be descended."""
        terms = self._loss(sample, rng)
        return {name: term if name == "loss" else term.detach() for name, term in terms.items()}
