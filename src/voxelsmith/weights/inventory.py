"""What there is of the networks that the package knows, on this machine.

Owns the list of all networks, those that ship and those that can be fetched, and where a file of the latter is looked
for: as ``NAME/FILE`` in the folder that ``VOXELSMITH_WEIGHTS`` names, then in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxelsmith.core.errors import ModelUnavailableError
from voxelsmith.weights import cache, catalogue, manifest, store
from voxelsmith.weights.catalogue import ZooEntry, ZooFile
from voxelsmith.weights.description import Description
from voxelsmith.weights.download import part_of

State = Literal["shipped", "missing", "installed", "not installed"]


@dataclass(frozen=True, kw_only=True)
class Model(Description):
    """What is known of a network, and whether it is here.

    Parameters
    ----------
    modalities
        What it was made for; empty if the card tells it.
    bytes
        Size of all files.
    exact
        Whether ``bytes`` is known for certain.
    state
        "shipped" with the package, or "missing" from it; "installed" or "not installed".
    path
        File of the network, or None.
    lacking
        Names of the files that are not here.
    fetched
        Bytes of a download that was not finished.
    """

    modalities: tuple[str, ...] = ()
    bytes: int
    exact: bool
    state: State
    path: Path | None
    lacking: tuple[str, ...] = ()
    fetched: int = 0

    @property
    def size_text(self) -> str:
        """The size for people."""
        return f"{'' if self.exact else 'about '}{cache.size_text(self.bytes)}"


def models() -> list[Model]:
    """All networks, those that ship first; no file is read.

    Raises
    ------
    FormatError
        If the manifest or the catalogue is damaged.
    ModelUnavailableError
        If ``VOXELSMITH_WEIGHTS`` names no folder.
    """
    return [_shipped(each) for each in manifest.entries()] + [_fetchable(each) for each in catalogue.entries()]


def entry(name: str) -> ZooEntry:
    """The weights of that name, which can be fetched; ModelUnavailableError if there are none."""
    known = {each.name: each for each in catalogue.entries()}
    if name not in known:
        choice = f"choose one of {', '.join(known)}" if known else "this version knows none"
        raise ModelUnavailableError(f"There are no weights {name!r} to be fetched; {choice}.")
    return known[name]


def find(found: ZooEntry, file: ZooFile) -> Path | None:
    """Where a file of an entry lies, or None; its content is not looked at."""
    own = [folder / found.name for folder in store.local_folders()]
    for folder in (*own, cache.entry_folder(found.name)):
        if (folder / file.name).is_file():
            return folder / file.name
    return None


def expected_digest(path: Path, file: ZooFile) -> str | None:
    """The digest that a file must have: the one of its arrival, or the published one."""
    return cache.pinned(path) or file.sha256


def require_same(path: Path, digest: str, expected: str, name: str) -> None:
    """Raise ModelUnavailableError unless a file of the entry of that name has the digest that it must have."""
    if digest != expected:
        fetched = path.parent == cache.entry_folder(name)
        again = f"get it again with `voxelsmith weights get {name}`, or " if fetched else ""
        raise ModelUnavailableError(
            f"{path} should have SHA-256 {expected[:12]}..., but has {digest[:12]}...; it is damaged or another file: "
            f"{again}replace it."
        )


def _shipped(each: manifest.WeightsEntry) -> Model:
    try:
        path = store.path(each.name)
    except ModelUnavailableError:
        path = None
    return Model(
        **each.described(),
        bytes=each.bytes,
        exact=True,
        state="missing" if path is None else "shipped",
        path=path,
        lacking=() if path else (each.file,),
    )


def _fetchable(each: ZooEntry) -> Model:
    paths = {file.name: find(each, file) for file in each.files}
    network = paths[each.files[0].name]
    here = [path.stat().st_size for path in paths.values() if path is not None]
    lacking = tuple(name for name, path in paths.items() if path is None)
    parts = [part_of(cache.entry_folder(each.name) / name) for name in lacking]
    return Model(
        **each.described(),
        modalities=each.modalities,
        bytes=each.size if lacking else sum(here),
        exact=not lacking,
        state="not installed" if network is None else "installed",
        path=network,
        lacking=lacking,
        fetched=sum(part.stat().st_size for part in parts if part.is_file()),
    )
