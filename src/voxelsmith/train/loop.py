"""The loop that every trainer shares: steps, validation, checkpoints and history, as a job that can be stopped.

Owns :func:`train` and what it asks of a trainer, the :class:`Recipe`. Everything random is drawn from the seed and the
step, in the loop as in the dataset, so a training that was stopped and resumed equals one that was not; on the CPU in
float32, bit for bit. The global random states of torch are left as they were. Where torchrun started several processes,
each of them learns from samples of its own and the first one writes; see :mod:`voxelsmith.train.together`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from voxelsmith.core.errors import InputError, ResourceError
from voxelsmith.core.progress import Cancelled, Job, Progress
from voxelsmith.models.device import pick_device, to_device, uses_bfloat16
from voxelsmith.train.average import WeightAverage
from voxelsmith.train.checkpoint import Best, Checkpoint, has_checkpoint, load, save
from voxelsmith.train.history import History, HistoryFile, Row, Tally, row_from
from voxelsmith.train.settings import Settings
from voxelsmith.train.stream import stream
from voxelsmith.train.together import Together

__all__ = ["Recipe", "Settings", "train"]

# Keeps the loop's random numbers apart from those that a dataset draws from the same seed.
_STEP, _VALIDATION = 1, 2


class Recipe(Protocol):
    """What one trainer brings.

    The loop moves the model to its device, and the tensors of each sample too; it enters autocast and the modes of the
    model around :meth:`loss` and :meth:`validate`.
    """

    @property
    def model(self) -> nn.Module:
        """The network to train."""

    @property
    def dataset(self) -> Dataset[Any]:
        """Map-style: ``dataset[i]`` is sample i for any i from 0, decided by the recipe's seed and i alone.

        It may be built in another process. Arrays of numpy arrive as tensors.
        """

    def loss(self, sample: Any, rng: np.random.Generator) -> dict[str, Tensor]:
        """Scalar loss terms of one sample; "loss" is descended, the others are logged.

        ``rng`` is decided by the settings' seed and the step; the samples of a step share it in turn.
        """

    def validate(self) -> dict[str, float]:
        """Measures on a set that is always the same; "score" is the one that is better when higher."""


def train(
    recipe: Recipe,
    settings: Settings,
    out: Path | str,
    *,
    resume: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Job[History]:
    """Train a model.

    The job reports after each step, with the latest row of the history. Closed between two reports, it leaves a
    checkpoint of the step that it had reached; so does the time limit.

    Parameters
    ----------
    recipe
        Model, data, loss and validation; the model is changed in place and ends with its own, not averaged, weights.
    settings
        How long, how fast and where.
    out
        Run folder, made if absent: ``checkpoint.pt`` and ``history.jsonl``.
        :func:`voxelsmith.train.checkpoint.export` takes the weights from it.
    resume
        Go on with the training in ``out``; a folder without one begins a new training.
    about
        Plain values that travel in the checkpoint; read anew for each, so they may change on the way.

    Returns
    -------
    History
        Rows, steps done, and the best validation. With several processes, losses and rates are those of each one's
        own samples.

    Raises
    ------
    InputError
        If ``out`` holds a training and ``resume`` is not set; if a resumed training has other settings or another
        model; if the loss was not finite for too many steps in a row; if the device is not there, or several processes
        have not a GPU each.
    FormatError
        If the checkpoint is damaged.
    ResourceError
        If ``out`` cannot be written.
    """
    started = time.monotonic()
    folder = _run_folder(Path(out), resume)
    run = _Run(recipe, settings, {} if about is None else about)
    if has_checkpoint(folder):
        run.restore(load(folder))
    together = run.together
    log = HistoryFile(folder, run.rows) if together.ranks.first else None
    saved = run.step
    yield run.progress("Starting")
    samples = stream(recipe.dataset, settings, run.step, run.device, together.ranks)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - settings.workers))
    late = False
    try:
        # The processes leave together: one that went on alone would wait for the others forever.
        while run.step < settings.steps and not together.any(late):
            run.advance(samples)
            row = run.measure()
            if row is not None and log is not None:
                log.append(row)
            if run.due(settings.checkpoint_every):
                saved = run.save(folder)
            yield run.progress("Training")
            late = settings.max_seconds is not None and time.monotonic() - started > settings.max_seconds
    except (GeneratorExit, Cancelled):
        if run.step > saved:
            run.save(folder)
        if run.step < settings.steps:
            together.any(True)
        raise
    finally:
        torch.set_num_threads(threads)
    if run.step > saved:
        run.save(folder)
    return run.history()


def _run_folder(out: Path, resume: bool) -> Path:
    if has_checkpoint(out) and not resume:
        raise InputError(f"{out} already holds a training; resume it, or choose another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"The folder {out} cannot be made ({error.strerror}); choose another place.") from error
    return out


class _Run:
    """A training between two steps, and how it gets from one to the next."""

    def __init__(self, recipe: Recipe, settings: Settings, about: Mapping[str, Any]) -> None:
        self.recipe, self.settings, self.about = recipe, settings, about
        self.together = Together(pick_device(settings.device))
        self.device = self.together.device
        self.bfloat16 = uses_bfloat16(settings.precision, self.device)
        # oneDNN compiles convolutions for each shape of window; its own 1024 places are taken by a dozen shapes.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
        self.model = recipe.model.to(self.device)
        if settings.channels_last:
            for weight in self.model.parameters():
                if weight.ndim == 5:
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
        self.optimiser = _optimiser(self.model, settings)
        self.average = WeightAverage(self.model, settings.average)
        self.loss = self.together.sharing(self.model, recipe.loss)
        self.step = 0
        self.seconds = 0.0
        self.non_finite = 0
        self.best: Best | None = None
        self.rows: list[Row] = []
        self.tally = Tally()

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps happens now."""
        return self.step % every == 0 or self.step == self.settings.steps

    def advance(self, samples: Iterator[Any]) -> None:
        """One optimiser step."""
        settings, began, waited = self.settings, time.perf_counter(), 0.0
        rate = settings.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        self.model.train()
        losses = []
        with self._seeded(_STEP, self.together.ranks.rank) as rng:
            for number in range(settings.accumulate):
                clock = time.perf_counter()
                sample = next(samples)
                waited += time.perf_counter() - clock
                with self.together.passes(last=number == settings.accumulate - 1):
                    with self._autocast():
                        terms = self.loss(to_device(sample, self.device, channels_last=settings.channels_last), rng)
                    torch.autograd.backward(terms["loss"] / settings.accumulate)
                losses.append({name: term.detach() for name, term in terms.items()})
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip or torch.inf)
        values = [{name: float(term) for name, term in terms.items()} for terms in losses]
        finite = bool(torch.isfinite(norm)) and all(np.isfinite(terms["loss"]) for terms in values)
        if not self.together.any(not finite):
            self.optimiser.step()
            self.average.update(self.step)
            self.tally.add(values)
            self.non_finite = 0
        else:
            self.tally.skipped += 1
            self.non_finite += 1
        self.step += 1
        self.tally.samples += settings.accumulate
        self._count_time(waited, time.perf_counter() - began - waited)
        if self.non_finite >= settings.non_finite_limit:
            raise InputError(
                f"The loss was not finite for {self.non_finite} steps in a row, up to step {self.step}; "
                "lower the learning rate, compute in float32, or look for damaged data."
            )

    def measure(self) -> Row | None:
        """Validate and make the next row of the history, each if it is due after this step."""
        validation = self._validate() if self.due(self.settings.validate_every) else None
        if validation is None and not self.due(self.settings.log_every):
            return None
        row = self.tally.row(self.step, self.settings.rate(self.step - 1), self.seconds, validation)
        self.tally = Tally()
        self.rows.append(row)
        return row

    def checkpoint(self) -> Checkpoint:
        """The state to go on from."""
        return Checkpoint(
            step=self.step,
            model=self.model.state_dict(),
            optimiser=self.optimiser.state_dict(),
            weights=self.average.weights(),
            best=None if self.best is None else vars(self.best),
            settings=asdict(self.settings),
            rows=[asdict(row) for row in self.rows],
            tally=asdict(self.tally),
            seconds=self.seconds,
            non_finite=self.non_finite,
            about=dict(self.about),
        )

    def save(self, folder: Path) -> int:
        """Write the state, if this is the process that writes; returns its step."""
        if self.together.ranks.first:
            save(self.checkpoint(), folder)
        return self.step

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a state; InputError if it belongs to other settings or another model."""
        self.settings.require_same(checkpoint.settings)
        try:
            self.model.load_state_dict(checkpoint.model)
            self.optimiser.load_state_dict(checkpoint.optimiser)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                "The training was begun with another model than this one; train into another folder."
            ) from error
        self.average.restore(checkpoint.weights)
        self.step, self.seconds, self.non_finite = checkpoint.step, checkpoint.seconds, checkpoint.non_finite
        self.best = None if checkpoint.best is None else Best(**checkpoint.best)
        self.rows = [row_from(row) for row in checkpoint.rows]
        self.tally = Tally(**checkpoint.tally)

    def progress(self, doing: str) -> Progress:
        """The report after a step."""
        latest = self.rows[-1] if self.rows else None
        loss = f", loss {latest.losses['loss']:.4f}" if latest is not None and latest.losses else ""
        message = f"{doing}: step {self.step} of {self.settings.steps}{loss}"
        return Progress(self.step, self.settings.steps, message, latest)

    def history(self) -> History:
        """What the job returns."""
        score, step = (None, None) if self.best is None else (self.best.score, self.best.step)
        return History(tuple(self.rows), self.step, self.settings.steps, score, step)

    def _validate(self) -> dict[str, float]:
        began = time.perf_counter()
        self.model.eval()
        with torch.no_grad(), self.average.applied(), self._autocast(), self._seeded(_VALIDATION):
            measures = {name: float(value) for name, value in self.recipe.validate().items()}
        # A score that is not a number is never the best.
        if measures["score"] > (-np.inf if self.best is None else self.best.score):
            self.best = Best(measures["score"], self.step, self.average.weights())
        self.seconds += time.perf_counter() - began
        return measures

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    @contextmanager
    def _seeded(self, purpose: int, rank: int = 0) -> Iterator[np.random.Generator]:
        """A generator for this step and rank, and torch's global ones seeded by it inside the block."""
        rng = np.random.default_rng((self.settings.seed, self.step, purpose, *([rank] if rank else ())))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(rng.integers(2**63)))
            yield rng

    def _count_time(self, data: float, network: float) -> None:
        self.tally.data_seconds += data
        self.tally.network_seconds += network
        self.seconds += data + network


def _optimiser(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW; vectors, which are biases and normalisation, do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)
