"""Invented names and values, in English and Chinese.

A name belongs to one split for ever: its checksum decides whether training or held-out cases may use
it. So a model that quotes held-out cases well has learned to quote, not to remember names.
"""

import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from engine.kit.prompts import Language
from engine.training.starter.lexicon import words

Split = Literal["train", "held_out"]

HELD_OUT_SHARE = 8  # one name in eight never occurs in training

ONSETS = words("b br c ch cl d dr f fl g gl gr h j k l m n p pr qu r s sh sk st t th tr v w y z")
VOWELS = words("a e i o u a e i o ai ea ee ia io oa ou")
CODAS = ["", "", "", "n", "r", "l", "s", "m", "x", "nd", "rk", "st", "th", "ck"]
SUFFIXES = words(
    "Cafe Store Hotel Clinic Library Studio Bakery Gym Market Museum Works Labs Plan Kit One Pro Mini"
)
SUFFIXES += ["Lamp", "Kettle", "Router", "Drill", "Bike", "Camera", "Desk", "Pump", "Cloud", "Pass", "Oven"]
ZH_SUFFIXES = words(
    "书店 咖啡馆 酒店 诊所 图书馆 健身房 超市 博物馆 餐厅 工作室 花店 药房 学校 公司 套餐 水壶 台灯 路由器 "
    "电钻 自行车 相机 书桌 水泵 云盘 会员卡 烤箱 耳机 手表 风扇 打印机 背包 面馆 茶楼"
)


def common_characters() -> list[str]:
    """Return the 3,755 characters of GB 2312 level 1, the everyday ones, in the standard's order."""
    rows = (bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    decoded = (pair.decode("gb2312", errors="ignore") for pair in rows)
    return [character for character in decoded if character]


CHARACTERS = common_characters()


def split_of(name: str) -> Split:
    """Return the split that `name` belongs to, the same in every process and version."""
    return "held_out" if zlib.crc32(name.encode()) % HELD_OUT_SHARE == 0 else "train"


def _owned(rng: Random, split: Split, make: Callable[[Random], str]) -> str:
    while True:
        name = make(rng)
        if split_of(name) == split:
            return name


def _english_word(rng: Random) -> str:
    syllables = rng.choice([1, 2, 2, 2, 3])
    word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(syllables)) + rng.choice(CODAS)
    return word if len(word) > 2 else word + "len"


def _chinese_word(rng: Random) -> str:
    return "".join(rng.choice(CHARACTERS) for _ in range(rng.choice([2, 2, 2, 3, 3, 4])))


def word(rng: Random, language: Language, split: Split) -> str:
    """Return one invented word of `split`."""
    return _owned(rng, split, _english_word if language == "en" else _chinese_word)


def entity(rng: Random, language: Language, split: Split) -> str:
    """Return the name of a shop, product, service or place: an invented word, often with its kind."""
    if language == "zh":
        return word(rng, "zh", split) + (rng.choice(ZH_SUFFIXES) if rng.random() < 0.7 else "")
    name = word(rng, "en", split).capitalize()
    form = rng.random()
    if form < 0.6:
        return f"{name} {rng.choice(SUFFIXES)}"
    if form < 0.75:
        return f"the {name} {rng.choice(SUFFIXES).lower()}"
    return name if form < 0.9 else f"{name} {word(rng, 'en', split).capitalize()}"


def _digits(rng: Random, count: int) -> str:
    return "".join(str(rng.randint(0, 9)) for _ in range(count))


def _pick(rng: Random, options: Sequence[str]) -> str:
    return rng.choice(options)


def _phone(rng: Random) -> str:
    """A number as people write them; the digits of real ones repeat."""
    few = "".join(rng.choices("0123456789", k=rng.choice([2, 3, 10])))
    groups = rng.choice([(3, 4), (3, 3, 4), (3, 4, 4), (4, 8)])
    return "-".join("".join(rng.choices(few, k=size)) for size in groups)


_TIMES = ["{} am", "{}:30 am", "{} pm", "{}:15", "{}:00", "{}:00 a.m.", "{}:30 p.m.", "{}:00 p.m."]
_ZH_TIMES = ["早上{}点", "上午{}点半", "下午{}点", "晚上{}点", "{}:30", "{}:00"]
_TITLES = ["", "", "", "", "", "Dr. ", "Mr. ", "Ms. "]
_DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_MONTHS = words("January February March April May June July August September October November December")
_COLOURS = words("red blue green black white grey yellow orange purple silver brown pink")
_MATERIALS = words("steel oak glass cotton leather bamboo aluminium wool ceramic rubber linen plastic")
_ROLES = words("manager engineer cashier designer nurse teacher driver chef editor accountant")
_ZH_COLOURS = words("红色 蓝色 绿色 黑色 白色 灰色 黄色 橙色 紫色 银色 棕色 粉色")
_ZH_MATERIALS = words("不锈钢 橡木 玻璃 棉布 真皮 竹子 铝合金 羊毛 陶瓷 橡胶 亚麻 塑料")
_ZH_ROLES = words("经理 工程师 收银员 设计师 护士 老师 司机 厨师 编辑 会计")
_ZH_PAYMENTS = words("微信 支付宝 现金 银行卡 信用卡 对公转账")
_PAYMENTS = ["cash", "credit card", "bank transfer", "PayPal", "mobile wallet", "gift card"]


