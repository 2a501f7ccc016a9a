"""Caution: what a user should know before relying on an answer of SegVol.

Owns the sentences about images and words unlike those of its training. They refuse nothing: SegVol may work anyway.
"""

from __future__ import annotations

from typing import Any

from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import PromptRequest
from voxelsmith.segment.segvol.words import is_known

# Air is at -1000 Hounsfield units; other images have no such values, but interpolation or scaling may leave small ones.
_DARK = -100.0


def caution(request: PromptRequest, lowest: float) -> str:
    """Sentences about the image and the word of a request; empty if there is nothing unusual about them.

    Parameters
    ----------
    request
        What is answered.
    lowest
        Value of the image's darkest voxel.
    """
    texts = request.prompts.texts
    told = [_about_image(request.image, lowest), _about_word(texts[-1].text.strip()) if texts else ""]
    return " ".join(filter(None, told))


def _about_image(image: Volume, lowest: float) -> str:
    dicom: dict[str, Any] = image.metadata.get("dicom", {})
    modality = dicom.get("Modality")
    if modality == "CT" or (not modality and lowest <= _DARK):
        return ""
    reason = f"its file says {modality}" if modality else f"its darkest voxel is {lowest:.4g}, air in a CT about -1000"
    return f"SegVol was trained on CT alone, and this does not look like one ({reason}); check the answer."


def _about_word(word: str) -> str:
    if is_known(word):
        return ""
    return f"{word!r} is not among the names that SegVol is known to have learned; check the answer."
