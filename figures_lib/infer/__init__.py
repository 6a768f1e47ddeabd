"""Inference of equation (2) from a recording; nothing here can read the truth."""
