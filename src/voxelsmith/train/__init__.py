"""What the networks learn from and how: annotated volumes, made up or deformed from real ones, losses, loops, recipes.

The generators need numpy, scipy and scikit-image only. Each takes a :class:`numpy.random.Generator` and draws
everything from it, so a seed gives the same volume again.
"""
