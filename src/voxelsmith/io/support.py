"""Support sets on disk: a folder or a zip file of NIfTI volumes and one JSON file.

Owns the layout. ``support.json`` names the classes with their colours and says for each example which files it has,
what is annotated and where it comes from; an image that several examples share is written once. Affines and voxel types
that NIfTI rounds are in the JSON too, so that an example read back has the hash it was saved with; one that has not was
damaged or edited. A set appears complete or not at all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, ResourceError, VoxelsmithError
from voxelsmith.core.support import SupportClass, SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io.atomic import replacing
from voxelsmith.io.registry import read, read_labels, write

INDEX = "support.json"
_KIND = "voxelsmith support set"
_VERSION = 1


def write_support(support: SupportSet, path: Path | str) -> Path:
    """Save a support set.

    Parameters
    ----------
    support
        What to save, examples that are switched off too.
    path
        A file that ends in ``.zip``, or a folder, which is made; a support set that lies there is replaced.

    Returns
    -------
    Path
        The file or folder.

    Raises
    ------
    FormatError
        If the folder holds something else.
    GeometryError, InputError
        If NIfTI cannot hold the affine or the values of an image.
    ResourceError
        If the machine refuses.
    """
    target = Path(path).expanduser()
    if target.suffix.lower() == ".zip":
        with tempfile.TemporaryDirectory() as scratch, replacing(target) as temporary:
            _write_folder(support, Path(scratch))
            # The volumes are compressed already.
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                for file in sorted(Path(scratch).iterdir()):
                    archive.write(file, file.name)
        return target
    if target.exists() and not (target.is_dir() and _may_replace(target)):
        raise FormatError(f"{target} holds something else than a support set; choose a new folder or a .zip file.")
    if not target.parent.is_dir():
        raise ResourceError(f"The folder {target.parent} does not exist; create it or choose another place to save.")
    fresh = target.with_name(f".voxelsmith-{uuid.uuid4().hex[:12]}")
    try:
        fresh.mkdir()
        _write_folder(support, fresh)
        _swap(fresh, target)
    except OSError as error:
        raise ResourceError(
            f"{target} could not be written ({error.strerror or error}); free some space or choose another place."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def read_support(path: Path | str) -> SupportSet:
    """Read a support set from a folder or a zip file.

    Raises
    ------
    FormatError
        If there is none, or a file of it is missing, damaged or was changed.
    """
    source = Path(path).expanduser()
    if not source.exists():
        raise FormatError(f"There is no support set {source}; check the spelling.")
    if source.is_dir():
        return _read_folder(source)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with zipfile.ZipFile(source) as archive:
                archive.extractall(scratch)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise FormatError(
                f"{source.name} is no zip file, or it is damaged ({error}); save the set again."
            ) from error
        return _read_folder(Path(scratch))


def _may_replace(folder: Path) -> bool:
    return not any(folder.iterdir()) or _index_of(folder) is not None


def _swap(fresh: Path, target: Path) -> None:
    """Put a finished folder in the place of another, which is removed last."""
    old = fresh.with_name(f"{fresh.name}-old")
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write_folder(support: SupportSet, folder: Path) -> None:
    images: dict[str, dict[str, Any]] = {}
    examples = []
    for number, example in enumerate(support.examples, start=1):
        image = images.get(example.image_fingerprint)
        if image is None:
            image = _image_entry(example.image, f"image-{len(images) + 1}.nii.gz")
            images[example.image_fingerprint] = image
            write(example.image, folder / image["file"])
        labels, ignored = f"labels-{number}.nii.gz", None
        write(example.labels, folder / labels)
        if example.ignored is not None:
            ignored = f"ignored-{number}.nii.gz"
            write(example.image.labels(example.ignored.astype(np.uint8)), folder / ignored)
        examples.append(
            {
                "image": image["file"],
                "labels": labels,
                "ignored": ignored,
                "axis": example.axis,
                "slices": None if example.slices is None else list(example.slices),
                "classes": sorted(example.classes),
                "enabled": example.enabled,
                "provenance": example.provenance,
                "hash": example.content_hash,
            }
        )
    index = {
        "kind": _KIND,
        "version": _VERSION,
        "classes": [{"value": c.value, "name": c.name, "colour": c.colour} for c in support.classes],
        "images": list(images.values()),
        "examples": examples,
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def _image_entry(image: Volume, file: str) -> dict[str, Any]:
    return {
        "file": file,
        "name": image.name,
        "units": image.units,
        "dtype": image.array.dtype.str,
        "affine": image.affine.matrix.tolist(),
    }


def _index_of(folder: Path) -> dict[str, Any] | None:
    """The content of ``support.json``, or None if the folder has none of ours."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return index if isinstance(index, dict) and index.get("kind") == _KIND else None


def _read_folder(folder: Path) -> SupportSet:
    index = _index_of(folder)
    if index is None:
        raise FormatError(
            f"A support set has a file {INDEX}, but it is missing or damaged; choose a folder that has one."
        )
    if index.get("version") != _VERSION:
        raise FormatError(
            f"This support set is of version {index.get('version')}, but only {_VERSION} can be read; update "
            "napari-voxelsmith."
        )
    try:
        images = {entry["file"]: _image(folder, entry) for entry in index["images"]}
        classes = tuple(SupportClass(c["value"], c["name"], tuple(c["colour"])) for c in index["classes"])
        names = {c.value: c.name for c in classes}
        return SupportSet(classes, tuple(_example(folder, entry, images, names) for entry in index["examples"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{INDEX} lacks something or has a wrong type ({error}); save the set again.") from error


def _file(folder: Path, name: str) -> Path:
    if Path(name).name != name:
        raise FormatError(f"The files of a support set lie beside {INDEX}, but it names {name!r}; save the set again.")
    return folder / name


def _image(folder: Path, entry: dict[str, Any]) -> Volume:
    image = read(_file(folder, entry["file"]))
    array: npt.NDArray[Any] = image.array.astype(np.dtype(entry["dtype"]), copy=False)
    return Volume(
        array,
        Affine(entry["affine"]),
        name=entry["name"],
        units=entry["units"],
        history=image.history,
        metadata={k: v for k, v in image.metadata.items() if k != "path"},
    )


def _example(folder: Path, entry: dict[str, Any], images: dict[str, Volume], names: dict[int, str]) -> SupportExample:
    image = images[entry["image"]]

    def on_image(name: str) -> LabelVolume:
        return replace(read_labels(_file(folder, name)), affine=image.affine, names=names)

    try:
        example = SupportExample(
            image,
            on_image(entry["labels"]),
            axis=entry["axis"],
            slices=None if entry["slices"] is None else tuple(entry["slices"]),
            classes=frozenset(entry["classes"]),
            ignored=None if entry["ignored"] is None else on_image(entry["ignored"]).mask(),
            enabled=entry["enabled"],
            provenance=entry["provenance"],
        )
    except VoxelsmithError as error:
        raise FormatError(f"The example {entry['labels']} of this support set is damaged. {error}") from error
    if example.content_hash != entry["hash"]:
        raise FormatError(
            f"{entry['image']} or {entry['labels']} is not what was saved in this support set; restore the files, or "
            "make the example again from them."
        )
    return example
