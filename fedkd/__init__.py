"""fedkd: federated multi-view learning by soft pseudo-labels.

Views of the same events teach one another, with the help of a skeleton teacher; no recording leaves its host.
Start at `fedkd.types` for the nouns, `strategies` and `clients` for the two parties, `simulations` for the places.
"""

__version__ = "0.1.0"
