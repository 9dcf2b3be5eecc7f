"""A grid of cells over processes or machines."""
