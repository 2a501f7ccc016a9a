"""Engines that turn two volumes into a transform."""
