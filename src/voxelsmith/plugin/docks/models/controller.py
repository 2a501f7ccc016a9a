"""Controller of the Models dock.

Owns what the dock does: which network it speaks of, what may be done with it, and the question before anything is
downloaded or deleted. Downloading, copying and checking run as jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.core.progress import Job
from voxelsmith.plugin import notify
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.weights import zoo
from voxelsmith.weights.cache import size_text

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.models.view import ModelsDock


class ModelsController:
    """Decides for a :class:`~voxelsmith.plugin.docks.models.view.ModelsDock`.

    Parameters
    ----------
    view
        The dock.
    runner
        Runs the jobs; its progress is shown in the dock.
    """

    def __init__(self, view: ModelsDock, runner: JobRunner) -> None:
        self._view = view
        self._runner = runner
        self._models: list[zoo.Model] = []
        self._chosen: str | None = None
        self._agreed: Callable[[], None] | None = None
        view.chosen.connect(self.choose)
        view.asked_for.connect(self.do)
        view.file_chosen.connect(self.add)
        view.answered.connect(self.answer)
        runner.finished.connect(self.refresh)
        self.refresh()

    def close(self) -> None:
        """Stop all jobs."""
        self._runner.shutdown()

    def refresh(self) -> None:
        """Look again at what is here."""
        try:
            self._models = zoo.models()
        except VoxelsmithError as error:
            self._models = []
            self._view.set_facts(escape(str(error)))
        names = [model.name for model in self._models]
        row = names.index(self._chosen) if self._chosen in names else len(names[:1]) - 1
        self._view.set_models([(model.title, _state(model)) for model in self._models], row)
        self.choose(row)

    def choose(self, row: int) -> None:
        """Speak of the network at this position of the list; -1 for none."""
        model = self._models[row] if row >= 0 else None
        self._chosen = None if model is None else model.name
        self._drop_question()
        if model is not None:
            page = model.source if model.source.startswith("https://") else ""
            self._view.set_facts(_facts(model), page, "" if model.path is None else str(model.path))
        self._show_possible()

    def speak_of(self, name: str) -> None:
        """Speak of the network of this name, if there is one."""
        self._chosen = name
        self.refresh()

    def _model(self) -> zoo.Model | None:
        return next((model for model in self._models if model.name == self._chosen), None)

    def _show_possible(self) -> None:
        self._view.set_possible(set() if self._runner.running else _possible(self._model()))

    def do(self, action: str) -> None:
        """ "get", "verify" or "remove" the chosen network; the first and the last ask first."""
        model = self._model()
        if model is None or action not in _possible(model):
            return
        if action == "verify":
            self._start(
                lambda: zoo.verify(model.name), f"Verify {model.title}", lambda _: _tell(f"{model.title} is intact.")
            )
        elif action == "get":
            self._ask(zoo.terms(model.name), "download", lambda: self._get(model))
        else:
            self._ask(f"All that was downloaded or added of {model.title} is deleted.", "remove", self._remove(model))

    def answer(self, agreed: bool) -> None:
        """Do what was asked for, or leave it."""
        action = self._agreed
        self._drop_question()
        if agreed and action is not None:
            action()

    def add(self, path: str, link: bool) -> None:
        """Take a file of the user's own into the cache, or link to it."""

        def show(name: str) -> None:
            self._chosen = name
            _tell(f"{path} was added as {name}.")

        self._start(lambda: zoo.add(path, link), "Add", show)

    def _get(self, model: zoo.Model) -> None:
        self._start(
            lambda: zoo.download(model.name, consent=True),
            f"Get {model.title}",
            lambda _: _tell(f"{model.title} is installed."),
        )

    def _remove(self, model: zoo.Model) -> Callable[[], None]:
        def remove() -> None:
            with notify.sentences():
                _tell(f"{model.title} was removed; {size_text(zoo.remove(model.name))} are free again.")
            self.refresh()

        return remove

    def _ask(self, text: str, verb: str, agreed: Callable[[], None]) -> None:
        self._agreed = agreed
        self._view.ask(text, verb)

    def _drop_question(self) -> None:
        self._agreed = None
        self._view.drop_question()

    def _start(self, job: Callable[[], Job[Any]], title: str, on_result: Callable[[Any], None]) -> None:
        self._drop_question()
        self._runner.start(job, title=title, on_result=on_result)
        self._show_possible()


def _possible(model: zoo.Model | None) -> set[str]:
    """What can be done while nothing runs."""
    possible = {"add"}
    if model is not None and model.state in ("shipped", "installed"):
        possible.add("verify")
    if model is not None and model.state in ("installed", "not installed"):
        possible |= {"get"} if model.lacking else set()
        possible |= {"remove"} if model.path is not None or model.fetched else set()
    return possible


def _tell(sentence: str) -> None:
    from napari.utils.notifications import show_info

    show_info(sentence)


def _state(model: zoo.Model) -> str:
    parts = [model.state, model.size_text]
    if model.fetched:
        parts.append(f"{size_text(model.fetched)} fetched")
    elif model.state == "installed" and model.lacking:
        parts.append(f"without {', '.join(model.lacking)}")
    return " · ".join(parts)


def _facts(model: zoo.Model) -> str:
    """What is known of a network, as rich text."""
    rows = {
        "For": ", ".join(model.modalities),
        "Good at": escape(model.good_at),
        "Licence": escape(model.licence),
        "Trained on": escape(model.trained_on),
        "Source": escape(model.source),
        "Cite": escape(model.citation),
    }
    return "".join(f"<p><b>{name}</b> {text}</p>" for name, text in rows.items() if text)
