"""The published expert and the people of the gateway's tests, for flows."""

from tests.apps.gateway.conftest import consumer, developer, published, reviewer

__all__ = ["consumer", "developer", "published", "reviewer"]
