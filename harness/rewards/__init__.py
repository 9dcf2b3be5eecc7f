"""Reward models of one's own: trained on pairs, saved as folders that other tools read, measured, and asked to score and to rank."""
