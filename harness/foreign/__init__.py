"""Trainers of other projects as algorithms: their loss, their loop, their optimiser step; our batches, budget, ledger and measurement."""
