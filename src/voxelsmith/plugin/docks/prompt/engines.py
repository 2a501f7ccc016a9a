"""Engines of the dock: what it offers, which one is chosen, and those that are at hand.

Owns the making of engines. One that was made is kept, with the weights that it may have loaded, as long as the dock
lives. The default is made on the spot; any other one may have a library or weights to load, so a job makes it. Networks
that the user trained are offered beside the engines of the table; one that was trained on since is made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, MaskPrompt, Point, Scribble, TextPrompt
from voxelsmith.plugin.docks.prompt.source import Source, load
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import Engine, EngineInfo, engine_info, engine_infos, make_engine
from voxelsmith.train.trained_runs import TrainedRun, load_model, read_trained_run, trained_runs

JOB = "engine"
"""Key of the jobs that make an engine."""
_PROMPT_OF = {"points": Point, "box": Box, "scribbles": Scribble, "mask": MaskPrompt, "word": TextPrompt}


class EngineRack:
    """The engines that a dock can use.

    Parameters
    ----------
    runner
        Runs the jobs that make them.
    given
        One that is there already; it becomes the first choice.

    Attributes
    ----------
    chosen : str
        Name of the engine that the user wants.
    loading : bool
        Whether the chosen one is being made for a session that uses another one meanwhile.
    """

    def __init__(self, runner: JobRunner, given: Engine | None = None) -> None:
        self._runner = runner
        self._made = {} if given is None else {given.name: given}
        others = [info for info in engine_infos() if info.name not in self._made]
        first = [EngineInfo(e.name, e.title, good_at="", licence="", speed="", where="") for e in self._made.values()]
        self._table = first + others
        self._runs: dict[str, TrainedRun] = {}
        self._elsewhere: dict[str, Path] = {}
        self.chosen = self._last = self._table[0].name
        self.loading = False
        self.look()

    @property
    def infos(self) -> list[EngineInfo]:
        """What is offered, the first choice first, trained networks last."""
        return self._table + [_info_of(run) for run in self._runs.values()]

    def look(self) -> None:
        """Look which trained networks there are; those that are chosen or in use stay while the dock lives."""
        found = {_name_of(run.folder): run for run in trained_runs()}
        for name, folder in self._elsewhere.items():
            with suppress(InputError, FormatError):
                found[name] = read_trained_run(folder)
        for name in {self.chosen, self._last} & set(self._runs):
            found.setdefault(name, self._runs[name])
        for name, run in self._runs.items():
            if name in found and found[name].changed != run.changed:
                self._made.pop(name, None)
        self._runs = found

    def add_run(self, folder: Path) -> str:
        """Offer the network of a run folder, wherever it lies; returns the engine's name.

        Raises
        ------
        InputError, FormatError
            As :func:`~voxelsmith.train.trained_runs.read_trained_run` does.
        """
        run = read_trained_run(folder)
        self._elsewhere[_name_of(run.folder)] = run.folder
        self.look()
        return _name_of(run.folder)

    def title(self, name: str) -> str:
        """What the user reads for an engine."""
        return next((info.title for info in self.infos if info.name == name), name)

    def lacking(self, name: str) -> str:
        """Which entry of the model zoo an engine needs that is not on this machine; empty if there is none."""
        from voxelsmith.weights import zoo

        weights = next((info.weights for info in self.infos if info.name == name), "")
        return weights if weights and not zoo.installed(weights) else ""

    def at_hand(self) -> Engine | None:
        """The chosen engine, unless a job has to make it; ModelUnavailableError if the default one cannot be made."""
        if self.chosen == self._table[0].name and self.chosen not in self._made:
            self._made[self.chosen] = make_engine(self.chosen)
        return self._made.get(self.chosen)

    def maker(self, name: str) -> Callable[[], Job[Engine]]:
        """What makes the job that makes an engine."""
        return partial(_make, name, self._runs.get(name))

    def keep(self, engine: Engine) -> None:
        """Have it at hand from now on."""
        self._made[engine.name] = engine
        self._last = engine.name

    def go_back(self) -> None:
        """Choose the engine that was used last, unless the chosen one is at hand."""
        if self.chosen not in self._made:
            self.chosen = self._last

    def choose(self, name: str, on_ready: Callable[[Engine], None], on_failed: Callable[[], None]) -> None:
        """Choose an engine for a running session and hand it over, now or when a job has made it."""
        self._runner.cancel(JOB)
        self.chosen, self.loading = name, False
        engine = self.at_hand()
        if engine is not None:
            on_ready(engine)
            return
        self.loading = True

        def end(engine: Engine | None) -> None:
            self.loading = False
            if self.chosen == name:
                on_failed() if engine is None else on_ready(engine)

        def ready(engine: Engine) -> None:
            self.keep(engine)
            end(engine)

        self._runner.start(
            self.maker(name),
            title=f"Loading {self.title(name)}",
            key=JOB,
            on_result=ready,
            on_error=lambda error: end(None),
            on_cancelled=lambda: end(None),
        )


def tools_for(engine: Engine) -> frozenset[str]:
    """Which of "points", "box", "scribbles", "mask" and "word" an engine reads."""
    return frozenset(tool for tool, prompt in _PROMPT_OF.items() if prompt in engine.accepts)


def prepare(source: Source, engine: Engine | None, make: Callable[[], Job[Engine]]) -> Job[tuple[Source, Engine]]:
    """Job that brings voxels into memory, and makes an engine unless there is one."""
    if engine is None:
        engine = yield from make()
    return (yield from load(source)), engine


def _make(name: str, run: TrainedRun | None) -> Job[Engine]:
    yield Progress(0, 0, "Loading the model")
    if run is not None:
        from voxelsmith.segment.trained_engine import TrainedEngine

        return TrainedEngine(load_model(run.folder), name)
    if weights := engine_info(name).weights:
        from voxelsmith.weights import zoo

        zoo.locate(weights)
    return make_engine(name)


def _name_of(folder: Path) -> str:
    return f"trained:{folder}"


def _info_of(run: TrainedRun) -> EngineInfo:
    return EngineInfo(
        name=_name_of(run.folder),
        title=f"Trained: {run.name}",
        good_at=f"{run.description}. The first answer for an image takes as long as applying the network to it.",
        licence="",
        speed="",
        where="",
        learned=True,
    )
