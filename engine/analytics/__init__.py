"""Usage events: recorded with each call, exported to Parquet, read with DuckDB."""
