"""The gateway: an OpenAI-compatible API and the product's own, on one address."""
