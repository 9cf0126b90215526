"""What is measured: sums and counts, and how sure a difference is."""
