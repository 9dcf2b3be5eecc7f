"""Names to files and entry points, what a file declares, what it costs, and the laws that every loss must obey."""
