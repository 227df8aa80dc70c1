"""The payment provider: a door that any provider can stand behind, and one that speaks a small HTTP API.

What `HttpPayments` speaks, to the address MBE_PAYMENT_URL and with the secret MBE_PAYMENT_SECRET:

`POST {url}/checkouts`, `Authorization: Bearer {secret}`, `Idempotency-Key: {order_id}`, with the JSON
`{"order_id", "amount", "currency", "description", "return_url"}`; `amount` counts the currency's smallest
unit. The answer is 200 or 201 with `{"id", "url"}`: the provider's reference, and the page where people pay.
The same key is the same checkout.

The provider then posts to `/webhooks/payments` of the gateway:
`{"id", "type", "order_id", "reference", "amount", "currency"}`, where `type` is "payment.paid" or
"payment.reversed" (a refund or a chargeback, in full or in part, `amount` being that part). Other types are
passed over. The headers are `Payment-Timestamp`, in seconds since 1970, and `Payment-Signature`, the
HMAC-SHA256 of `"{timestamp}.{body}"` under the secret, in hexadecimal digits. Events more than five minutes
old are refused. An answer outside 200 to 299 asks for the event again, later; `id` makes it count once.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, Field, ValidationError

from engine.billing.schemas import Order, PaymentEvent
from engine.kit.errors import BadInput, Forbidden, UpstreamFailed
from engine.kit.logs import logger
from engine.kit.settings import settings

TIMEOUT = 20.0
WINDOW_SECONDS = 300
KINDS = {"payment.paid": "paid", "payment.reversed": "reversed"}

log = logger(__name__)


class Checkout(NamedTuple):
    """Where an order is paid, and what the provider calls it."""

    url: str
    reference: str


class PaymentProvider(Protocol):
    """Whoever takes people's money. No transaction is open while it is spoken to."""

    def start(self, order: Order, return_url: str) -> Checkout:
        """Begin a checkout; the same order is the same checkout. Raises UpstreamFailed."""

    def verify(self, headers: Mapping[str, str], body: bytes, at: datetime) -> PaymentEvent | None:
        """Return what the provider tells, None for what does not matter here.

        Raises Forbidden for what is not from the provider or too old, BadInput for what cannot be read.
        """


class _Told(BaseModel):
    id: str = Field(min_length=1, max_length=200)
    order_id: str = Field(min_length=1, max_length=60)
    reference: str = Field(min_length=1, max_length=200)
    amount: int = Field(gt=0, lt=2**53, strict=True)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class _Type(BaseModel):
    type: str


class _Started(BaseModel):
    id: str = Field(min_length=1, max_length=200)
    url: str = Field(max_length=2_000)


class HttpPayments:
    """A provider that speaks the API described above."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url.rstrip("/")
        self._secret = secret

    def start(self, order: Order, return_url: str) -> Checkout:
        wanted = {
            "order_id": order.id,
            "amount": order.amount_minor,
            "currency": order.currency,
            "description": f"MBE Studio {order.id}",
            "return_url": return_url,
        }
        headers = {"Authorization": f"Bearer {self._secret}", "Idempotency-Key": order.id}
        try:
            answer = httpx.post(f"{self._url}/checkouts", json=wanted, headers=headers, timeout=TIMEOUT)
            answer.raise_for_status()
            started = _Started.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError) as error:
            # An answer may repeat what was sent: nothing of it goes on, not even into the log.
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
            log.warning(
                "the payment provider failed", order=order.id, kind=type(error).__name__, status=status
            )
            raise UpstreamFailed("cash.provider_failed") from None
        if urlsplit(started.url).scheme not in ("https", "http"):
            raise UpstreamFailed("cash.provider_failed")
        return Checkout(url=started.url, reference=started.id)

    def verify(self, headers: Mapping[str, str], body: bytes, at: datetime) -> PaymentEvent | None:
        stamp = headers.get("payment-timestamp", "")
        given = headers.get("payment-signature", "").strip().lower()
        expected = sign(self._secret, stamp, body)
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise Forbidden("cash.bad_signature")
        if not (stamp.isascii() and stamp.isdigit()) or abs(at.timestamp() - int(stamp)) > WINDOW_SECONDS:
            raise Forbidden("cash.old_event")
        try:
            kind = KINDS.get(_Type.model_validate_json(body).type)
            if kind is None:
                return None
            told = _Told.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or None
            raise BadInput("cash.bad_event", field=field, why=first["msg"]) from error
        return PaymentEvent.model_validate(
            {"kind": kind, "amount_minor": told.amount, **told.model_dump(exclude={"amount"})}
        )


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a webhook."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def provider() -> PaymentProvider | None:
    """Return the provider that the settings name, if they name one."""
    if not settings().payments:
        return None
    return HttpPayments(settings().payment_url, settings().payment_secret)
