"""What is measured: marks, with their counts by class, and how sure a difference is."""
