"""The developer studio: pages that show values and hand inputs to handlers."""
