"""Keys: which key does what while a prompting session lives.

Owns the table of keys and their binding to the viewer and to the prompt layers (napari asks the active layer first).
On layers that are not ours napari's own layer keys keep their meaning. Closing a :class:`KeyBinder` gives every key
back to whom it belonged before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[], None]

KEYS: Mapping[str, str] = {
    "points": "P",
    "box": "B",
    "scribbles": "S",
    "word": "W",
    "polarity": "N",
    "live": "U",
    "run": "G",
    "cancel": "Escape",
    "accept": "Enter",
    "undo": "Control-Z",
    "redo": "Control-Shift-Z",
    "reset": "Shift-R",
    "mask": "Shift-M",
    "overwrite": "Shift-O",
    "preview": "H",
    "session": "Shift-S",
}
"""Action to key, in napari's notation."""


def shown(action: str) -> str:
    """The key of an action as tooltips write it."""
    return KEYS[action].replace("Control", "Ctrl").replace("-", "+")


def qt_sequence(action: str) -> str:
    """The key of an action as Qt writes it."""
    return shown(action).replace("Enter", "Return")


class KeyBinder:
    """Keys bound to a viewer and to layers, until :meth:`close`.

    Parameters
    ----------
    handlers
        Action (a key of :data:`KEYS`) to what it does.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._bound: list[tuple[Any, str, Any, Any]] = []

    def bind(self, provider: Any) -> None:
        """Take the keys on a viewer or a layer."""
        for action, handler in self._handlers.items():
            function = _ignoring_owner(handler)
            before = provider.bind_key(KEYS[action], None)
            provider.bind_key(KEYS[action], function)
            self._bound.append((provider, KEYS[action], function, before))

    def close(self) -> None:
        """Give the keys back, except those that somebody else has taken since."""
        for provider, key, function, before in self._bound:
            now = provider.bind_key(key, None)
            back = before if now is function else now
            if back is not None:
                provider.bind_key(key, back)
        self._bound.clear()


def _ignoring_owner(handler: Handler) -> Callable[[Any], None]:
    def on_key(_owner: Any) -> None:
        handler()

    return on_key
