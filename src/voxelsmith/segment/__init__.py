"""Engines that turn prompts into masks, and the session that drives them; no Qt."""
