"""What a listing may say: names, titles, texts, tags and prices, checked before they are stored."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from engine.kit.errors import BadInput
from engine.kit.money import CREDIT, format_credits, parse_credits
from engine.market.schemas import CATEGORIES

PRICE_LIMIT = 1_000 * CREDIT
MOST_TAGS = 8
LONGEST_TAG = 30
LONGEST_NAME = 60
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def is_name(name: str) -> bool:
    """True for 3 to 60 characters of a-z, 0-9 and single inner hyphens."""
    return 3 <= len(name) <= LONGEST_NAME and _NAME.fullmatch(name) is not None


def slugify(title: str) -> str:
    """Return a name for `title`: its Latin letters and digits, or `expert-xxxxx` where it has too few.

    The same title always gives the same name, so that a retrained expert becomes the next version.
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_NAME].rstrip("-")
    if is_name(slug):
        return slug
    digest = hashlib.sha256(title.strip().encode("utf-8", "replace")).digest()
    return "expert-" + "".join(_DIGITS[byte % 32] for byte in digest[:5])


def check_name(name: str) -> str:
    """Return `name`. Raises BadInput naming `name`."""
    if not is_name(name):
        raise BadInput("market.bad_name", field="name", name=name[:80])
    return name


def check_text(value: str, field: str, least: int, most: int) -> str:
    """Return `value` without outer blanks; `least` and `most` are lengths in characters.

    Raises BadInput naming `field` for a wrong length or for control characters.
    """
    clean = value.strip()
    odd = any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\r\t" for c in clean)
    if odd:
        raise BadInput("market.odd_characters", field=field)
    if not least <= len(clean) <= most:
        raise BadInput(f"market.bad_{field}", field=field, least=least, most=most, length=len(clean))
    return clean


def check_title(value: str) -> str:
    """Return a title of 3 to 100 characters on one line."""
    return check_text(" ".join(value.split()), "title", 3, 100)


def check_description(value: str) -> str:
    """Return a description of 20 to 2,000 characters."""
    return check_text(value, "description", 20, 2000)


def check_example(value: str) -> str:
    """Return a usage example of 1 to 2,000 characters."""
    return check_text(value, "example", 1, 2000)


def check_category(value: str) -> str:
    """Return a known category."""
    if value not in CATEGORIES:
        raise BadInput("market.bad_category", field="category", category=value[:40])
    return value


def check_tags(values: Sequence[str]) -> list[str]:
    """Return at most 8 tags of 1 to 30 characters, each once."""
    tags = list(dict.fromkeys(check_text(tag, "tags", 0, LONGEST_TAG) for tag in values))
    tags = [tag for tag in tags if tag]
    if len(tags) > MOST_TAGS:
        raise BadInput("market.too_many_tags", field="tags", most=MOST_TAGS)
    return tags


def check_price(text: str, field: str) -> int:
    """Return micro-credits per 1,000 tokens for credits as text.

    Raises BadInput naming `field` for what is no amount, is negative, or is over 1,000 credits.
    """
    price = parse_credits(text, field)
    if price > PRICE_LIMIT:
        raise BadInput("market.price_too_high", field=field, most=format_credits(PRICE_LIMIT, 0))
    return price
