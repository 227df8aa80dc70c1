"""Serving: what holds for every call to a model, whoever makes it."""
