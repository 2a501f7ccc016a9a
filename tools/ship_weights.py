"""Put trained weights into the package: copy the file, write its size and SHA-256 into the manifest.

The manifest must have an entry of that name already; only its ``bytes`` and ``sha256`` may be missing. The model card
must lie beside the weights, with every heading that a card needs. Nothing is written unless all of it is in order.

Run ``python tools/ship_weights.py SAFETENSORS NAME``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path

import torch
from safetensors.torch import load

from voxelsmith.core.errors import InputError
from voxelsmith.io.atomic import replacing
from voxelsmith.weights import manifest, store


def ship(source: Path, name: str) -> Path:
    """Copy ``source`` into the package as the weights of that name; returns the new file.

    Raises
    ------
    InputError
        If the manifest has no such entry, a tensor is stored as float32 or float64, or the card is incomplete.
    FormatError
        If the manifest would break its schema, for one because the file exceeds 16 MiB.
    """
    records = json.loads(manifest.MANIFEST.read_text(encoding="utf-8"))
    chosen = [record for record in records if record["name"] == name]
    if not chosen:
        raise InputError(f"{manifest.MANIFEST} has no entry {name!r}; add one, without bytes and sha256.")
    data = source.read_bytes()
    wide = sorted(key for key, t in load(data).items() if t.dtype in (torch.float32, torch.float64))
    if wide:
        raise InputError(f"Weights ship as float16, but {wide[0]} is wider; write them with voxelsmith.weights.save.")
    chosen[0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    entry = next(e for e in manifest.parse(records) if e.name == name)
    lacking = missing_headings(store.FILES / entry.card)
    if lacking:
        raise InputError(f"The model card {store.FILES / entry.card} lacks {', '.join(lacking)}; write these sections.")
    target = store.FILES / entry.file
    with replacing(target) as temporary:
        temporary.write_bytes(data)
    with replacing(manifest.MANIFEST) as temporary:
        temporary.write_text(json.dumps(records, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def missing_headings(card: Path) -> list[str]:
    """The headings of the second level that a model card needs and does not have; all of them if there is no card."""
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    found = re.findall(r"^## (.+?)\s*$", text, re.MULTILINE)
    return [heading for heading in manifest.CARD_HEADINGS if heading not in found]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=ship.__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, metavar="SAFETENSORS")
    parser.add_argument("name")
    arguments = parser.parse_args()
    print(ship(arguments.source, arguments.name))
