"""An expert that is a prompt: the base model with a developer's template, measured but not trained."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.kit.errors import BadInput
from engine.kit.prompts import PLACES
from engine.training.recipe import LoraRecipe

METHOD = "prompt"
TEMPLATE_LIMIT = 4000
_BRACES = re.compile(r"\{([a-z_]{1,40})\}")


@dataclass(frozen=True, kw_only=True)
class PromptRecipe:
    """A template as `kit.prompts.templated` fills it, and how many tokens of an example are read.

    Raises BadInput for a template that is empty, long, or cannot be kept, one that names places but not that
    of the question, and one that names a place which there is not.
    """

    template: str
    max_length: int = 1024
    method: str = METHOD

    def __post_init__(self) -> None:
        template = self.template.replace("\r\n", "\n").strip()
        object.__setattr__(self, "template", template)
        storable = "\0" not in template and template == template.encode("utf-8", "ignore").decode()
        if not template or len(template) > TEMPLATE_LIMIT or not storable:
            raise BadInput("training.bad_template", field="template", most=f"{TEMPLATE_LIMIT:,}")
        named = set(_BRACES.findall(template))
        if unknown := sorted(named - set(PLACES)):
            places = ", ".join(f"{{{place}}}" for place in PLACES)
            raise BadInput("training.unknown_place", field="template", name=unknown[0], places=places)
        if named and "question" not in named:
            raise BadInput("training.no_question_place", field="template", name=sorted(named)[0])
        # The same range as for trainings: their held-out losses are compared.
        LoraRecipe(max_length=self.max_length)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PromptRecipe":
        """Return the recipe that `to_dict` wrote. Raises BadInput."""
        return cls(
            template=str(values.get("template", "")),
            max_length=values.get("max_length", LoraRecipe.max_length),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def is_prompt(recipe: Mapping[str, Any]) -> bool:
    """Tell whether the recipe of a run is a PromptRecipe."""
    return recipe.get("method") == METHOD
