"""What is told of every set of weights, whether it ships or can be fetched.

Owns the fields that the manifest, the catalogue and the list of models share, and the patterns of names and digests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SHA256 = re.compile(r"[0-9a-f]{64}")
REINSTALL = "reinstall napari-voxelsmith."


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a user has to know before relying on a network.

    Parameters
    ----------
    name
        How programs ask for it: lower-case letters, digits and hyphens.
    title
        What the user reads.
    licence
        Under which terms the weights are, in a sentence.
    source
        Who trained them, or the page that offers them.
    citation
        What a paper that uses them should cite.
    good_at
        One sentence: what the model is good at, and what not.
    trained_on
        The training data, in a sentence.
    """

    name: str
    title: str
    licence: str
    source: str
    citation: str
    good_at: str
    trained_on: str

    def described(self) -> dict[str, Any]:
        """The fields above by name."""
        return {field.name: getattr(self, field.name) for field in fields(Description)}


def is_text(value: Any) -> bool:
    """Whether a field of a file holds something to read."""
    return isinstance(value, str) and bool(value.strip())
