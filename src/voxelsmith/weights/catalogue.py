"""What is known about weights that do not ship.

Owns the catalogue, ``zoo.toml`` beside this module, and its schema: which files make up a set of weights, where they
come from, and what a user has to know before fetching them. Sizes and digests are there only where they are known for
certain; :mod:`voxelsmith.weights.cache` pins the others.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voxelsmith.core.errors import FormatError
from voxelsmith.weights.description import NAME, REINSTALL, SHA256, Description, is_text

CATALOGUE = Path(__file__).with_name("zoo.toml")

_FILE = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True)
class ZooFile:
    """One file of a set of weights.

    Parameters
    ----------
    name
        Under which it lies in the folder of its entry.
    url
        Where it comes from, http or https.
    bytes
        Its exact size, or None if that is not known.
    about
        Roughly its size, where ``bytes`` is not known.
    sha256
        Its digest, 64 lower-case hexadecimal digits, or None if the first download pins it.
    """

    name: str
    url: str
    bytes: int | None = None
    about: int | None = None
    sha256: str | None = None

    @property
    def size(self) -> int:
        """Bytes to plan with."""
        return self.bytes or self.about or 0

    def __post_init__(self) -> None:
        texts = {"name": (self.name, _FILE), "sha256": (self.sha256 or "0" * 64, SHA256)}
        for what, (value, pattern) in texts.items():
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise FormatError(f"The weights catalogue has {value!r} as {what} of a file; {REINSTALL}")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise FormatError(f"The weights catalogue has {self.url!r} as url of {self.name!r}; {REINSTALL}")
        if (self.bytes is None) == (self.about is None) or type(self.size) is not int or self.size <= 0:
            raise FormatError(f"The weights catalogue needs either bytes or about for {self.name!r}; {REINSTALL}")


@dataclass(frozen=True, kw_only=True)
class ZooEntry(Description):
    """One set of weights that can be fetched.

    Parameters
    ----------
    files
        What belongs to it; the first one is the network.
    modalities
        What it was made for, such as CT.
    """

    files: tuple[ZooFile, ...]
    modalities: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files, to plan with."""
        return sum(file.size for file in self.files)


def entries() -> list[ZooEntry]:
    """All entries of the catalogue, in its order.

    Raises
    ------
    FormatError
        If the catalogue is missing, is no TOML, or breaks the schema.
    """
    try:
        document = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"The weights catalogue {CATALOGUE} cannot be read ({error}); {REINSTALL}") from error
    return parse(document)


def parse(document: dict[str, Any]) -> list[ZooEntry]:
    """Entries from what the TOML file holds; FormatError if it breaks the schema."""
    found = [_entry(record) for record in document.get("weights", [])]
    names = [entry.name for entry in found]
    if len(set(names)) < len(names):
        raise FormatError(f"The weights catalogue uses a name twice among {', '.join(names)}; {REINSTALL}")
    return found


def _entry(record: dict[str, Any]) -> ZooEntry:
    wanted = {f.name for f in fields(ZooEntry)}
    if set(record) != wanted:
        raise FormatError(
            f"An entry of the weights catalogue needs {', '.join(sorted(wanted))}; it has "
            f"{', '.join(sorted(record))}; {REINSTALL}"
        )
    for key in wanted - {"files", "modalities"}:
        if not is_text(record[key]):
            raise FormatError(f"The weights catalogue has {record[key]!r} as {key}; {REINSTALL}")
    if not NAME.fullmatch(record["name"]):
        raise FormatError(f"The weights catalogue has {record['name']!r} as name; {REINSTALL}")
    try:
        files = tuple(ZooFile(**file) for file in record["files"])
    except TypeError as error:
        raise FormatError(
            f"A file of {record['name']!r} in the weights catalogue is wrong ({error}); {REINSTALL}"
        ) from error
    if not files or len({file.name for file in files}) < len(files):
        raise FormatError(f"The weights catalogue needs files with different names for {record['name']!r}; {REINSTALL}")
    return ZooEntry(**{**record, "files": files, "modalities": tuple(record["modalities"])})
