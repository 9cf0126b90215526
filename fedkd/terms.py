"""The terms of what a student is taught to minimise (`fedkd.learn.objective`), in the order of every table of them.

By these names they are weighed in `objective`, travel in a view's tally, and are columns of rounds.csv, in nats.
"""

TERMS = ("supervised", "teacher", "consensus", "pseudo", "hint")
