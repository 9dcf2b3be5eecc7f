"""The rooms that know transformers, devices and the optimiser."""
