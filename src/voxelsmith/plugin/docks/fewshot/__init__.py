"""The Few-shot dock: from a few annotated examples to the rest of a volume."""
