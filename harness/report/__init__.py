"""Reports made from records alone: figures, tables, one page. Nothing here imports torch."""
