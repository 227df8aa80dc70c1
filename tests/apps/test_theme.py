import tomllib

import pytest

from apps import theme
from engine.kit.settings import REPOSITORY


def luminance(colour: str) -> float:
    """Relative luminance of a colour, after WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours, after WCAG 2.2."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "primary", "good", "bad", "muted"])
def test_words_can_be_read_on_paper_and_panel(palette: theme.Palette, name: str) -> None:
    assert contrast(getattr(palette, name), palette.paper) >= 4.5
    assert contrast(getattr(palette, name), palette.panel) >= 4.5


@pytest.mark.parametrize(("mode", "palette"), [("light", theme.LIGHT), ("dark", theme.DARK)])
def test_streamlit_has_the_same_colours(mode: str, palette: theme.Palette) -> None:
    config = tomllib.loads((REPOSITORY / ".streamlit" / "config.toml").read_text())
    colours = config["theme"][mode]
    assert colours["primaryColor"] == palette.primary
    assert colours["backgroundColor"] == palette.paper
    assert colours["secondaryBackgroundColor"] == palette.panel
    assert colours["textColor"] == palette.ink
    assert config["browser"]["gatherUsageStats"] is False


def test_a_model_has_one_colour_everywhere() -> None:
    assert theme.colour_of("help-desk") == theme.colour_of("help-desk")
    assert {theme.colour_of(name) for name in "abcdefgh"} <= set(theme.SERIES)
