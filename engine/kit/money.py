"""Integer money. One credit is 1,000,000 micro-credits; nothing here ever touches a float."""

from decimal import Decimal, InvalidOperation

from engine.kit.errors import BadInput

CREDIT = 1_000_000
LARGEST = 1_000_000 * CREDIT
DEVELOPER_PERCENT = 80


def parse_credits(text: str | int | Decimal, field: str = "amount") -> int:
    """Return micro-credits for a number of credits such as "0.25".

    Raises BadInput naming `field` for anything that is not a finite number with at most six decimals,
    is negative, or is larger than a million credits.
    """
    try:
        amount = Decimal(str(text).strip())
    except InvalidOperation as error:
        raise BadInput("money.not_a_number", field=field, value=str(text)[:40]) from error
    if not amount.is_finite():
        raise BadInput("money.not_a_number", field=field, value=str(text)[:40])
    if amount < 0:
        raise BadInput("money.negative", field=field, value=str(text)[:40])
    if amount > LARGEST // CREDIT:
        raise BadInput("money.too_large", field=field, most=format_credits(LARGEST))
    if amount and amount != round(amount, 6):
        raise BadInput("money.too_fine", field=field, value=str(text)[:40])
    return int(amount * CREDIT)


def format_credits(micro: int, decimals: int = 2) -> str:
    """Return `micro` as credits with at least `decimals` decimals and no needless zeros beyond them."""
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), CREDIT)
    digits = f"{rest:06d}".rstrip("0").ljust(decimals, "0")
    return f"{sign}{whole:,}.{digits}" if digits else f"{sign}{whole:,}"


def token_price(input_tokens: int, output_tokens: int, input_per_1k: int, output_per_1k: int) -> int:
    """Return the price in micro-credits of a call; prices are micro-credits per 1,000 tokens.

    A started micro-credit counts as a whole one, so that the sum over calls never falls short.
    """
    exact = input_tokens * input_per_1k + output_tokens * output_per_1k
    return -(-exact // 1000)


def split(amount: int) -> tuple[int, int]:
    """Return (developer, platform) shares of `amount`: 80% rounded down, and the rest.

    The odd micro-credit always goes to the platform, so the two shares sum to `amount` exactly.
    """
    developer = amount * DEVELOPER_PERCENT // 100
    return developer, amount - developer
