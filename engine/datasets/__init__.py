"""Conversations to train on: imported, checked row by row, split, fingerprinted and kept."""
