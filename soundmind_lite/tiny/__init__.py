"""How mini_alr and tiny_omni are made."""
