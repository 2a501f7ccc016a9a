"""Words: the names that SegVol knows, and what else people call them.

Owns ``words.toml`` beside this module. Any other text is a name as well: the network reads it as it stands.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).with_name("words.toml")
_SIDES = ("left", "right")


def names() -> list[str]:
    """All names that SegVol knows."""
    return list(_table())


def matching(text: str) -> list[str]:
    """The names that the beginning of a name, or of a synonym, can mean: those that begin so, then the others.

    "kid l" is a beginning of "left kidney", and "ivc" one of "inferior vena cava".
    """
    typed = _plain(text)
    begun = [name for name in names() if name.startswith(typed)]
    meant = [name for name, others in _table().items() if any(_begins(term, typed) for term in (name, *others))]
    return list(dict.fromkeys([*begun, *meant]))


def canonical(word: str) -> str:
    """The name for what a word means; a word that is not known passes, in lower case and with single spaces.

    "Kidney_Left" is "left kidney", and "ivc" is "inferior vena cava".
    """
    plain = _plain(word)
    known = _synonyms()
    rest, _, side = plain.rpartition(" ")
    turned = f"{side} {rest}" if side in _SIDES and rest else plain
    return next((known[each] for each in (plain, turned) if each in known), plain)


def is_known(word: str) -> bool:
    """Whether a word, or the name that it means, is one that SegVol knows."""
    return canonical(word) in _table()


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


def _begins(term: str, typed: str) -> bool:
    """Whether each word that was typed begins a word of a term."""
    return all(any(word.startswith(part) for word in term.split()) for part in typed.split())


@lru_cache(maxsize=1)
def _table() -> dict[str, list[str]]:
    table: dict[str, list[str]] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return table


@lru_cache(maxsize=1)
def _synonyms() -> dict[str, str]:
    synonyms = {synonym: name for name, others in _table().items() for synonym in others}
    return synonyms | {name: name for name in _table()}
