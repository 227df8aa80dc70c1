"""Sentences as books and newspapers write them, and questions that share only some of their words.

The sentences of one text are about the same few names, are long, and say more than is asked. A question
names some of what its sentence says, in other forms of the words and among words that the text does not
hold, so that much of a question may go unmatched and the answer still be there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from engine.kit.prompts import Language
from engine.training.starter.lexicon import words
from engine.training.starter.names import Split, word

NOUNS: dict[Language, list[str]] = {
    "en": words(
        "army council church school university museum river bridge castle temple theatre company factory "
        "railway harbour island valley forest mountain garden market court parliament government treaty "
        "war battle law tax trade religion language book poem song play film painting theory theorem "
        "experiment engine machine computer network program disease plant bird fish cell protein metal gas "
        "oil coal gold water energy light wave number king queen emperor general minister president mayor "
        "judge bishop artist poet writer composer scientist engineer doctor teacher student farmer worker "
        "player coach team club league season record points prize population capital border province "
        "district village festival custom food wine clothing house palace tower newspaper station channel "
        "budget election party movement revolution reform rights freedom power crisis"
    ),
    "zh": words(
        "军队 议会 教堂 学校 大学 博物馆 河流 桥梁 城堡 寺庙 剧院 公司 工厂 铁路 港口 岛屿 山谷 森林 山脉 "
        "花园 市场 法院 政府 条约 战争 战役 法律 税收 贸易 宗教 语言 书籍 诗歌 歌曲 戏剧 电影 绘画 理论 "
        "定理 实验 发动机 机器 计算机 网络 节目 疾病 植物 鸟类 鱼类 细胞 蛋白质 金属 气体 石油 煤炭 黄金 "
        "能源 光线 国王 女王 皇帝 将军 部长 总统 市长 法官 主教 艺术家 诗人 作家 作曲家 科学家 工程师 医生 "
        "教师 学生 农民 工人 球员 教练 球队 俱乐部 联赛 赛季 纪录 奖项 人口 首都 边境 省份 地区 村庄 节日 "
        "习俗 食物 服装 宫殿 塔楼 报纸 电台 频道 预算 选举 政党 运动 革命 改革 权利 危机"
    ),
}
# What happened, and how a question may put it.
VERBS: dict[Language, list[tuple[str, str]]] = {
    "en": [
        (past, base)
        for past, base in (
            pair.split("/")
            for pair in words(
                "founded/found built/build destroyed/destroy won/win lost/lose wrote/write invented/invent "
                "discovered/discover ruled/rule joined/join left/leave sold/sell bought/buy opened/open "
                "closed/close elected/elect appointed/appoint defeated/defeat captured/capture "
                "attacked/attack defended/defend divided/divide united/unite produced/produce "
                "published/publish recorded/record released/release designed/design described/describe "
                "proposed/propose rejected/reject accepted/accept supported/support opposed/oppose "
                "changed/change replaced/replace restored/restore moved/move sent/send received/receive "
                "led/lead followed/follow taught/teach studied/study measured/measure used/use lacked/lack "
                "developed/develop improved/improve reduced/reduce increased/increase paid/pay cost/cost "
                "gave/give took/take held/hold kept/keep made/make found/find saw/see called/call "
                "named/name showed/show"
            )
        )
    ],
    "zh": [
        (verb, verb)
        for verb in words(
            "建立 建造 摧毁 赢得 失去 撰写 发明 发现 统治 加入 离开 出售 购买 开放 关闭 选举 任命 击败 "
            "占领 攻击 保卫 划分 统一 生产 出版 记录 发行 设计 描述 提出 拒绝 接受 支持 反对 改变 取代 "
            "恢复 迁移 派遣 获得 领导 跟随 教授 研究 测量 使用 缺乏 开发 改进 减少 增加 支付 给予 举行 "
            "保留 制造 称为 展示"
        )
    ],
}
QUALITIES: dict[Language, list[str]] = {
    "en": words(
        "old new large small famous early late first last second third royal local national foreign public "
        "private military religious political economic natural chemical ancient modern northern southern "
        "eastern western central rich poor free strong weak long short high low main major rare common "
        "special popular important British French German Chinese Roman Greek American Spanish Russian "
        "Italian Dutch Polish Indian Turkish"
    ),
    "zh": words(
        "古老 崭新 巨大 小型 著名 早期 晚期 首个 最后 皇家 当地 国家 外国 公共 私人 军事 宗教 政治 经济 "
        "自然 化学 古代 现代 北部 南部 东部 西部 中部 富裕 贫穷 自由 强大 弱小 漫长 主要 罕见 常见 特殊 "
        "流行 重要 英国 法国 德国 中国 罗马 希腊 美国 西班牙 俄罗斯 意大利 荷兰 波兰 印度 土耳其"
    ),
}
# {n} a noun, {N} a name of the text, {v} what happened, {a} a quality, {y} a year, {d} a number.
CLAUSES: dict[Language, list[str]] = {
    "en": [
        "the {a} {n} of {N} {v} the {n}",
        "in {y} {N} {v} the {a} {n}",
        "{N} {v} the {n} with the {a} {n}",
        "the {n} was {v} by the {n} of {N} in {y}",
        "{N}, which had {d} {a} {n}s, {v} the {n} and the {n}",
        "about {d} {n}s were {v} from {N}",
        "the {n} {v} more than {d} {n}s each {n}",
        "because of the {a} {n}, the {n} {v} {N}",
        "{N} and {N} {v} a {a} {n}",
        "its {n} is known for the {n} of {N}",
        "most of the {n}s had {v} the {a} {n}",
        "after the {n}, the {a} {n} was {v} as {N}",
        "the {n} has been the {a} {n} of {N} since {y}",
        "between {y} and {y}, {N} {v} {d} {n}s",
    ],
    "zh": [
        "{N}的{a}{n}{v}了{n}",
        "{y}年，{N}{v}了{a}的{n}",
        "{N}用{a}的{n}{v}{n}",
        "{n}于{y}年被{N}的{n}{v}",
        "拥有{d}个{a}{n}的{N}{v}了{n}和{n}",
        "大约有{d}名{n}从{N}被{v}",
        "{n}每年{v}超过{d}个{n}",
        "由于{a}的{n}，{n}{v}了{N}",
        "{N}和{N}{v}了一个{a}的{n}",
        "它的{n}以{N}的{n}而闻名",
        "大多数{n}已经{v}了{a}的{n}",
        "在{n}之后，{a}的{n}被{v}为{N}",
        "自{y}年以来，{n}一直是{N}的{a}{n}",
        "从{y}年到{y}年，{N}{v}了{d}个{n}",
    ],
}
JOINTS: dict[Language, list[str]] = {
    "en": [", and ", ", but ", "; ", " while ", ", although ", " when ", ", where ", " so that "],
    "zh": ["，而", "，但", "；", "，同时", "，尽管", "，当时", "，因此", "，"],
}
# {x} is what is kept of the sentence.
QUESTIONS: dict[Language, list[str]] = {
    "en": [
        "What {x}?",
        "Who {x}?",
        "When did {x}?",
        "Where did {x}?",
        "Why did {x}?",
        "How many {x}?",
        "Which {x}?",
        "What did {x}?",
        "What was the {x}?",
        "In what year did {x}?",
        "Who was the {x}?",
        "How was {x}?",
        "What is the name of the {x}?",
        "What type of {x}?",
        "How did {x}?",
        "Along with {x}, what else?",
        "What is the {x} called?",
        "For what was {x}?",
        "What happened to the {x}?",
        "Which of the {x}?",
    ],
    "zh": [
        "{x}是什么？",
        "谁{x}？",
        "{x}是什么时候？",
        "{x}在哪里？",
        "为什么{x}？",
        "有多少{x}？",
        "哪个{x}？",
        "{x}叫什么？",
        "{x}发生在哪一年？",
        "{x}如何？",
        "{x}的名称是什么？",
        "什么样的{x}？",
        "除了{x}，还有什么？",
        "{x}怎么样了？",
        "{x}是谁？",
    ],
}
BETWEEN = words("the of in a to for and by from with on at its that as")


@dataclass
class Prose:
    """One text: its names recur, and so do a few of its words."""

    rng: Random
    language: Language
    split: Split
    told: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.rng
        self.names = [self._name() for _ in range(rng.randint(1, 3))]
        self.usual = rng.sample(NOUNS[self.language], rng.randint(1, 4))

    def _name(self) -> str:
        if self.language == "zh":
            return word(self.rng, "zh", self.split)
        parts = [word(self.rng, "en", self.split).capitalize() for _ in range(self.rng.choice([1, 1, 2]))]
        return " ".join(parts)

    def _fill(self, clause: str) -> tuple[str, list[str]]:
        """Return a clause and its telling words, as a question may put them."""
        rng, language = self.rng, self.language
        out, telling = [], []
        for piece in clause.split("{"):
            slot, _, rest = piece.partition("}") if "}" in piece else ("", "", piece)
            if slot == "v":
                said, asked = rng.choice(VERBS[language])
                telling.append(rng.choice([said, asked]))
            elif slot:
                said = self._slot(slot)
                telling.append(said)
            else:
                said = ""
            out.append(said + rest)
        return "".join(out), telling

    def _slot(self, slot: str) -> str:
        rng, language = self.rng, self.language
        made: dict[str, Callable[[], str]] = {
            "N": lambda: rng.choice(self.names) if rng.random() < 0.7 else self._name(),
            "n": lambda: rng.choice(self.usual if rng.random() < 0.3 else NOUNS[language]),
            "a": lambda: rng.choice(QUALITIES[language]),
            "y": lambda: str(rng.randint(900, 2026)),
            "d": lambda: str(rng.choice([rng.randint(2, 30), rng.randint(100, 9000)])),
        }
        return made[slot]()

    def sentence(self) -> tuple[str, str]:
        """Return a sentence without its stop and a question that it answers."""
        rng, language = self.rng, self.language
        made = [self._fill(rng.choice(CLAUSES[language])) for _ in range(rng.choice([1, 1, 2, 2, 3]))]
        text = rng.choice(JOINTS[language]).join(clause for clause, _ in made)
        telling = rng.choice(made)[1]  # what is asked is said in one place
        kept = [w for w in telling if rng.random() < 0.75] or telling[:1]
        # At least one kept word is said in no other sentence of this text.
        earlier = {w for words_ in self.told for w in words_}
        self.told.append([w for _, found in made for w in found])
        if not set(kept) - earlier - set(self.names) - set(self.usual):
            own = self._name()
            text += (", " if language == "en" else "，") + own
            kept.append(own)
        kept += [self._slot(rng.choice("naan")) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]
        if rng.random() < 0.4:
            rng.shuffle(kept)
        return text, rng.choice(QUESTIONS[language]).replace("{x}", self._joined(kept))

    def _joined(self, kept: list[str]) -> str:
        rng = self.rng
        if self.language == "zh":
            return "".join(w + rng.choice(["", "", "的", "和", "在"]) for w in kept).rstrip("的和在")
        out: list[str] = []
        for w in kept:
            out += [*rng.choices(BETWEEN, k=rng.choice([0, 1, 1, 2])), w]
        return " ".join(out)
