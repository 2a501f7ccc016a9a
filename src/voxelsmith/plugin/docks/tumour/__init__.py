"""The Tumour dock: four MR sequences to whole tumour, tumour core and enhancing tumour."""
