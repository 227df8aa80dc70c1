"""People, their roles, sessions and API keys."""
