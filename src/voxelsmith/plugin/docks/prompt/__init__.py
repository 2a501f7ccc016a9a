"""The Prompt dock: points, boxes, scribbles and masks turned into labels, object by object."""
