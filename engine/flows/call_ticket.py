"""Values of a paid call: who calls, what was agreed, and what was delivered."""

import time
from dataclasses import dataclass, field, replace

from engine.accounts.schemas import Caller, Person
from engine.billing import prices
from engine.billing.schemas import Allowance, Price, Receipt
from engine.inference import tokens
from engine.inference.schemas import Completion, Delta, Usage
from engine.market.schemas import ExpertView
from engine.serving.rollout_schemas import Arm, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who calls: a person that is known already, or the secret of an API key; where from and what for.

    `project` is the id or name of one, `tenant` the id of the caller's own, if they say so.
    """

    person: Person | None = None
    secret: str = ""
    ip: str | None = None
    tenant: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Two versions of one expert in traffic at the same time."""

    rollout: Rollout
    stable: ExpertView
    candidate: ExpertView


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Who calls, the expert that answers, and the price that counts from here on.

    `used_before` are the tokens that decide the tier of the price. Nearly all answers of the expert stay
    below `usual_output` tokens; None while few are known. `call_key` names the call's hold, for one who has
    to find it again; else it gets a name of its own. `allowance` is the caller's package for this expert.
    `trial` is set while two versions share the calls: `expert` is the one of `arm`, and `failed_at` is when
    the candidate gave way, where it did.
    """

    caller: Caller
    expert: ExpertView
    price: Price
    used_before: int = 0
    usual_output: int | None = None
    call_key: str = ""
    allowance: Allowance | None = None
    trial: Trial | None = None
    arm: Arm = "stable"
    failed_at: float | None = None

    def stable(self, failed_at: float | None) -> "Offer":
        """Return the offer with the stable version in place of its candidate."""
        assert self.trial is not None
        return replace(self, expert=self.trial.stable, arm="stable", failed_at=failed_at)

    def headers(self) -> dict[str, str]:
        """Return the headers that say which version answers, and in which arm of a rollout."""
        version = {"X-Model-Version": self.expert.version}
        return version if self.trial is None else version | {"X-Routing-Arm": self.arm}

    def worst(self, input_tokens: int, most_output: int, choices: int) -> int:
        """Return what to hold for a call, in micro-credits.

        Not more than its answers can cost, and where the expert's own are known to be shorter, twice the
        usual: a long limit of tokens must not block a wallet. What a longer answer costs beyond its hold is
        taken from what is free.
        """
        each = most_output if self.usual_output is None else min(most_output, 2 * self.usual_output)
        return prices.cost(self.price, input_tokens, each * choices, self.used_before)


@dataclass(kw_only=True)
class Ticket:
    """A call under way: what was agreed, and what was delivered so far.

    `blamed` is set when it failed by the fault of the version that answered.
    """

    offer: Offer
    input_tokens: int
    trace_id: str | None
    started: float
    hold_id: str = ""
    from_package: bool = False
    first_word: float | None = None
    last_word: float | None = None
    streamed: bool = False
    delivered: list[str] = field(default_factory=list)
    running: dict[int, int] = field(default_factory=dict)
    usage: Usage | None = None
    finish_reason: str | None = None
    degraded: bool = False
    receipt: Receipt | None = None
    headers: dict[str, str] = field(default_factory=dict)
    blamed: bool = False

    def give_way(self) -> None:
        """Go on with the stable version: its candidate failed before its first word."""
        self.offer = self.offer.stable(time.monotonic())
        self.headers |= self.offer.headers()

    def take(self, said: Delta | Completion) -> None:
        """Note what the model said and what its server counted; of a text that stands in only its end."""
        if self.degraded:
            self.finish_reason = said.finish_reason
            return
        if isinstance(said, Delta) and said.usage and said.choices:
            # A running count is that of the choice it comes with.
            self.running[said.choices[0].get("index", 0)] = said.usage.completion_tokens
            made = sum(self.running.values())
            self.usage = Usage(prompt_tokens=said.usage.prompt_tokens, completion_tokens=made)
        else:
            self.usage = said.usage or self.usage
        self.finish_reason = said.finish_reason or self.finish_reason
        if said.text:
            self.last_word = time.monotonic()
            self.first_word = self.first_word or self.last_word
            self.streamed = isinstance(said, Delta)
            self.delivered.append(said.text)

    @property
    def outcome(self) -> str:
        """How it ended, in a word."""
        return "degraded" if self.degraded else self.finish_reason or "cancelled"

    @property
    def paid_for(self) -> bool:
        """Whether there is anything to pay: not for a call that failed, was left without a word, or got a
        text that stood in for the answer. Nor for one that failed in its candidate's hands, however much it
        had said.
        """
        if self.offer.arm == "candidate" and self.outcome == "failed":
            return False
        return bool(self.delivered) or self.outcome not in ("failed", "cancelled", "degraded")

    @property
    def counted(self) -> Usage:
        """Tokens as the server counted them, or as they are counted here where it did not."""
        return self.usage or Usage(
            prompt_tokens=self.input_tokens, completion_tokens=tokens.of_text("".join(self.delivered))
        )
