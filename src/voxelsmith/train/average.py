"""The average of the weights along a training, which predicts better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a model's parameters; its buffers are not averaged.

    Parameters
    ----------
    model
        The model in training, already on its device.
    decay
        Share of the average that one update keeps, reached gradually; 0 for no average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self._averaged = dict(model.named_parameters()) if decay else {}
        self._average = self._copies()

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the parameters after a step, counted from 0, into the average.

        Early steps keep less of the average, (1 + step) / (10 + step), so that it forgets where the training began.
        """
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._averaged.items():
            self._average[name].lerp_(parameter, 1 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with the average inside the block and has its own parameters back after it."""
        own = self._copies()
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    def weights(self) -> dict[str, Tensor]:
        """The model's state with averaged parameters, as copies on the CPU."""
        with self.applied():
            return {name: value.detach().cpu().clone().contiguous() for name, value in self.model.state_dict().items()}

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`weights` gave."""
        for name, average in self._average.items():
            average.copy_(weights[name])

    def _copies(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self._averaged.items()}

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._averaged[name].copy_(value)
