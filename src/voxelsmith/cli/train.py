"""``voxelsmith train``: train a network into a run folder, and go on with it later."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from voxelsmith.cli.common import Device, DeviceOption, JsonOption, QuietOption, emit, progress_bar
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Cancelled, Job, Progress
from voxelsmith.jobs.local import Finished, run_here
from voxelsmith.train.ranks import ranks

if TYPE_CHECKING:
    from torch import Tensor

    from voxelsmith.train.history import History
    from voxelsmith.train.loop import Recipe, Settings

T = TypeVar("T")

app = typer.Typer(help="Train a network into a run folder, and go on with it later.", rich_markup_mode=None)


OutOption: TypeAlias = Annotated[Path, typer.Option(help="Run folder: checkpoint.pt and history.jsonl.")]
StepsOption: TypeAlias = Annotated[int | None, typer.Option(help="Optimiser steps in all.")]
MaxSecondsOption: TypeAlias = Annotated[float | None, typer.Option(help="Stop after this time, to be resumed.")]
ResumeOption: TypeAlias = Annotated[bool, typer.Option("--resume", help="Go on with the training in the run folder.")]
SeedOption: TypeAlias = Annotated[int, typer.Option(help="Fixes everything random.")]
WorkersOption: TypeAlias = Annotated[int | None, typer.Option(help="Processes that build samples; 0 for none.")]


class PairSimilarity(StrEnum):
    """Choices of ``--similarity``."""

    lncc = "lncc"
    mse = "mse"


class FewShotMethod(StrEnum):
    """Choices of ``--method``."""

    prototype = "prototype"
    senet = "senet"
    film = "film"


class QueryLayout(StrEnum):
    """Choices of ``--query-layout``."""

    aligned = "aligned"
    official = "official"


@app.command("promptable")
def promptable(
    out: OutOption,
    data: Annotated[Path | None, typer.Option(help="Folder of volumes to learn from besides the made-up ones.")] = None,
    split: Annotated[
        Path | None, typer.Option(help="TOML file that lists the volumes (default: those of the shipped network).")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Run folder of an earlier training to start from, or 'shipped'.")
    ] = None,
    steps: StepsOption = None,
    max_seconds: MaxSecondsOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the network that turns prompts into masks."""
    from voxelsmith.train import promptable as trainer
    from voxelsmith.weights import save

    settings = trainer.settings(**_chosen(steps, max_seconds, workers, device, seed))
    recipe = trainer.recipe(data, seed, split=split, start=start)
    _run(recipe, settings, out, save, resume=resume, quiet=quiet, as_json=as_json)


