"""The napari plugin: the only package that imports napari, qtpy, magicgui or superqt."""
