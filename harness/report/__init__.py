"""Figures, tables and pages from records alone; never torch."""
