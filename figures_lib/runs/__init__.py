"""Runs: staged results on disk, executed notebooks, and the site built from them."""
