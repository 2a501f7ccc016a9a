"""What is known about the weights that ship.

Owns the manifest, a JSON list beside this module, and its schema: each entry names its file, the digest that the file
must have, and what a user has to know before relying on the model. The longer story is the model card, a Markdown file
beside the weights; :data:`CARD_HEADINGS` is what each card must tell. ``tools/ship_weights.py`` writes size and digest.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from voxelsmith.core.errors import FormatError, ModelUnavailableError
from voxelsmith.weights.description import NAME, REINSTALL, SHA256, Description, is_text

MANIFEST = Path(__file__).with_name("manifest.json")
MAX_BYTES = 16 * 2**20
CARD_HEADINGS = (
    "Purpose",
    "How to use",
    "Data and licences",
    "Recipe",
    "Command and commit",
    "Measured quality",
    "Limits",
    "Licence",
)

_FILE = re.compile(r"[\w-][\w.-]*\.safetensors")
_CARD = re.compile(r"[\w-][\w.-]*\.md")
_PATTERNS = {"name": NAME, "file": _FILE, "card": _CARD, "sha256": SHA256}


@dataclass(frozen=True, kw_only=True)
class WeightsEntry(Description):
    """One set of weights that ships.

    Parameters
    ----------
    file
        Name of the safetensors file, without a folder.
    bytes
        Size of the file, at most 16 MiB.
    sha256
        Digest of the file, 64 lower-case hexadecimal digits.
    card
        Name of the model card, a Markdown file in the folder of the weights.
    """

    file: str
    bytes: int
    sha256: str
    card: str


def entries() -> list[WeightsEntry]:
    """All entries of the manifest, in its order.

    Raises
    ------
    FormatError
        If the manifest is missing, is no JSON, or breaks the schema.
    """
    try:
        records = json.loads(MANIFEST.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"The weights manifest {MANIFEST} cannot be read ({error}); {REINSTALL}") from error
    return parse(records)


def entry(name: str) -> WeightsEntry:
    """The entry of that name.

    Raises
    ------
    ModelUnavailableError
        If there is none.
    FormatError
        As :func:`entries` does.
    """
    known = {e.name: e for e in entries()}
    if name not in known:
        choice = f"choose one of {', '.join(known)}" if known else "this version ships none"
        raise ModelUnavailableError(f"There are no weights {name!r}; {choice}.")
    return known[name]


def parse(records: Any) -> list[WeightsEntry]:
    """Entries from what the JSON file holds; FormatError if it breaks the schema."""
    if not isinstance(records, list):
        raise FormatError(f"The weights manifest must be a list of entries, got {type(records).__name__}; {REINSTALL}")
    found = [_entry(record) for record in records]
    for what in ("name", "file", "card"):
        values = [getattr(e, what) for e in found]
        twice = sorted({v for v in values if values.count(v) > 1})
        if twice:
            raise FormatError(f"The weights manifest uses the {what} {twice[0]!r} twice; {REINSTALL}")
    return found


def _entry(record: Any) -> WeightsEntry:
    wanted = [f.name for f in fields(WeightsEntry)]
    if not isinstance(record, dict) or set(record) != set(wanted):
        got = ", ".join(map(str, record)) if isinstance(record, dict) else type(record).__name__
        raise FormatError(f"An entry of the weights manifest needs {', '.join(wanted)}; it has {got}; {REINSTALL}")
    for key, value in record.items():
        if not _is_valid(key, value):
            raise FormatError(f"The weights manifest has {value!r} as {key} of {record['name']!r}; {REINSTALL}")
    return WeightsEntry(**record)


def _is_valid(key: str, value: Any) -> bool:
    if key == "bytes":
        return type(value) is int and 0 < value <= MAX_BYTES
    return is_text(value) and (key not in _PATTERNS or _PATTERNS[key].fullmatch(value) is not None)
