"""Fetching one file: in pieces, to be gone on with later.

Owns the ``.part`` file beside a target and the note beside it that says of which file it is the beginning. A later
attempt asks the server for the rest of that very file (``Range`` with ``If-Range``) and starts anew if it has changed.
pooch decides where the cache is, but does not download here: its downloader begins each time from nothing, and it can
neither report to a generator nor be stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from voxelsmith.core.errors import ModelUnavailableError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.weights import cache
from voxelsmith.weights.catalogue import ZooFile
from voxelsmith.weights.transfer import Answer, Transfer

BY_HAND = "or get the file by hand and add it with `voxelsmith weights add`"
# How far a size that is only roughly known may be off.
_FACTOR = 2
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class _Beginning:
    """What is known of the file of which a part is there."""

    url: str
    validator: str | None
    total: int | None


def part_of(target: Path) -> Path:
    """Where the beginning of a file lies until it is complete."""
    return target.with_name(f"{target.name}.part")


def leftovers(target: Path) -> tuple[Path, Path]:
    """The part of a file and the note about it, whether they are there or not."""
    return part_of(target), target.with_name(f"{target.name}.part.json")


def discard(target: Path) -> None:
    """Forget the beginning of a file."""
    for leftover in leftovers(target):
        leftover.unlink(missing_ok=True)


def fetch(file: ZooFile, target: Path) -> Job[Path]:
    """Job that downloads a file, or the rest of it; it reports bytes and keeps what has come when it is stopped.

    Parameters
    ----------
    file
        What to fetch.
    target
        Where it is going to be; its folder exists.

    Returns
    -------
    Path
        The complete ``.part`` file, whose content is not checked yet.

    Raises
    ------
    ModelUnavailableError
        If the server cannot be reached, refuses, sends something else, or the connection breaks.
    ResourceError
        If the disk has no room, or the file cannot be written.
    """
    try:
        part, _ = leftovers(target)
        known, have = _beginning(file, target)
        if have and known.total == have:
            return part
        while not (yield from _attempt(file, target, known, have)):
            discard(target)
            known, have = _Beginning(file.url, None, None), 0
        return part
    except OSError as error:
        raise cache.refusal(error, target) from error


def _beginning(file: ZooFile, target: Path) -> tuple[_Beginning, int]:
    """What is known of the part that is there, and how many of its bytes can be used."""
    part, note = leftovers(target)
    try:
        known = _Beginning(**json.loads(note.read_text(encoding="utf-8")))
        have = part.stat().st_size
    except (OSError, ValueError, TypeError):
        return _Beginning(file.url, None, None), 0
    usable = known.url == file.url and known.validator is not None and have <= (known.total or have)
    return known, have if usable else 0


def _attempt(file: ZooFile, target: Path, known: _Beginning, have: int) -> Job[bool]:
    """Download from byte ``have`` on; False if the file has changed, so that the part is of no use."""
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(known.validator)}
    transfer = Transfer(file.url, headers)
    try:
        answer = yield from _answer(file, transfer)
        if answer.status == 206 and have:
            found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
            if found is None or int(found[1]) != have or answer.validator != known.validator:
                return False
            total: int | None = int(found[2])
        elif answer.status == 416 and have:
            return False
        elif answer.status == 200:
            have, total = 0, answer.length
        else:
            raise ModelUnavailableError(
                f"{file.url} answered {answer.status} {answer.reason}; try again later, {BY_HAND}."
            )
        _require_plausible(file, answer, total)
        cache.require_room(target.parent, (file.size if total is None else total) - have)
        part, note = leftovers(target)
        with part.open("ab" if have else "wb") as stream:
            note.write_text(json.dumps(asdict(_Beginning(file.url, answer.validator, total))), encoding="utf-8")
            while chunk := (yield from _piece(file, transfer, have, total)):
                stream.write(chunk)
                have += len(chunk)
    finally:
        transfer.close()
    if total is not None and have != total:
        raise _broken(file, have, total, "the rest is missing")
    if total is None and not _is_plausible(file, have):
        discard(target)
        raise _other_size(file, have)
    return True


def _answer(file: ZooFile, transfer: Transfer) -> Generator[Progress, None, Answer]:
    while True:
        try:
            item = transfer.get()
        except OSError as error:
            raise ModelUnavailableError(
                f"{urlsplit(file.url).hostname} cannot be reached ({type(error).__name__}); check the network and the "
                f"proxy, {BY_HAND}."
            ) from error
        if isinstance(item, Answer):
            return item
        yield Progress(0, 0, f"waiting for {urlsplit(file.url).hostname}")


def _piece(file: ZooFile, transfer: Transfer, have: int, total: int | None) -> Generator[Progress, None, bytes]:
    """The next bytes; none at the end."""
    of = f" of {cache.size_text(total)}" if total else ""
    while True:
        try:
            item = transfer.get()
        except OSError as error:
            raise _broken(file, have, total, type(error).__name__) from error
        yield Progress(have, total or 0, f"{cache.size_text(have)}{of}, {file.name}")
        if isinstance(item, bytes):
            return item


def _require_plausible(file: ZooFile, answer: Answer, total: int | None) -> None:
    """Refuse what cannot be the file, before it is written."""
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise ModelUnavailableError(
            f"{file.url} should be the file {file.name}, but a web page came; log in to the network if it asks for it, "
            f"{BY_HAND}."
        )
    if total is not None and not _is_plausible(file, total):
        raise _other_size(file, total)


def _is_plausible(file: ZooFile, size: int) -> bool:
    return size == file.bytes if file.bytes else file.size / _FACTOR <= size <= file.size * _FACTOR


def _other_size(file: ZooFile, size: int) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"{file.name} should have {'' if file.bytes else 'about '}{file.size} bytes, but {file.url} sends {size}; the "
        f"file there is another one: update napari-voxelsmith, {BY_HAND}."
    )


def _broken(file: ZooFile, have: int, total: int | None, reason: str) -> ModelUnavailableError:
    of = f" of {cache.size_text(total)}" if total else ""
    return ModelUnavailableError(
        f"The download of {file.name} broke off after {cache.size_text(have)}{of} ({reason}); start it again to go on "
        "from there."
    )
