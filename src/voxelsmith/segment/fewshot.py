"""Few-shot: one request, and the engine that suits it.

Owns the rule by which an engine is chosen, which the user reads as a sentence, and the engines by name: painted slices
of the same volume, prototypes across volumes, propagation by registration, and networks that learned from episodes. An
engine is imported when it is used, so that the names cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.segment.proposal import CONDITIONAL, PROPAGATION, PROTOTYPES, SAME_VOLUME, Proposal

if TYPE_CHECKING:
    from voxelsmith.models.device import DeviceName
    from voxelsmith.segment.features import Encoder

AUTOMATIC = "automatic"

ENGINES = {
    SAME_VOLUME: "Painted slices of the same volume",
    PROTOTYPES: "Prototypes of other volumes",
    PROPAGATION: "Registration of other volumes",
}
"""What users read, by the names of the engines."""

NEEDS_NETWORK = {CONDITIONAL: "Conditional network"}
"""The same for engines that exist only with a trained network."""


@dataclass(frozen=True)
class Choice:
    """An engine, and why.

    Parameters
    ----------
    engine
        One of :data:`ENGINES` or :data:`NEEDS_NETWORK`.
    reason
        One sentence for the user.
    """

    engine: str
    reason: str


@dataclass(frozen=True, eq=False)
class FewShotRequest:
    """A volume to segment by a support set.

    Parameters
    ----------
    query
        A 3-D image; its array must not change while the request is computed.
    support
        The examples in use count.
    engine
        One of :data:`ENGINES`, or "automatic".
    view
        The slice in view, which painted slices of the same volume and prototypes answer first.
    known_range
        First and last slice of the query with the classes, for prototypes; None if that is to be found.
    encoder
        For prototypes; by default :func:`~voxelsmith.segment.encoders.default_encoder`.
    device
        Where the default encoder, or a trained network, computes.
    trained
        File of weights or run folder of ``voxelsmith train episodes``: an encoder, which then serves prototypes, or a
        conditional network.
    """

    query: Volume
    support: SupportSet
    engine: str = AUTOMATIC
    view: int | None = None
    known_range: tuple[int, int] | None = None
    encoder: Encoder | None = None
    device: DeviceName = "auto"
    trained: Path | None = None


def choose(
    query: Volume, support: SupportSet, known_range: tuple[int, int] | None = None, trained: Path | None = None
) -> Choice:
    """The engine for a query and its support.

    A trained network that was named is used. Else slices painted on the query itself come first. Examples of other
    volumes are carried over by registration if they are annotated as a whole and at least half of them show the same
    part of the body as the query, as the search for their place tells (:mod:`voxelsmith.register.search`); else their
    prototypes are looked for.

    Raises
    ------
    InputError
        If no example in use has a label, or an image is constant.
    FormatError, ModelUnavailableError
        If the trained network cannot be used.
    """
    support.require_foreground()
    if trained is not None:
        return Choice(_engine_of(trained), f"The network {trained.name} was named, so it is used.")
    examples = support.enabled
    if any(on_query(query, e) and e.has_foreground for e in examples):
        return Choice(SAME_VOLUME, "Slices of this volume are painted, so the rest is learned from them.")
    if known_range is not None:
        return Choice(PROTOTYPES, "You gave the range of slices, so prototypes of the examples are looked for in it.")
    if any(e.axis is not None for e in examples):
        return Choice(
            PROTOTYPES,
            "Other volumes are annotated in some slices, so prototypes of these are looked for in this one.",
        )
    from voxelsmith.register.search import search

    if 2 * sum(search(query, e.image).matched for e in examples) >= len(examples):
        return Choice(
            PROPAGATION,
            "The examples look like this volume as a whole, so their labels are carried over by registration.",
        )
    return Choice(
        PROTOTYPES,
        "The examples look unlike this volume as a whole, so it is searched for what looks like their labels.",
    )


def _engine_of(trained: Path) -> str:
    from voxelsmith.segment.episodic import method_of

    return PROTOTYPES if method_of(trained) == "prototype" else CONDITIONAL


def on_query(query: Volume, example: SupportExample) -> bool:
    """Whether an example was painted on the query itself."""
    image = example.image
    if not query.same_grid(image):
        return False
    return image.array is query.array or example.image_fingerprint == query.fingerprint()


def propose(request: FewShotRequest) -> Job[Proposal]:
    """Segment the query with the engine that was asked for or that suits it.

    Yields
    ------
    Progress
        Of the engine.

    Returns
    -------
    Proposal

    Raises
    ------
    InputError
        If there is no engine of that name; and as the engines do.
    """
    query, support = request.query, request.support
    engine = request.engine
    if engine == AUTOMATIC:
        engine = choose(query, support, request.known_range, request.trained).engine
    if request.trained is not None and engine != (wanted := _engine_of(request.trained)):
        raise InputError(
            f"The network {request.trained.name} works with the engine {wanted}, but {engine} was asked for; leave the "
            "engine on automatic."
        )
    if engine == SAME_VOLUME:
        from voxelsmith.segment import same_volume

        painted = same_volume.SameVolumeRequest(query, support, view=request.view)
        return (yield from same_volume.SameVolumeEngine().propose(painted))
    if engine == PROTOTYPES:
        from voxelsmith.segment import across_volumes
        from voxelsmith.segment.encoders import default_encoder
        from voxelsmith.segment.episodic import trained_encoder
        from voxelsmith.segment.features import CachedEncoder

        encoder = request.encoder or default_encoder(request.device)
        if request.trained is not None:
            encoder = CachedEncoder(trained_encoder(request.trained, request.device))
        return (
            yield from across_volumes.propose(
                across_volumes.AcrossRequest(query, support, encoder, request.known_range, view=request.view)
            )
        )
    if engine == PROPAGATION:
        from voxelsmith.segment import propagation

        return (yield from propagation.propose(propagation.PropagationRequest(query, support)))
    if engine == CONDITIONAL and request.trained is not None:
        from voxelsmith.segment import conditional_volume
        from voxelsmith.segment.episodic import conditional_network

        network, name = conditional_network(request.trained, request.device), request.trained.name
        return (
            yield from conditional_volume.propose(
                conditional_volume.ConditionalRequest(query, support, network, name, request.known_range)
            )
        )
    raise InputError(f"A few-shot engine is {AUTOMATIC}, {', '.join(ENGINES)}, got {engine!r}.")
