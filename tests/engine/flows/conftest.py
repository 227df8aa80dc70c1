"""The published expert and the people of the gateway's tests, for flows."""

from tests.apps.gateway.conftest import base_ids, consumer, developer, published, reviewer

__all__ = ["base_ids", "consumer", "developer", "published", "reviewer"]
