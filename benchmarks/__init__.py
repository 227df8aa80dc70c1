"""Measurements, one module per subject: `python -m benchmarks.NAME [--quick] [--json]`."""
