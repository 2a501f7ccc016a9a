"""Choice of the engine: what the picker offers, which engine suits, and why.

Owns the trained networks that are offered beside the engines, and the quiet job that finds the reason. Which engine
suits is no business of the user's while it is being found out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.core.support import SupportSet
from voxelsmith.plugin import notify
from voxelsmith.plugin.docks.fewshot.images import Images
from voxelsmith.plugin.docks.fewshot.networks import TRAINED, Networks, network
from voxelsmith.plugin.docks.fewshot.reasons import Reason, reason
from voxelsmith.plugin.runner import JobRunner

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.fewshot.view import FewShotDock


class EngineChoice:
    """The choice of a dock.

    Parameters
    ----------
    view
        The dock.
    runner
        Runs the quiet job.
    images
        Of the viewer.
    at_hand
        Gives the image layer that is worked on, or None, and the present support set.
    on_change
        Called when another engine was chosen.
    """

    def __init__(
        self,
        view: FewShotDock,
        runner: JobRunner,
        images: Images,
        at_hand: Callable[[], tuple[Any, SupportSet]],
        on_change: Callable[[], None],
    ) -> None:
        self._view, self._runner, self._images = view, runner, images
        self._at_hand, self._on_change = at_hand, on_change
        self._networks = Networks()
        view.engine_part.changed.connect(self._on_engine)
        view.engines_opening.connect(self.list_networks)
        view.run_chosen.connect(self.choose_run)
        self.list_networks()

    @property
    def needs_examples(self) -> bool:
        """Whether the chosen engine learns its classes from the support set."""
        return network(self._view.engine)[0] != TRAINED

    def list_networks(self) -> None:
        """Offer the networks that there are now; some may have been trained since."""
        self._view.set_networks(self._networks.offers())

    def choose_run(self, folder: Path) -> None:
        """The user chose a network that was trained into a folder."""
        with notify.sentences():
            offer = self._networks.add(folder)
            self.list_networks()
            self._view.choose_engine(offer.name)
            self._on_engine()

    def _on_engine(self) -> None:
        self.look()
        self._on_change()

    def look(self) -> None:
        """Find out which engine suits, and say why."""
        image, support = self._at_hand()
        if image is None:
            self._view.set_reason("Open an image first.")
            self._view.set_range(None)
            return
        try:
            source = self._images.source(image)
        except VoxelsmithError as error:
            self._view.set_reason(str(error))
            return
        engine, known_range = self._view.engine, self._view.known_range

        def show(found: Reason) -> None:
            self._images.remember(image, source, found.image)
            self._view.set_reason(found.text)
            self._view.set_range(found.slices)

        self._runner.start(
            lambda: reason(source, support, engine, known_range), title="Engine", key="engine", on_result=show
        )
