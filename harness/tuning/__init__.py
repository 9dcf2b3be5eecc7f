"""Trials as runs, what their winners become, the common tuning judge and the checkpoint rule."""
