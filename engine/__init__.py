"""The shared engine behind every face of MBE Studio."""
