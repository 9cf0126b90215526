"""The benchmark: one job, in every place and beside loops that have no federation in them."""
