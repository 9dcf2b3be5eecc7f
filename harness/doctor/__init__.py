"""What is wrong with data, and whether an offline loss suits it."""
