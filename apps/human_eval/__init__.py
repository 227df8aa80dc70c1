"""Human evaluation: people rate experts' answers without knowing whose they are."""

from apps.human_eval.app import build

__all__ = ["build"]
