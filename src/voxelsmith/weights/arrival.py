"""How files get into the cache: fetched from their source, or taken from a place of the user's own.

Owns the order of things: a file is complete, then compared with what is known of it, then pinned, then it appears under
its name. Until then the earlier file stays.
"""

from __future__ import annotations

import os
from pathlib import Path

from voxelsmith.core.errors import InputError, ModelUnavailableError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.weights import cache
from voxelsmith.weights.catalogue import ZooEntry, ZooFile
from voxelsmith.weights.download import discard, fetch
from voxelsmith.weights.inventory import expected_digest, find, require_same


def get(found: ZooEntry) -> Job[None]:
    """Job that fetches what is lacking or damaged of an entry."""
    with cache.owned(found.name) as place:
        for file in found.files:
            present = find(found, file)
            if present is not None and (yield from _is_intact(present, file, found.name)):
                continue
            target = place / file.name
            part = yield from fetch(file, target)
            digest = yield from cache.hashing(part)
            expected = file.sha256 or cache.pinned(target)
            if expected not in (None, digest):
                discard(target)
                trust = "" if file.sha256 else f", or, if you trust it, `voxelsmith weights remove {found.name}` first"
                raise ModelUnavailableError(
                    f"{file.url} should have SHA-256 {expected:.12}..., but what came has {digest[:12]}... and was "
                    f"deleted; the file there is damaged or another one: try again{trust}."
                )
            _install(part, target, digest)
            discard(target)


def _is_intact(path: Path, file: ZooFile, name: str) -> Job[bool]:
    """Whether a file may stay; one of the user's own folder must be intact, because it is looked at first."""
    expected = expected_digest(path, file)
    digest = yield from cache.hashing(path)
    if expected in (None, digest):
        return True
    if path.parent != cache.entry_folder(name):
        require_same(path, digest, expected, name)
    return False


def _install(arrived: Path, target: Path, digest: str) -> None:
    """Let a complete file appear under its name, pinned."""
    try:
        if not arrived.is_symlink():
            with arrived.open("rb+") as stream:
                os.fsync(stream.fileno())
        cache.pin(target, digest)
        os.replace(arrived, target)
    except OSError as error:
        raise cache.refusal(error, target) from error


def take(origin: Path, target: Path, link: bool) -> Job[None]:
    """Copy or link a file, and pin it."""
    if target.exists() and origin.samefile(target):
        raise InputError(f"{origin} is the file that is used already; there is nothing to add.")
    arriving = target.with_name(f"{target.name}.new")
    try:
        arriving.unlink(missing_ok=True)
        if link:
            arriving.symlink_to(origin.resolve())
        else:
            yield from _copy(origin, arriving)
        _install(arriving, target, (yield from cache.hashing(arriving)))
        discard(target)
    except OSError as error:
        raise cache.refusal(error, target) from error
    finally:
        arriving.unlink(missing_ok=True)


def _copy(origin: Path, target: Path) -> Job[None]:
    total = origin.stat().st_size
    cache.require_room(target.parent, total)
    with origin.open("rb") as source, target.open("wb") as stream:
        while chunk := source.read(cache.CHUNK):
            stream.write(chunk)
            yield Progress(stream.tell(), total, f"copying {origin.name}")
