"""Atomic writing: a file appears complete or not at all.

Owns the promise that nothing the user made is lost while it is written. :func:`replacing` hands out a temporary file in
the folder of the target; when the block ends well the file is flushed to the disk and renamed onto the target, when it
fails the file is removed and an existing target keeps its old content. Refusals of the machine become ResourceError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from voxelsmith.core.errors import ResourceError

_PREFIX = ".voxelsmith-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def refusals(path: Path | str) -> Iterator[None]:
    """Turn what the machine says while ``path`` is written into a ResourceError."""
    try:
        yield
    except OSError as error:
        raise _refusal(error, Path(path)) from error


@contextlib.contextmanager
def replacing(path: Path | str, suffix: str | None = None) -> Iterator[Path]:
    """Write a file beside ``path`` and rename it onto ``path`` when the block succeeds.

    Parameters
    ----------
    path
        The target; a link is followed, so that the file it points to is replaced.
    suffix
        Ending of the temporary file, for libraries that choose the format by it; by default that of ``path``.

    Yields
    ------
    Path
        The temporary file, which does not exist yet.

    Raises
    ------
    ResourceError
        If the folder is missing, the target is a folder or read-only, or the disk is full.
    """
    target = Path(os.path.realpath(Path(path).expanduser()))
    if not target.parent.is_dir():
        raise ResourceError(f"The folder {target.parent} does not exist; create it or choose another place to save.")
    if target.is_dir():
        raise ResourceError(f"{target} is a folder; choose a file name to save to.")
    if target.exists() and not os.access(target, os.W_OK):
        raise ResourceError(f"{target} is read-only; make it writable or choose another name.")
    ending = "".join(target.suffixes[-2:]) if suffix is None else suffix
    temporary = target.with_name(f"{_PREFIX}{uuid.uuid4().hex[:12]}{ending}")
    try:
        with refusals(target):
            yield temporary
            _flush(temporary)
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder, in which nobody may be writing."""
    for left in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            left.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(error: OSError, target: Path) -> ResourceError:
    if error.errno in _FULL:
        return ResourceError(f"The disk has no room for {target}; free some space or choose another place to save.")
    if error.errno in _REFUSED:
        return ResourceError(f"Writing {target} is not permitted; choose a folder that you may write to.")
    return ResourceError(f"{target} could not be written ({error.strerror or error}); choose another place to save.")
