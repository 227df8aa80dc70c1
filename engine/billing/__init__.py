"""Wallets, holds, settlements and the ledger: every credit that moves, booked twice."""
