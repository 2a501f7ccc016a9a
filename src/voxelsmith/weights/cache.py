"""Where fetched weights lie, and how it is known that they are still the same.

Owns the cache folder (``VOXELSMITH_CACHE``, or the user's own cache), one folder an entry in it, and the pins: beside
each file lies its SHA-256 in the form of ``sha256sum``, written when the file arrived. A file is read once in a process
to compare the two; after that it counts as unchanged until its size or its time of change differs. One program at a
time may change the folder of an entry.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxelsmith.core.errors import ModelUnavailableError, ResourceError
from voxelsmith.core.progress import Job, Progress, run_job
from voxelsmith.io.atomic import replacing

CACHE = "VOXELSMITH_CACHE"
CHUNK = 2**20
_SPARE = 64 * 2**20

_Stamp = tuple[Path, int, int]
_seen: dict[_Stamp, str] = {}


def folder() -> Path:
    """The folder for everything that can be fetched or computed again; it need not exist yet."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("voxelsmith"))


def entry_folder(name: str) -> Path:
    """Where the files of an entry of the catalogue lie; it need not exist yet."""
    return folder() / "weights" / name


@contextmanager
def owned(name: str) -> Iterator[Path]:
    """The folder of an entry, made if absent, for this program alone.

    Raises
    ------
    ResourceError
        If another program is changing it, or it cannot be made.
    """
    from filelock import FileLock, Timeout

    place = entry_folder(name)
    lock = FileLock(place.with_name(f"{name}.lock"), timeout=0, thread_local=False)
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ResourceError(
            f"Another program is changing the weights {name!r} in {place}; wait until it has finished."
        ) from None
    except OSError as error:
        raise refusal(error, place) from error
    try:
        yield place
    finally:
        lock.release()


def pinned(file: Path) -> str | None:
    """The SHA-256 that was written beside a file when it arrived, or None."""
    try:
        words = pin_of(file).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return None
    return words[0].lower() if words else None


def pin(file: Path, digest: str) -> None:
    """Write the SHA-256 of a file beside it."""
    with replacing(pin_of(file)) as temporary:
        temporary.write_text(f"{digest}  {file.name}\n", encoding="utf-8")


def pin_of(file: Path) -> Path:
    """Where the SHA-256 of a file is written."""
    return file.with_name(f"{file.name}.sha256")


def hashing(file: Path) -> Job[str]:
    """Job that reads a file and returns its SHA-256; it reports bytes.

    Raises
    ------
    ModelUnavailableError
        If the file cannot be read.
    """
    stamp = _stamp(file)
    total, done, digest = stamp[1], 0, hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                yield Progress(done, total, "checking the file")
    except OSError as error:
        raise _unreadable(file, error) from error
    _seen[stamp] = digest.hexdigest()
    return digest.hexdigest()


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, which is read only if it is new to this process; errors as :func:`hashing`."""
    known = _seen.get(_stamp(file))
    return run_job(hashing(file)) if known is None else known


def require_room(place: Path, needed: int) -> None:
    """Raise ResourceError unless the disk of a folder has room for so many bytes and a little more."""
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE:
        raise ResourceError(
            f"{size_text(needed)} more are needed in {place}, but its disk has {size_text(free)} left; free some "
            f"space, or name a folder on another disk with {CACHE}."
        )


def refusal(error: OSError, place: Path) -> ResourceError:
    """The sentence for a folder or a file that cannot be written."""
    return ResourceError(
        f"{place} cannot be written ({error.strerror or error}); free some space or make it writable, or name another "
        f"folder with {CACHE}."
    )


def size_text(size: int) -> str:
    """A number of bytes for people."""
    number = float(size)
    for unit in ("bytes", "kB", "MB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def _stamp(file: Path) -> _Stamp:
    try:
        status = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    return file, status.st_size, status.st_mtime_ns


def _unreadable(file: Path, error: OSError) -> ModelUnavailableError:
    return ModelUnavailableError(f"{file} cannot be read ({error.strerror or error}); make the file readable.")
