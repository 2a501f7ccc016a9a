"""Findings as text: the mark and the sentence of what the user should know."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from voxelsmith.segment.tumour.findings import Finding

MARKS = {"error": "✕", "warning": "⚠", "note": "ℹ"}
_FINE = "✓ usable"


def lines(findings: Iterable[Finding]) -> str:
    """Rich text with a line for each finding; errors are bold."""
    return "<br>".join(_line(finding) for finding in findings)


def mark_of(finding: Finding | None) -> str:
    """The mark of a finding; without one, that all is well."""
    return _FINE if finding is None else MARKS[finding.severity]


def _line(finding: Finding) -> str:
    text = f"{MARKS[finding.severity]} {escape(finding.sentence)}"
    return f"<b>{text}</b>" if finding.severity == "error" else text
