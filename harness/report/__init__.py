"""Reports made from records alone: figures, tables, one page. Nothing here imports torch."""

from harness.called import answers

answers(__name__)
