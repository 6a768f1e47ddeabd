"""Simulation: the hidden movie, the network, and Euler–Maruyama integration."""
