"""Networks: those that the user has trained and may choose as an engine.

Owns the list, and the names by which the picker knows its entries: networks that learned from episodes, which need
examples, and networks that were trained in the application, which know their classes themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.segment.episodic_runs import episodic_runs, read_episodic_run
from voxelsmith.train.trained_runs import home, read_trained_run, trained_runs

EPISODES, TRAINED = "episodes", "trained"
_BETWEEN = ":"


@dataclass(frozen=True)
class Offer:
    """An entry of the picker.

    Parameters
    ----------
    name
        By which :func:`network` finds it.
    title
        What the user reads.
    tip
        More about it.
    """

    name: str
    title: str
    tip: str


class Networks:
    """The networks in the folder of runs, and those that the user named elsewhere."""

    def __init__(self) -> None:
        self._elsewhere: list[Path] = []

    def offers(self) -> list[Offer]:
        """What there is now; milliseconds."""
        found = [_offer(EPISODES, run.folder, run.description) for run in episodic_runs(home())]
        found += [_offer(TRAINED, run.folder, run.description) for run in trained_runs()]
        for folder in self._elsewhere:
            found += [offer for offer in _in_folder(folder) if offer not in found]
        return found

    def add(self, folder: Path) -> Offer:
        """Offer the network of a run folder, wherever it lies; InputError if there is none that can be used."""
        offers = list(_in_folder(folder))
        if not offers:
            raise InputError(
                f"{folder} should be the folder of a training that has ended, of voxelsmith train episodes or tvunet, "
                "but holds no network that can be used; choose another folder."
            )
        self._elsewhere.append(folder)
        return offers[0]


def network(engine: str) -> tuple[str, Path | None]:
    """Kind and folder of an entry: :data:`EPISODES` or :data:`TRAINED`; a plain engine's own name and None."""
    kind, _, folder = engine.partition(_BETWEEN)
    return (kind, Path(folder)) if kind in (EPISODES, TRAINED) and folder else (engine, None)


def _offer(kind: str, folder: Path, description: str) -> Offer:
    return Offer(f"{kind}{_BETWEEN}{folder}", f"Trained: {folder.name}", f"{description} ({folder})")


def _in_folder(folder: Path) -> Iterator[Offer]:
    try:
        run = read_episodic_run(folder)
        yield _offer(EPISODES, run.folder, run.description)
    except (FormatError, ModelUnavailableError):
        pass
    try:
        trained = read_trained_run(folder)
        yield _offer(TRAINED, trained.folder, trained.description)
    except (FormatError, InputError):
        pass
