"""One file, one task, one word on the command line."""

MARKER = "preference-harness"  # read by harness.plugins.registry: another wheel may bring a package of this name
YARDSTICKS = ("tldr",)  # where `harness check` looks for an algorithm's place, the first one first of all
