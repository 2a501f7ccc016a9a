"""The Register dock: two layers in, one transform out, and looks at how good it is."""
