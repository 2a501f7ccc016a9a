"""Jobs that a test runs in a process of its own; importable there."""

import ctypes
import os
import time

from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Progress


class Told:
    """An early result that remembers everything."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def after(self, earlier):
        return Told(*earlier.numbers, *self.numbers)


def count(steps, pause, inbox):
    """Counts; returns what it was told, and whether the script of the tests is its own."""
    heard = []
    for n in range(steps):
        while not inbox.empty():
            heard.append(inbox.get())
        yield Progress(n, steps, f"step {n}", Told(n))
        time.sleep(pause)
    return heard


def until_told(folder, inbox):
    """Counts on until it is closed, which it writes down."""
    n = 0
    try:
        while True:
            yield Progress(n, 0, str(n))
            n += 1
            time.sleep(0.01)
    finally:
        (folder / "closed").write_text(str(n))


def environment(inbox):
    yield Progress(0, 1)
    return os.environ.get("GOMP_SPINCOUNT"), os.nice(0)


def wrong(inbox):
    yield Progress(0, 1)
    raise InputError("Expected one, got two; take one.")


def broken(inbox):
    yield Progress(0, 1)
    return 1 / 0


def hungry(inbox):
    yield Progress(0, 1)
    raise MemoryError


def crash(inbox):
    yield Progress(0, 1)
    ctypes.string_at(0)


def leave(inbox):
    yield Progress(0, 1)
    os._exit(3)


def stuck(folder, inbox):
    yield Progress(0, 1)
    (folder / "stuck").touch()
    time.sleep(60)
