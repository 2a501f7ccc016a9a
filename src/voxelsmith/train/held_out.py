"""Which annotated slices judge a network that learns from their neighbours.

Owns the split by distance along the axis. Slices next to each other look alike, so a random choice would judge the
network by what it has nearly seen; here a run of slices is kept apart, as far from the others as can be.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

LEAST_SLICES = 4
"""With fewer annotated slices, none is spared to judge."""

_SHARE = 5


def held_out(
    positions: Sequence[float], classes: Sequence[frozenset[int]], allowed: Collection[int] | None = None
) -> tuple[int, ...]:
    """Choose the slices to judge by: one in five, in one run, never the outermost.

    Parameters
    ----------
    positions
        Of the annotated slices along the axis, ascending, in millimetres.
    classes
        The classes that each of them shows.
    allowed
        Which of them may be chosen, by their place in the list; None for all.

    Returns
    -------
    tuple of int
        Places in the list, ascending; empty if there are fewer than :data:`LEAST_SLICES`, or if a class would be left
        without a slice to learn from. Of the runs that are possible, one that shows a class is taken, then the one
        farthest from the slices on both sides, then the one nearest to the middle.
    """
    count = len(positions)
    if count < LEAST_SLICES:
        return ()
    size = max(1, count // _SHARE)
    everything = frozenset().union(*classes)
    found: tuple[tuple[bool, float, float], tuple[int, ...]] | None = None
    for start in range(1, count - size):
        run = tuple(range(start, start + size))
        left = frozenset().union(*(classes[n] for n in range(count) if n not in run))
        if left != everything or (allowed is not None and not set(run) <= set(allowed)):
            continue
        gap = min(positions[start] - positions[start - 1], positions[start + size] - positions[start + size - 1])
        merit = any(classes[n] for n in run), round(gap, 6), -abs(start + (size - 1) / 2 - (count - 1) / 2)
        if found is None or merit > found[0]:
            found = merit, run
    return found[1] if found and found[0][0] else ()
