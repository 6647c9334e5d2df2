"""From a laptop to several GPUs: doctor, planner, bench and merging."""