@app.command("segvol")
def segvol(
    out: OutOption,
    split: Annotated[Path | None, typer.Option(help="TOML file that lists the volumes.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that the paths of the split are relative to.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Instead: folder with images and labels, or NAME_image and NAME_label files.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="What a label is called, as LABEL=WORD; may be given several times.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="File of weights or run folder to start from (default: the installed weights).")
    ] = None,
    decoder_only: Annotated[
        bool, typer.Option("--decoder-only", help="Leave the image encoder as it is; several times as fast.")
    ] = False,
    steps: StepsOption = None,
    max_seconds: MaxSecondsOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune SegVol on annotated volumes; in earnest, that takes a GPU."""
    from voxelsmith.train import segvol as trainer

    settings = trainer.settings(**_chosen(steps, max_seconds, workers, device, seed))
    recipe = trainer.recipe(
        data, seed, split=split, pairs=pairs, names=_names(name or []), start=start, decoder_only=decoder_only
    )
    _run(recipe, settings, out, recipe.save, resume=resume, quiet=quiet, as_json=as_json)


@app.command("hvit")
def hvit(
    out: OutOption,
    data: Annotated[Path | None, typer.Option(help="Folder that the paths of the split are relative to.")] = None,
    split: Annotated[Path | None, typer.Option(help="TOML file that lists the volumes.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Instead: folder with images and labels, or NAME_image and NAME_label files.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="File of weights or run folder to start from (default: random weights).")
    ] = None,
    similarity: Annotated[
        PairSimilarity, typer.Option(help="Correlation in windows, or mean squared difference.")
    ] = PairSimilarity.lncc,
    smoothness: Annotated[float, typer.Option(help="Weight of the diffusion regulariser.")] = 1.0,
    dice_weight: Annotated[float, typer.Option(help="Weight of the overlap of labels; 0 leaves them out.")] = 1.0,
    velocity: Annotated[
        bool, typer.Option("--velocity/--displacement", help="Predict a velocity, which does not fold, or a shift.")
    ] = True,
    light: Annotated[
        bool, typer.Option("--light/--full", help="Attend to coarse maps as they are, or as they were refined.")
    ] = True,
    query_layout: Annotated[
        QueryLayout, typer.Option(help="Whom coarse maps ask: the windows that they enclose, or as published.")
    ] = QueryLayout.aligned,
    steps: StepsOption = None,
    max_seconds: MaxSecondsOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train H-ViT, which registers two images by looking at them once."""
    from voxelsmith.train import hvit as trainer

    settings = trainer.settings(
        **_chosen(steps, max_seconds, workers, device, seed),
        similarity=similarity.value,
        smoothness=smoothness,
        dice_weight=dice_weight,
        architecture=trainer.variant(velocity=velocity, light=light, query_layout=query_layout.value),
    )
    recipe = trainer.recipe(settings, data, split=split, pairs=pairs, start=start)
    _run(recipe, settings, out, recipe.save, resume=resume, quiet=quiet, as_json=as_json)


@app.command("episodes")
def episodes(
    out: OutOption,
    data: Annotated[Path | None, typer.Option(help="Folder that the paths of the split are relative to.")] = None,
    split: Annotated[Path | None, typer.Option(help="TOML file that lists the volumes.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Instead: folder with images and labels, or NAME_image and NAME_label files.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Instead: folder of volumes to adapt to, without labels.")] = None,
    method: Annotated[
        FewShotMethod, typer.Option(help="Encoder of prototypes, or a conditional network: SE-Net or FiLM.")
    ] = FewShotMethod.prototype,
    start: Annotated[
        Path | None,
        typer.Option(help="File of weights or run folder to start from (default: ImageNet or random ones)."),
    ] = None,
    side: Annotated[int | None, typer.Option(help="Pixels of the longer side of a slice, a multiple of 16.")] = None,
    steps: StepsOption = None,
    max_seconds: MaxSecondsOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a few-shot network on episodes, made of volumes with or without labels."""
    from voxelsmith.train import fewshot as trainer

    sized = {} if side is None else {"side": side}
    settings = trainer.settings(method.value, **_chosen(steps, max_seconds, workers, device, seed), **sized)
    recipe = trainer.recipe(settings, data, split=split, pairs=pairs, images=images, start=start)
    _run(recipe, settings, out, recipe.save, resume=resume, quiet=quiet, as_json=as_json)


def _chosen(
    steps: int | None, max_seconds: float | None, workers: int | None, device: Device, seed: int
) -> dict[str, str | float]:
    """The settings that were given."""
    given = {"steps": steps, "max_seconds": max_seconds, "workers": workers, "device": device.value, "seed": seed}
    return {name: value for name, value in given.items() if value is not None}


def _names(given: list[str]) -> dict[int, str]:
    names = {}
    for each in given:
        label, _, word = each.partition("=")
        if not (label.isdecimal() and int(label) and word.strip()):
            raise InputError(f"A name is LABEL=WORD, such as 1=liver, got {each!r}; labels are whole numbers above 0.")
        names[int(label)] = word.strip()
    return names


def _run(
    recipe: Recipe,
    settings: Settings,
    out: Path,
    save: Callable[[Mapping[str, Tensor], Path, Mapping[str, str]], None],
    *,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from voxelsmith.train.loop import train

    done = drive(train(recipe, settings, out, resume=resume), settings.steps, quiet=quiet or as_json)
    if not ranks().first:
        return
    history = done.result
    tell(out, _write_weights(out, history, save), history, done.seconds, {}, quiet=quiet, as_json=as_json)


def drive(job: Job[T], steps: int, *, quiet: bool) -> Finished[T]:
    """Drive a training until it is done, or until a signal asks it to stop, which is said and is status 1.

    Of several processes that train together, the first one speaks.
    """
    latest, speaks = Progress(0, steps), ranks().first
    with _stop_requests() as stop, progress_bar("Training", quiet=quiet or not speaks) as show:

        def report(progress: Progress) -> bool:
            nonlocal latest
            latest = progress
            show(progress)
            return not stop.is_set()

        try:
            return run_here(job, title="Training", on_progress=report)
        except Cancelled:
            if speaks:
                again = "the same command with --resume goes on"
                print(f"voxelsmith: Stopped at step {latest.done} of {latest.total}; {again}.", file=sys.stderr)
            raise typer.Exit(1) from None


def tell(
    out: Path,
    weights: Path,
    history: History,
    seconds: float,
    more: Mapping[str, Any],
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Print what came of a training, with ``more`` in the JSON object."""
    last = history.rows[-1] if history.rows else None
    record = {
        "out": str(out),
        "weights": str(weights),
        "step": history.step,
        "steps": history.steps,
        "finished": history.finished,
        "losses": {} if last is None else last.losses,
        "best_score": history.best_score,
        "best_step": history.best_step,
        "seconds": seconds,
        **more,
    }
    score = "" if history.best_score is None else f", best score {history.best_score:.4f} at step {history.best_step}"
    after = "" if history.finished else "; --resume goes on"
    text = f"{out}: step {history.step} of {history.steps}{score}, {seconds:.0f} s{after}"
    emit(record, text, quiet=quiet, as_json=as_json)


def _write_weights(
    out: Path, history: History, save: Callable[[Mapping[str, Tensor], Path, Mapping[str, str]], None]
) -> Path:
    """The best weights so far, or the last ones before the first validation, as a file that can be handed on."""
    from voxelsmith.train.checkpoint import export

    best = history.best_score is not None
    step = history.best_step if best else history.step
    path = out / "weights.safetensors"
    save(export(out, best=best), path, {"step": str(step), "steps": str(history.steps)})
    return path


@contextmanager
def _stop_requests() -> Iterator[Event]:
    """Ctrl+C and the termination signal become a wish that is granted between two steps; the second one is harder."""
    wish = Event()

    def note(number: int, frame: FrameType | None) -> None:
        wish.set()
        signal.signal(number, earlier[number])

    earlier = {int(number): signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
