"""Notify: how an error or a warning reaches the user.

Owns one rule: an error of ours is a sentence and is shown as such; anything else is a defect and is handed to napari,
which shows its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from voxelsmith.core.errors import VoxelsmithError


def show(error: BaseException) -> None:
    """Show an error to the user; to be called in the main thread."""
    from napari.utils.notifications import notification_manager, show_error

    if isinstance(error, VoxelsmithError):
        show_error(str(error))
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)


def caution(sentence: str) -> None:
    """Warn the user; to be called in the main thread."""
    from napari.utils.notifications import show_warning

    show_warning(sentence)


@contextmanager
def sentences() -> Iterator[None]:
    """Show errors of ours that the block raises as notifications, and end the block there."""
    try:
        yield
    except VoxelsmithError as error:
        show(error)
