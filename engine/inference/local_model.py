"""A model in this process: transformers for the base, PEFT for the adapters, one answer at a time."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer

from engine.inference.schemas import BASE
from engine.inference.stop_text import StopText

MOST_ADAPTERS = 32
SILENT_SECONDS = 60.0


class UnknownModel(Exception):
    """The name is neither the base nor a loaded adapter."""


class ContextFull(Exception):
    """The prompt leaves no room for an answer; carries the text for the client."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request. `temperature` 0 is greedy; `max_tokens` None means as far as the context goes."""

    model: str
    messages: Sequence[dict[str, str]]
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(kw_only=True)
class Answer:
    """A running answer: token counts so far, and the switch that stops it."""

    prompt_tokens: int = 0
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    stopped: threading.Event = field(default_factory=threading.Event)


class LocalModel:
    """The base model in `folder` with up to 32 adapters, the least recently used one dropped first.

    All torch work runs on one thread in the order it came, so adapters never change under a
    running answer. Weights are float32 on a CPU and the model's own type on a GPU.
    """

    def __init__(self, folder: Path, *, max_model_len: int) -> None:
        cuda = torch.cuda.is_available()
        self._device = "cuda" if cuda else "cpu"
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        base: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype="auto" if cuda else torch.float32
        )
        self._model: Any = base.to(self._device).eval()
        own = getattr(base.config, "max_position_embeddings", None)
        self._room = min(max_model_len, own or max_model_len)
        self._generation = base.generation_config
        self._adapters: OrderedDict[str, str] = OrderedDict()  # served name -> PEFT's name
        self._made = 0
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._beat = time.monotonic()
        self._busy = False

    def names(self) -> list[str]:
        """Return the names served."""
        return [BASE, *self._adapters]

    def alive(self) -> bool:
        """Return False when a running answer has made no token for a minute."""
        return not self._busy or time.monotonic() - self._beat < SILENT_SECONDS

    def load(self, name: str, folder: Path) -> Future[None]:
        """Load a PEFT adapter under `name`; the future raises what PEFT raises."""
        return self._worker.submit(self._load, name, folder)

    def unload(self, name: str) -> Future[None]:
        """Forget an adapter; the future raises UnknownModel."""
        return self._worker.submit(self._unload, name)

    def answer(self, ask: Ask, answer: Answer, on_text: Callable[[str], None]) -> Future[None]:
        """Generate; `on_text` gets each new piece on the model's thread, after counts are updated.

        The future raises UnknownModel or ContextFull before any text.
        """
        return self._worker.submit(self._answer, ask, answer, on_text)

    def _load(self, name: str, folder: Path) -> None:
        self._made += 1
        inner = f"adapter_{self._made}"  # PEFT's names become module names, which allow no dots
        if isinstance(self._model, PeftModel):
            self._model.load_adapter(str(folder), adapter_name=inner, use_safetensors=True)
        else:
            self._model = PeftModel.from_pretrained(
                self._model, str(folder), adapter_name=inner, use_safetensors=True
            )
        self._model.eval()
        self._adapters[name] = inner
        if len(self._adapters) > MOST_ADAPTERS:
            self._unload(next(iter(self._adapters)))

    def _unload(self, name: str) -> None:
        if name not in self._adapters:
            raise UnknownModel(name)
        # PEFT cannot generate without any adapter, so the last one only loses its name.
        inner = self._adapters.pop(name)
        if self._adapters:
            self._model.delete_adapter(inner)

    def _choose(self, name: str) -> dict[str, list[str]]:
        if name == BASE:
            return {"adapter_names": ["__base__"]} if isinstance(self._model, PeftModel) else {}
        if name not in self._adapters:
            raise UnknownModel(name)
        self._adapters.move_to_end(name)
        return {"adapter_names": [self._adapters[name]]}

    def _answer(self, ask: Ask, answer: Answer, on_text: Callable[[str], None]) -> None:
        chosen = self._choose(ask.model)
        if answer.stopped.is_set():
            return
        batch = self._tokenizer.apply_chat_template(
            list(ask.messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self._device)
        answer.prompt_tokens = batch["input_ids"].shape[1]
        room = self._room - answer.prompt_tokens
        most = room if ask.max_tokens is None else ask.max_tokens
        if room < max(1, most):
            raise ContextFull(
                f"This model's maximum context length is {self._room} tokens, but the prompt has "
                f"{answer.prompt_tokens} and {most} were asked for."
            )
        listener = _Listener(self._tokenizer, answer, StopText(ask.stop), on_text, self._mark)
        if ask.seed is not None:
            torch.manual_seed(ask.seed)
        self._mark()
        self._busy = True
        try:
            with torch.inference_mode():
                self._model.generate(
                    **batch,
                    **chosen,
                    generation_config=self._settings(ask, most),
                    streamer=listener,
                    stopping_criteria=StoppingCriteriaList([_StopOn(answer.stopped)]),
                )
        finally:
            self._busy = False
        ended = listener.hit_stop or answer.token_ids[-1] in _as_list(self._generation.eos_token_id)
        answer.finish_reason = "stop" if ended else "length"
        listener.flush()

    def _settings(self, ask: Ask, most: int) -> GenerationConfig:
        sampling = {"temperature": ask.temperature, "top_p": ask.top_p, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=most,
            do_sample=ask.temperature > 0,
            eos_token_id=self._generation.eos_token_id,
            pad_token_id=self._tokenizer.pad_token_id,
            **(sampling if ask.temperature > 0 else {}),
        )

    def _mark(self) -> None:
        self._beat = time.monotonic()


def _as_list(ids: int | list[int] | None) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


class _StopOn(StoppingCriteria):
    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        return torch.full((input_ids.shape[0],), self._stopped.is_set(), device=input_ids.device)


class _Listener(BaseStreamer):
    """Turns token ids into text as they come, whole characters only."""

    def __init__(
        self,
        tokenizer: Any,
        answer: Answer,
        stop: StopText,
        on_text: Callable[[str], None],
        mark: Callable[[], None],
    ) -> None:
        self._tokenizer, self._answer, self._stop = tokenizer, answer, stop
        self._on_text, self._mark = on_text, mark
        self._prompt_seen = False
        self._start = 0  # first token whose text is not settled yet
        self._shown = ""  # text of the tokens from there on that was already passed on
        self.hit_stop = False

    def put(self, value: torch.Tensor) -> None:
        if not self._prompt_seen:  # generate() passes the prompt first
            self._prompt_seen = True
            return
        self._mark()
        if self.hit_stop:
            return
        self._answer.token_ids.extend(value.flatten().tolist())
        self._emit(self._new_text(final=False))

    def end(self) -> None:
        return None

    def flush(self) -> None:
        """Pass on what was held back for a stop text that never came, or for half a character."""
        if not self.hit_stop:
            self._emit(self._new_text(final=True))
            self._on_text(self._stop.rest())

    def _new_text(self, *, final: bool) -> str:
        ids = self._answer.token_ids[self._start :]
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        if text.endswith("\ufffd") and not final:
            return ""  # half a character: the rest comes with the next token
        new = text[len(self._shown) :]
        self._shown = text
        if len(ids) > 64 and text.endswith((" ", "\n")):
            self._start, self._shown = len(self._answer.token_ids), ""
        return new

    def _emit(self, text: str) -> None:
        ready = self._stop.push(text)
        if self._stop.hit:
            self.hit_stop = True
            self._answer.stopped.set()
        self._on_text(ready)
