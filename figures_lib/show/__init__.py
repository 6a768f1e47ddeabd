"""Viewers of the built site and widgets of a live kernel."""
