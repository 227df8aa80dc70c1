"""The stakeholder dashboard: market and revenue, read from exported usage events."""
