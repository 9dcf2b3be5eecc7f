"""Embedded worlds: synthetic tasks whose gold reward is known, made of a table of words (TOML) and a few pure functions."""
