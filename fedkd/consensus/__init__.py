"""Consensus rules: what several views believe of the same events -> one belief, with the trust that stands behind it.

`align` puts the tables side by side and takes care of who saw what; a rule is then a formula of two or three lines.
"""
