"""Stop texts found in any split of a text, and never a piece of one shown."""

from hypothesis import given
from hypothesis import strategies as st

from engine.inference.stop_text import StopText

letters = st.text(alphabet="ab", max_size=30)


@given(letters, st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3), st.data())
def test_any_split_gives_the_text_up_to_the_first_stop(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    watcher, shown, rest = StopText(stops), "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        shown += watcher.push(rest[:size])
        rest = rest[size:]
    hit = watcher.hit
    shown += watcher.rest()
    assert hit == any(stop in text for stop in stops)
    assert text.startswith(shown)
    if hit:
        assert not any(stop in shown for stop in stops)
        assert any(text[len(shown) :].startswith(stop) for stop in stops)
    else:
        assert shown == text
