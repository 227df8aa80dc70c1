import pytest

from engine.kit.errors import BadInput
from engine.kit.messages import LANGUAGES
from engine.training.prompting import PromptRecipe, is_prompt
from engine.training.recipe import LoraRecipe


def test_a_prompt_survives_json_and_is_told_from_a_training() -> None:
    recipe = PromptRecipe(template=" Be {brief\r\n and kind. ")
    assert recipe.template == "Be {brief\n and kind."
    assert PromptRecipe.from_dict(recipe.to_dict()) == recipe
    assert is_prompt(recipe.to_dict()) and not is_prompt(LoraRecipe().to_dict()) and not is_prompt({})


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (" ", "4,000"),
        ("x" * 4001, "4,000"),
        ("nul \0", "4,000"),
        ("half \ud83d", "4,000"),
        ("{passages} {question}", "passages"),
        ("From {context}: go", "{question}"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused_in_words(template: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        PromptRecipe(template=template)
    assert caught.value.field == "template"
    assert all(says in caught.value.message(language) for language in LANGUAGES)


@pytest.mark.parametrize("template", ["Be brief.", "{question}", '{"a": 1} {question}', "{Name} {}"])
def test_braces_that_are_no_places_are_text(template: str) -> None:
    assert PromptRecipe(template=template).template == template


def test_a_length_is_checked_like_that_of_a_training() -> None:
    with pytest.raises(BadInput):
        PromptRecipe(template="Be brief.", max_length=1)
