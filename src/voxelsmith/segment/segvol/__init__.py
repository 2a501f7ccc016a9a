"""SegVol: prompted segmentation of CT with the published weights (Du et al., NeurIPS 2024)."""
