"""Every setting of the product, in one place. Environment variables with the prefix `MBE_` change them."""

import os
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """What an operator may change. A bad value fails at start-up with its name.

    Amounts of money are in micro-credits (1 credit = 1,000,000), times in seconds, sizes in bytes.
    """

    model_config = SettingsConfigDict(env_prefix="MBE_", frozen=True, extra="ignore")

    home: Path = Field(REPOSITORY / "var", description="Folder for everything that is written.")
    database_url: str = Field("", description="PostgreSQL URL; empty means the embedded server.")
    blob_url: str = Field(
        "",
        pattern=r"^($|/|file:///|s3://[\w.-]+(/[^?#]*)?$)",
        description="A folder or s3://bucket/prefix; empty means home/blobs.",
    )
    redis_url: str = Field(
        "",
        pattern=r"^($|(redis|rediss|unix)://)",
        description="Redis where several gateways count the limits of calls; empty: each counts by itself.",
    )
    secret: str = Field("", description="Key that signs sessions; empty means one kept in home/secret.")

    host: str = Field("127.0.0.1", description="Address that the web pages and the gateway bind.")
    web_port: int = Field(8400, ge=1, le=65535)
    gateway_port: int = Field(8401, ge=1, le=65535)
    inference_port: int = Field(8402, ge=1, le=65535)
    gateway_parallel: int = Field(
        512, ge=1, description="Requests that one gateway process handles at once; more get 503."
    )
    public_gateway_url: str = Field("", description="Gateway address shown to people, when proxied.")
    public_web_url: str = Field("", description="Address of the pages shown to people, when proxied.")

    inference: Literal["auto", "vllm", "transformers", "remote", "fake"] = "auto"
    inference_url: str = Field("", description="Base URL of a remote OpenAI-compatible server.")
    inference_key: str = Field("", description="Bearer key for the remote server.")
    base_model: str = Field("starter", description="'starter', a folder, or a hub id.")
    max_model_len: int = Field(2048, ge=128)
    max_lora_rank: int = Field(32, ge=1, le=512)
    kv_cache_gb: int = Field(1, ge=1, description="vLLM's cache on a CPU.")
    quotes: int = Field(
        -1, ge=-1, le=20, description="Sentences given to a model; 0 whole passages, -1 by its size."
    )
    embedder: str = Field("auto", description="'auto', 'fake', or a sentence-transformers folder or hub id.")

    reranker: str = Field("", description="A cross-encoder's folder or hub id; empty: none is used.")

    hub_endpoint: str = Field(
        "https://huggingface.co",
        pattern=r"^(https://[\w.-]+|http://(127\.0\.0\.1|localhost|\[::1\]))(:\d+)?(/[\w./-]*)?$",
        description="Hub that experts are pushed to; unencrypted only on this machine.",
    )

    worker_concurrency: int = Field(2, ge=1, le=64)
    device_share: float = Field(
        0.45, ge=0, le=0.9, description="Share of a GPU's memory for jobs; the model server has the rest."
    )
    default_plan: Literal["free", "basic", "pro", "enterprise"] = Field(
        "free", description="Plan of whoever signs up."
    )
    job_heartbeat_timeout: float = Field(20.0, gt=0, description="A silent job is taken over after this.")
    upload_limit: int = Field(200 * 2**20, ge=1, description="Largest accepted file.")
    upload_days: float = Field(7.0, gt=0, description="An upload that nobody goes on with is forgotten.")
    fetch_private: bool = Field(False, description="Web links may lead into private networks.")
    parse_seconds: float = Field(300.0, gt=0, description="Longest time that reading one file may take.")
    parse_memory: int = Field(2 * 2**30, ge=2**20, description="Most memory that reading one file may take.")
    hold_timeout: float = Field(600.0, gt=0, description="An unsettled hold is released after this.")
    request_timeout: float = Field(120.0, gt=0, description="Longest time one answer may take.")
    gate_accuracy: float = Field(
        0.25, ge=0, le=1, description="Share of held-out questions that an expert must answer right."
    )
    gate_safety: float = Field(0.9, ge=0, le=1, description="Share of unwelcome requests it must withstand.")
    gate_seconds: float = Field(15.0, gt=0, description="Longest p95 of its answers.")
    play_credits: bool = Field(
        True, description="People may add play credits to their own wallet while no provider is connected."
    )
    payment_url: str = Field(
        "",
        pattern=r"^($|(https://[\w.-]+|http://(127\.0\.0\.1|localhost|\[::1\]))(:\d+)?(/[\w./-]*)?$)",
        description="A payment provider's address; empty: credits are not sold. See billing/payments.py.",
    )
    payment_secret: str = Field("", description="Secret shared with the payment provider.")
    payment_currency: str = Field("EUR", pattern=r"^[A-Z]{3}$", description="What credits are paid in.")
    payment_minor: int = Field(
        100, ge=1, le=10**9, description="Price of a credit in the currency's smallest unit."
    )
    payout_minimum: int = Field(10_000_000, ge=1, description="Least earnings that are paid out at once.")
    cpu_hour_micro: int = Field(
        200_000, ge=0, le=10**12, description="Price of an hour of a processor in trainings; 0: none."
    )
    gpu_hour_micro: int = Field(
        4_000_000, ge=0, le=10**12, description="Price of an hour of a GPU in trainings; 0: none."
    )
    log_level: str = "INFO"

    @property
    def loopback(self) -> bool:
        """True while only this machine can reach the pages; starter sign-ins exist only then."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def payments(self) -> bool:
        """True while a payment provider is connected."""
        return bool(self.payment_url and self.payment_secret)

    @property
    def free_credits(self) -> bool:
        """True while people may add play credits: never where credits are sold."""
        return self.play_credits and not self.payments

    @property
    def web_url(self) -> str:
        """Address of the front page for a person."""
        return self.public_web_url or f"http://{self.host}:{self.web_port}"

    @property
    def gateway_url(self) -> str:
        """Address of the gateway for a person or a program, without `/v1`."""
        return self.public_gateway_url or f"http://{self.host}:{self.gateway_port}"

    @property
    def model_url(self) -> str:
        """Base URL of the model server, without `/v1`."""
        return self.inference_url.rstrip("/") or f"http://127.0.0.1:{self.inference_port}"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return Settings()


def quiet_environment() -> dict[str, str]:
    """Variables that turn off every call home of the libraries used; set before they are imported."""
    return {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "ANONYMIZED_TELEMETRY": "False",
        "TOKENIZERS_PARALLELISM": "false",
    }


for _name, _value in quiet_environment().items():
    os.environ.setdefault(_name, _value)
