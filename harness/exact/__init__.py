"""Worlds small enough to be known exactly: a response is one token, its reward is given, and what a loss converges to is a number."""
