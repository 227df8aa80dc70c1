"""The kit: small tools that every room may use and that know nothing of any room."""