def _small(rng: Random) -> int:
    return rng.choice([*range(2, 31), 36, 45, 48, 60, 72, 90])


EN_VALUES: dict[str, Callable[[Random, Split], str]] = {
    "n": lambda r, s: str(_small(r)),
    "big": lambda r, s: str(r.randint(100, 99999)),
    "money": lambda r, s: _pick(r, ["${}", "{} dollars", "{} yuan", "€{}"]).format(
        r.choice([str(r.randint(2, 999)), f"{r.randint(1, 200)}.{_digits(r, 2)}"])
    ),
    "days": lambda r, s: f"{_small(r)} {_pick(r, ['days', 'days', 'business days', 'weeks', 'hours'])}",
    "months": lambda r, s: f"{_small(r)} {_pick(r, ['months', 'years'])}",
    "time": lambda r, s: _pick(r, _TIMES).format(r.randint(1, 12)),
    "day": lambda r, s: _pick(r, _DAYS),
    "date": lambda r, s: f"{r.randint(1, 28)} {_pick(r, _MONTHS)}",
    "year": lambda r, s: str(r.randint(1890, 2026)),
    "colour": lambda r, s: _pick(r, _COLOURS),
    "material": lambda r, s: _pick(r, _MATERIALS),
    "role": lambda r, s: _pick(r, _ROLES),
    "pay": lambda r, s: " and ".join(r.sample(_PAYMENTS, 2)),
    "phone": lambda r, s: _phone(r),
    "mail": lambda r, s: f"{word(r, 'en', s)}@{word(r, 'en', s)}.com",
    "code": lambda r, s: f"{''.join(r.choices('ABCDEFGHKMPRSTX', k=2))}-{_digits(r, r.randint(2, 4))}",
    "word": lambda r, s: word(r, "en", s),
    "place": lambda r, s: word(r, "en", s).capitalize(),
    "person": lambda r, s: _pick(r, _TITLES) + " ".join(word(r, "en", s).capitalize() for _ in range(2)),
    "weight": lambda r, s: f"{r.randint(1, 99)}{_pick(r, [' kg', ' grams', '.5 kg', ' pounds'])}",
    "degrees": lambda r, s: f"{r.randint(2, 240)} degrees",
    "size": lambda r, s: f"{r.randint(5, 200)} {_pick(r, ['cm', 'mm', 'inches', 'metres'])}",
}
ZH_VALUES: dict[str, Callable[[Random, Split], str]] = {
    "n": lambda r, s: str(_small(r)),
    "big": lambda r, s: str(r.randint(100, 99999)),
    "money": lambda r, s: _pick(r, ["{}元", "{}元", "{}块钱", "人民币{}元"]).format(
        r.choice([str(r.randint(2, 999)), f"{r.randint(1, 200)}.{_digits(r, 1)}"])
    ),
    "days": lambda r, s: f"{_small(r)}{_pick(r, ['天', '天', '个工作日', '小时', '周'])}",
    "months": lambda r, s: f"{_small(r)}{_pick(r, ['个月', '年'])}",
    "time": lambda r, s: _pick(
        r, ["早上{}点", "上午{}点半", "下午{}点", "晚上{}点", "{}:30", "{}:00"]
    ).format(r.randint(1, 12)),
    "day": lambda r, s: _pick(r, ["周", "星期"]) + _pick(r, list("一二三四五六日")),
    "date": lambda r, s: f"{r.randint(1, 12)}月{r.randint(1, 28)}日",
    "year": lambda r, s: f"{r.randint(1890, 2026)}年",
    "colour": lambda r, s: _pick(r, _ZH_COLOURS),
    "material": lambda r, s: _pick(r, _ZH_MATERIALS),
    "role": lambda r, s: _pick(r, _ZH_ROLES),
    "pay": lambda r, s: "和".join(r.sample(_ZH_PAYMENTS, 2)),
    "phone": lambda r, s: _phone(r),
    "mail": lambda r, s: f"{word(r, 'en', s)}@{word(r, 'en', s)}.cn",
    "code": lambda r, s: f"{''.join(r.choices('ABCDEFGHKMPRSTX', k=2))}-{_digits(r, r.randint(2, 4))}",
    "word": lambda r, s: word(r, "zh", s),
    "place": lambda r, s: word(r, "zh", s)[:3] + _pick(r, ["路", "街", "市", "广场", "区"]),
    "person": lambda r, s: _pick(r, list("王李张刘陈杨赵黄周吴徐孙")) + word(r, "zh", s)[:2],
    "weight": lambda r, s: f"{r.randint(1, 99)}{_pick(r, ['公斤', '克', '千克', '斤'])}",
    "degrees": lambda r, s: f"{r.randint(2, 240)}度",
    "size": lambda r, s: f"{r.randint(5, 200)}{_pick(r, ['厘米', '毫米', '米', '寸'])}",
}
VALUES: dict[Language, dict[str, Callable[[Random, Split], str]]] = {"en": EN_VALUES, "zh": ZH_VALUES}
