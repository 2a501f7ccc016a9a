"""Engines of the dock: what it offers, which one is chosen, and those that are at hand.

Owns the making of engines. One that was made is kept, with the weights that it may have loaded, as long as the dock
lives. The default is made on the spot; any other one may have a library or weights to load, so a job makes it.
"""

from __future__ import annotations

from collections.abc import Callable

from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box, MaskPrompt, Point, Scribble, TextPrompt
from voxelsmith.plugin.docks.prompt.source import Source, load
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.engine import Engine, EngineInfo, engine_info, engine_infos, make_engine

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
    infos : list of EngineInfo
        What is offered, the first choice first.
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
        self.infos = first + others
        self.chosen = self._last = self.infos[0].name
        self.loading = False

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
        if self.chosen == self.infos[0].name and self.chosen not in self._made:
            self._made[self.chosen] = make_engine(self.chosen)
        return self._made.get(self.chosen)

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
            lambda: _make(name),
            title=f"Loading {self.title(name)}",
            key=JOB,
            on_result=ready,
            on_error=lambda error: end(None),
            on_cancelled=lambda: end(None),
        )


def tools_for(engine: Engine) -> frozenset[str]:
    """Which of "points", "box", "scribbles", "mask" and "word" an engine reads."""
    return frozenset(tool for tool, prompt in _PROMPT_OF.items() if prompt in engine.accepts)


def prepare(source: Source, name: str, engine: Engine | None) -> Job[tuple[Source, Engine]]:
    """Job that brings voxels into memory, and makes an engine unless there is one."""
    if engine is None:
        engine = yield from _make(name)
    return (yield from load(source)), engine


def _make(name: str) -> Job[Engine]:
    yield Progress(0, 0, "Loading the model")
    if weights := engine_info(name).weights:
        from voxelsmith.weights import zoo

        zoo.locate(weights)
    return make_engine(name)
