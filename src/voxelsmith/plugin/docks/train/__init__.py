"""The Train dock: a network learns the user's own annotations, watched."""
