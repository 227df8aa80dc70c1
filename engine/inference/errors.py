"""What can go wrong between us and a model server, beside the kit's NotReady and UpstreamFailed."""

from engine.kit.errors import UpstreamFailed


class ModelMissing(UpstreamFailed):
    """The server runs but does not know the model or adapter, as after a restart."""


class PromptTooLong(UpstreamFailed):
    """The conversation does not fit into the model's context; the caller can shorten it."""

    status = 400


class RequestRefused(UpstreamFailed):
    """The server does not understand a field of the request, or cannot do what it asks for."""

    status = 400


class AdapterRefused(UpstreamFailed):
    """The server does not take an adapter; that may be the adapter's fault, and others are still answered."""
