"""The one look: colours, type and space for Gradio, Streamlit, plotly and plain pages."""

from dataclasses import dataclass, fields

FONTS = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "PingFang SC", "Noto Sans SC", "Noto Sans CJK SC", '
    '"Microsoft YaHei", sans-serif'
)
MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", monospace'
WIDTH = 1120


@dataclass(frozen=True)
class Palette:
    """Colours of one mode; accent is for money and winners only."""

    ink: str
    paper: str
    panel: str
    line: str
    primary: str
    accent: str
    good: str
    bad: str
    muted: str


LIGHT = Palette(
    ink="#14213D",
    paper="#FBFBF8",
    panel="#FFFFFF",
    line="#E4E3DC",
    primary="#2F5DA8",
    accent="#E0A030",
    good="#2E7D5B",
    bad="#B3423A",
    muted="#6B7280",
)
DARK = Palette(
    ink="#E8EAF0",
    paper="#11151C",
    panel="#1A202B",
    line="#2B3340",
    primary="#7FA6E6",
    accent="#E0A030",
    good="#62B48F",
    bad="#E58078",
    muted="#9AA3B2",
)

# One colour per model, the same everywhere; all keep their contrast on both papers.
SERIES = ("#2F5DA8", "#2E7D5B", "#B3423A", "#7A5AA6", "#C2770E", "#2A7F8E", "#8A4B6B", "#5B6B2F")


def variables(palette: Palette) -> str:
    """Return CSS custom properties: `--ink`, `--paper` and so on."""
    return "".join(f"--{f.name}:{getattr(palette, f.name)};" for f in fields(palette))


def root_css() -> str:
    """Return the variables for light and dark. Gradio marks dark with a class, other pages by media."""
    return (
        f":root{{{variables(LIGHT)}color-scheme:light}}"
        f".dark{{{variables(DARK)}color-scheme:dark}}"
        f"@media(prefers-color-scheme:dark){{:root:not(.light){{{variables(DARK)}color-scheme:dark}}}}"
    )


def colour_of(name: str) -> str:
    """Return the colour of a model or an expert: the same name has the same colour on every page."""
    return SERIES[sum(name.encode()) % len(SERIES)]


def plotly_layout(dark: bool = False) -> dict[str, object]:
    """Return the layout that every plot shares: quiet axes, direct labels, exact values on hover."""
    palette = DARK if dark else LIGHT
    axis = {"gridcolor": palette.line, "zerolinecolor": palette.line, "linecolor": palette.line}
    return {
        "font": {"family": FONTS, "size": 13, "color": palette.ink},
        "title": {"font": {"size": 15}, "x": 0, "xanchor": "left", "pad": {"l": 4}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": list(SERIES),
        "margin": {"l": 56, "r": 16, "t": 48, "b": 40},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": palette.panel, "font": {"color": palette.ink}},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        "xaxis": axis,
        "yaxis": {**axis, "rangemode": "tozero"},
        "bargap": 0.35,
    }
