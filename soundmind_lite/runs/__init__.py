"""What surrounds a run: its folder, checkpoints, guards, logs, curves and report."""
