"""Scores: the inferred model against the truth."""
