"""From a laptop to several GPUs: what a machine can run, what a run will take, what a step took, merging."""
