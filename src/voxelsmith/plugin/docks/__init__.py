"""The docks, one folder each: ``view.py`` holds widgets and signals, ``controller.py`` decides."""
