"""One file, one algorithm, one word on the command line."""

MARKER = "preference-harness"  # read by harness.plugins.registry: another wheel may bring a package of this name
YARDSTICKS = ("dpo", "ipo", "kto")  # what `harness check` puts an algorithm next to, the first one first of all
