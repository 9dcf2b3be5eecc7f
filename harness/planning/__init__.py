"""An experiment as a value: what a file and flags say, its settings, budgets, grid and price. No torch."""
