"""Makes mini_alr and tiny_omni from nothing but this repository and its wheels."""
