"""The model zoo: all networks that the package knows, those that ship and those that can be fetched.

Owns what can be done with weights that do not ship: find, download, add, verify and remove them. Nothing is downloaded
without the user's consent to size, source and licence, and nothing at all with ``VOXELSMITH_OFFLINE=1``. A folder that
``VOXELSMITH_WEIGHTS`` names is looked at first, as ``NAME/FILE`` in it; there nothing is ever written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from voxelsmith.core.errors import InputError, ModelUnavailableError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.weights import arrival, cache, catalogue, manifest, store
from voxelsmith.weights.catalogue import ZooEntry, ZooFile
from voxelsmith.weights.download import leftovers
from voxelsmith.weights.inventory import Model, entry, expected_digest, find, models, require_same

__all__ = ["OFFLINE", "Model", "add", "download", "entry", "installed", "locate", "models", "remove", "terms", "verify"]

OFFLINE = "VOXELSMITH_OFFLINE"


def installed(name: str) -> bool:
    """Whether the network of an entry is here; its content is not looked at."""
    found = entry(name)
    return find(found, found.files[0]) is not None


def locate(name: str, file: str | None = None) -> Path:
    """Where a file of an entry lies; it is the file that was published, or that first arrived.

    The first call in a process reads the whole file to make sure.

    Parameters
    ----------
    name
        Of the entry.
    file
        Of the file; the network if left out.

    Raises
    ------
    ModelUnavailableError
        If the file is not here, or has changed since it arrived.
    InputError
        If the entry has no such file.
    """
    found = entry(name)
    wanted = _file(found, file)
    path = find(found, wanted)
    if path is None:
        raise ModelUnavailableError(
            f"The weights of {found.title} ({wanted.name}, about {cache.size_text(wanted.size)}) are not on this "
            f"machine; get them with `voxelsmith weights get {name}` or in the Models dock, or add a file of your own "
            "with `voxelsmith weights add FILE`."
        )
    expected = expected_digest(path, wanted)
    if expected is not None:
        require_same(path, cache.digest_of(path), expected, name)
    return path


def terms(name: str) -> str:
    """What a user has to know before the download: size, source, licence and place."""
    found = entry(name)
    return (
        f"{found.title} takes about {cache.size_text(found.size)} from {found.source}; it will lie in "
        f"{cache.entry_folder(name)}. Licence: {found.licence[0].lower()}{found.licence[1:]}"
    )


def download(name: str, consent: bool) -> Job[Path]:
    """Job that fetches what is lacking or damaged of an entry; it reports bytes, and goes on where it was stopped.

    Parameters
    ----------
    name
        Of the entry.
    consent
        Whether the user has agreed to :func:`terms`.

    Returns
    -------
    Path
        File of the network.

    Raises
    ------
    InputError
        Without consent.
    ModelUnavailableError
        If the network is forbidden or fails, or the file is not the one that is expected.
    ResourceError
        If the disk has no room, or another program is at it.
    """
    found = entry(name)
    if not consent:
        raise InputError(
            f"Nothing is downloaded without your consent. {terms(name)} If you agree, say so with consent=True."
        )
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise ModelUnavailableError(
            f"{OFFLINE} forbids the network, so that {found.title} cannot be downloaded; unset it, or add a file of "
            "your own with `voxelsmith weights add FILE`."
        )
    return _download(found)


def add(path: Path | str, link: bool = False) -> Job[str]:
    """Job that takes a file of the user's own into the cache; it reports bytes.

    A network is recognised by its tensors. If it has the name that it has at the source, the other files of the entry
    that lie beside it come along. Those can be added by themselves as well, and are recognised by their names.

    Parameters
    ----------
    path
        The file.
    link
        Leave the file where it is, and only note its place.

    Returns
    -------
    str
        Name of the entry.

    Raises
    ------
    InputError
        If no entry has such tensors, or the file lies in the cache already.
    FormatError
        If the file cannot be read as weights.
    ResourceError
        If it cannot be copied or linked.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise InputError(f"{source} should be a file with weights, but there is none; check the name.")
    return _add(source, link)


