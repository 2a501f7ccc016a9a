"""Adapting: an encoder that learns from the open images in the background, if the user wants it.

Owns which images are taken, the files that the process reads them from, and the run folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.io import write
from voxelsmith.jobs.process import ProcessJob
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.fewshot.images import Images
from voxelsmith.plugin.docks.offered import offered
from voxelsmith.plugin.docks.prompt.source import Source, load
from voxelsmith.plugin.docks.train.runs import fresh_folder
from voxelsmith.plugin.layers import stored_axes
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.train.fewshot_adaptation import adapt
from voxelsmith.train.trained_runs import home

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.fewshot.view import FewShotDock

_JOB = "adaptation"


def adaptation(sources: Sequence[Source], folder: Path, seconds: float) -> Job[Path]:
    """Job that writes images into files of its own and trains on them in another process; returns the run folder."""
    with TemporaryDirectory() as temporary:
        for number, source in enumerate(sources):
            volume = (yield from load(source)).volume
            yield Progress(number, len(sources), f"Writing {volume.name}")
            write(volume, Path(temporary) / f"{number:03}.nii")
        process = ProcessJob(adapt, Path(temporary), folder, seconds, what="The adaptation")
        yield from process.run()
    return folder


class Adapting:
    """The adaptation of a dock.

    Parameters
    ----------
    view
        The dock.
    viewer : napari.components.ViewerModel
    runner
        Runs the job.
    images
        Of the viewer.
    on_trained
        Takes the run folder of a network that is there now.
    """

    def __init__(
        self, view: FewShotDock, viewer: Any, runner: JobRunner, images: Images, on_trained: Callable[[Path], None]
    ) -> None:
        self._view, self._viewer, self._runner, self._images = view, viewer, runner, images
        self._on_trained = on_trained
        view.adapt_part.wanted.connect(self.start)

    def start(self, minutes: int) -> None:
        """Adapt to the 3-D images that are open."""
        from napari.layers import Image

        with notify.sentences():
            layers = [x for x in offered(self._viewer) if isinstance(x, Image) and len(stored_axes(x)) >= 3]
            if not layers:
                raise InputError("Adapting learns from 3-D images, but none is open; open one first.")
            sources, folder = [self._images.source(layer) for layer in layers], fresh_folder(home(), "adapted")
            self._view.adapt_part.set_running(True)
            self._runner.start(
                lambda: adaptation(sources, folder, 60.0 * minutes),
                title="Adapting",
                key=_JOB,
                on_result=self._finish,
                on_error=lambda _: self._view.adapt_part.set_running(False),
                on_cancelled=lambda: self._view.adapt_part.set_running(False),
            )

    def _finish(self, folder: Path) -> None:
        self._view.adapt_part.set_running(False)
        self._on_trained(folder)
        self._view.set_status(f"Adapted to the open images; {folder.name} is the engine now.")
