"""Networks: torch modules and nothing else, tensors in and tensors out."""
