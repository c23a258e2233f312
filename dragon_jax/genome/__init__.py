"""What lies on a genome and in its files: sequences by name."""
