"""The Models dock: which networks there are, and fetching, adding, checking and removing their weights."""
