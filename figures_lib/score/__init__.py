"""Scores: where the inferred model meets the truth."""
