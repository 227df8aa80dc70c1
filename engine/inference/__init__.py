"""Speaking models: one OpenAI-compatible server, its supervisor, its adapters and its client."""
