"""The model: equation (1), the networks of equation (2), and the result of inference."""
