"""The model arena: blind battles, votes and ratings, with its own page."""
