"""Results packed for others, and what must not be in an anonymous pack."""
