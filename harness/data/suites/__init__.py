"""Safety suites: prompts that a policy is asked at the end, each suite declared in a file of its own beside this one.

``declared`` reads the declarations, ``reading`` the rows of a file or of the hub, ``chosen`` makes slices of what a comparison asks for.
"""
