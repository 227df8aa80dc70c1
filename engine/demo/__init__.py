"""The main job from end to end, through the public HTTP API and nothing else."""