def verify(name: str) -> Job[Path]:
    """Job that reads all files of some weights and compares their SHA-256; it reports bytes.

    Returns
    -------
    Path
        File of the network.

    Raises
    ------
    ModelUnavailableError
        If the network is not here, or a file is damaged, exchanged, or has nothing to be compared with.
    """
    if _ships(name):
        return _verify_shipped(name)
    return _verify(entry(name))


def remove(name: str) -> int:
    """Delete what was fetched or added of an entry.

    Returns
    -------
    int
        Bytes that are free again.

    Raises
    ------
    InputError
        If there is nothing to delete, the weights ship, or they lie in the user's own folder.
    ResourceError
        If another program is at it, or the files cannot be deleted.
    """
    if _ships(name):
        raise InputError(
            f"The weights {name!r} ship with napari-voxelsmith and stay; only fetched ones can be removed."
        )
    found = entry(name)
    if not any(os.path.lexists(each) for file in found.files for each in _traces(name, file)):
        elsewhere = find(found, found.files[0])
        where = "" if elsewhere is None else f"; {elsewhere} is yours, delete it yourself"
        raise InputError(f"Nothing of {found.title} lies in {cache.entry_folder(name)}, so nothing was removed{where}.")
    with cache.owned(name) as place:
        freed = 0
        try:
            for each in (trace for file in found.files for trace in _traces(name, file)):
                if os.path.lexists(each):
                    freed += each.lstat().st_size
                    each.unlink()
            if not any(place.iterdir()):
                place.rmdir()
        except OSError as error:
            raise cache.refusal(error, place) from error
    return freed


def _ships(name: str) -> bool:
    return any(each.name == name for each in manifest.entries())


def _traces(name: str, file: ZooFile) -> Iterator[Path]:
    """All that a file of an entry can leave in the cache."""
    target = cache.entry_folder(name) / file.name
    yield from (target, cache.pin_of(target), *leftovers(target))


def _file(found: ZooEntry, name: str | None) -> ZooFile:
    named = {file.name: file for file in found.files}
    if name is not None and name not in named:
        raise InputError(f"{found.title} has no file {name!r}; choose one of {', '.join(named)}.")
    return found.files[0] if name is None else named[name]


def _download(found: ZooEntry) -> Job[Path]:
    yield from arrival.get(found)
    return locate(found.name)


def _add(source: Path, link: bool) -> Job[str]:
    yield Progress(0, source.stat().st_size, f"looking into {source.name}")
    found, files = _recognised(source)
    with cache.owned(found.name) as place:
        for file in files:
            origin = source if file is files[0] else source.with_name(file.name)
            if origin.is_file():
                yield from arrival.take(origin, place / file.name, link)
    return found.name


def _recognised(source: Path) -> tuple[ZooEntry, tuple[ZooFile, ...]]:
    """The entry that a file belongs to, and which file of it that is; then those that may lie beside it."""
    known = catalogue.entries()
    for each in known:
        for file in each.files[1:]:
            if file.name == source.name:
                return each, (file,)
    from voxelsmith.weights.containers import recognise

    name = recognise(source)
    if name is None or name not in {each.name for each in known}:
        titles = ", ".join(each.title for each in known)
        raise InputError(f"{source} should hold the weights of {titles}, but its tensors are of another network.")
    found = entry(name)
    return found, found.files if source.name == found.files[0].name else found.files[:1]


def _verify(found: ZooEntry) -> Job[Path]:
    for file in found.files:
        path = find(found, file)
        if path is None:
            continue
        digest = yield from cache.hashing(path)
        expected = expected_digest(path, file)
        if expected is None:
            raise ModelUnavailableError(
                f"{path} has SHA-256 {digest}, but nothing says what it should have; if it is right, write it into "
                f"{cache.pin_of(path).name} beside the file."
            )
        require_same(path, digest, expected, found.name)
    return locate(found.name)


def _verify_shipped(name: str) -> Job[Path]:
    yield Progress(0, 1, f"checking {name}")
    return store.verify(name)
