"""What was made elsewhere: checkpoints as runs of a study, per-prompt outcomes as records."""
