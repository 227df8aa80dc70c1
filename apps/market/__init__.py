"""The market: find an expert, ask it, pay for the answer, see where the credits went."""

from apps.market.app import build

__all__ = ["build"]
