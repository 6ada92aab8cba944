"""`gnnrec policy`: what is kept of people, why, how long, who sees it and how to object, as a run says of itself.

Every sentence follows from a fact or from what the operator said (`PolicyConfig`, `ServiceConfig`); what nobody said is
said to be open.
It is a description of the system for those who write the policy of a service, and no legal advice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gnnrec.errors import UserError
from gnnrec.files import write_text
from gnnrec.privacy.facts import LOCAL, Facts

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """What only the operator knows; empty: not stated."""

    controller: str = ""  # who is responsible
    contact: str = ""  # where to ask and to object
    purpose: str = ""  # why the data is used, beside recommending
    basis: str = ""  # legal ground
    copies: str = ""  # databases, exports, backups: where else the data or what was made of it lies


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How a service is started, which no run knows; None: not stated."""

    tls: bool | None = None
    keys: bool | None = None
    rerank: bool | None = None
    private_scoring: bool | None = None
    retention_days: float | None = None  # of feedback; 0 for ever

    def __post_init__(self) -> None:
        if self.retention_days is not None and not 0 <= self.retention_days < float("inf"):
            raise UserError(f"serve.retention_days: found {self.retention_days}; allowed: 0 (for ever) or more")


class Both(NamedTuple):
    """The same in both languages."""

    en: str
    zh: str


Section = tuple[Both, list[Both]]
WHAT_IS_TOLD = {
    "lists": Both(
        "the titles of what you took last and of candidates, without your id",
        "您最近使用过的内容和候选内容的标题，不含您的标识",
    ),
    "cards": Both(
        "the titles of what you took last, your ratings of them where there are any, what they have in common, and the "
        "titles of candidates, without your id",
        "您最近使用过的内容的标题、您的评分（如有）、它们的共同点以及候选内容的标题，不含您的标识",
    ),
    "profiles": Both(
        "the titles of what you took and words that set them apart, without your id",
        "您使用过的内容的标题及其特征词，不含您的标识",
    ),
    "pictures": Both("pictures of items, nothing of you", "物品的图片，不含您的任何信息"),
}


UNSTATED = "not stated by the operator", "运营者未说明"
# Of a service that is started so, otherwise, or how nobody said.
SERVED: dict[str, tuple[Both, Both, Both]] = {
    "keys": (
        Both("Who asks a service needs a key.", "访问服务需要密钥。"),
        Both("A service answers whoever reaches it, without a key.", "任何能连接到服务者无需密钥即可查询。"),
        Both(f"Whether a service asks for keys: {UNSTATED[0]}.", f"访问服务是否需要密钥：{UNSTATED[1]}。"),
    ),
    "tls": (
        Both("A service is reached over an encrypted connection (TLS).", "通过加密连接（TLS）访问服务。"),
        Both("The connection to a service is not encrypted.", "与服务的连接未加密。"),
        Both(
            f"Whether the connection to a service is encrypted: {UNSTATED[0]}.",
            f"与服务的连接是否加密：{UNSTATED[1]}。",
        ),
    ),
    "private_scoring": (
        Both(
            "A service scores encrypted vectors: who asks so shows it neither her vector nor her list.",
            "服务可对加密向量打分：以此方式查询者不向服务透露其向量和列表。",
        ),
        Both("A service does not score encrypted vectors.", "服务不对加密向量打分。"),
        Both(f"Whether a service scores encrypted vectors: {UNSTATED[0]}.", f"服务是否对加密向量打分：{UNSTATED[1]}。"),
    ),
    "rerank": (
        Both("A service lets a language model reorder lists.", "服务允许语言模型重新排列推荐列表。"),
        Both("A service is started without a language model.", "服务启动时不使用语言模型。"),
        Both(
            f"Whether a service lets a language model reorder lists: {UNSTATED[0]}.",
            f"服务是否允许语言模型重新排列推荐列表：{UNSTATED[1]}。",
        ),
    ),
}


def stated(text: str, en: str, zh: str) -> Both:
    """A sentence with what the operator said in it ({}), or that she did not."""
    return Both(en.format(text or UNSTATED[0]), zh.format(text or UNSTATED[1]))


def served(service: ServiceConfig) -> list[Both]:
    found = []
    for name, (yes, no, unsaid) in SERVED.items():
        said = getattr(service, name)
        found.append(unsaid if said is None else yes if said else no)
    return found


def kept(facts: Facts) -> list[Both]:
    span = f", {facts.first} to {facts.last}" if facts.first else ""
    zh_span = f"，{facts.first} 至 {facts.last}" if facts.first else ""
    lines = [
        Both(
            f"{facts.rows:,} interactions of {facts.users:,} users with {facts.items:,} items{span}.",
            f"{facts.users:,} 名用户与 {facts.items:,} 个物品的 {facts.rows:,} 条交互记录{zh_span}。",
        ),
        Both("Ratings are kept.", "保存评分。") if facts.ratings else Both("No ratings are kept.", "不保存评分。"),
        Both(
            "Users are kept under pseudonyms, keyed hashes of their ids; the key is not in the run. "
            "This is no anonymity.",
            "用户以假名（标识的带密钥哈希）保存；密钥不在模型文件中。这不等于匿名。",
        )
        if facts.pseudonyms
        else Both("Users are kept under their ids.", "用户以其标识保存。"),
        Both(
            f"Of users beside that: {', '.join(facts.user_columns)}.",
            f"此外保存用户的：{'、'.join(facts.user_columns)}。",
        )
        if facts.user_columns
        else Both("Nothing else of users is kept in a table.", "不以表格保存用户的其他信息。"),
        Both(
            "From what you took, a vector of numbers and lists are computed; both are personal data too.",
            "由您的行为计算出向量和推荐列表，二者同样属于个人信息。",
        ),
    ]
    if facts.user_content:
        names = ", ".join(facts.user_content)
        lines.append(Both(f"Features are computed of your {names}.", f"由您的以下内容计算特征：{names}。"))
    if facts.friends:
        lines.append(Both("Who is a friend of whom is kept.", "保存用户之间的好友关系。"))
    if facts.feedback_events is not None:
        lines.append(
            Both(
                f"A log of feedback that a service was told of: {facts.feedback_events:,} events.",
                f"服务收到的反馈日志：{facts.feedback_events:,} 条。",
            )
        )
    return lines


def how_long(facts: Facts, service: ServiceConfig) -> list[Both]:
    return [
        *of_the_log(facts),
        of_feedback(facts.retention_days, service.retention_days),
        Both(
            "The run itself has no end: it is kept until it is deleted or trained anew.",
            "模型文件没有期限：直到被删除或重新训练。",
        ),
    ]


def of_the_log(facts: Facts) -> list[Both]:
    if facts.retention_days is None:
        return [Both("No limit of time is set for the log.", "未设置日志的保存期限。")]
    days = f"{facts.retention_days:g}"
    lines = [
        Both(
            f"The run was trained without rows more than {days} days older than the newest one. "
            "That is not counted from today: a log that grows no more keeps its rows. "
            "The data folder itself is its owner's to clear.",
            f"训练时排除了比最新记录早 {days} 天以上的记录。期限不从今天起算：不再增长的日志会保留其记录。"
            "原始数据文件夹由其所有者清理。",
        )
    ]
    if facts.oldest_days is not None and facts.oldest_days > facts.retention_days:
        old = f"{facts.oldest_days:,}"
        lines.append(
            Both(
                f"On the day of this document its oldest row is {old} days old, which is more than that.",
                f"在本文档生成之日，最早的记录已有 {old} 天，超过该期限。",
            )
        )
    return lines


def of_feedback(data: float | None, service: float | None) -> Both:
    """data, service: the limits of each in days, counted from today."""
    days = data if service is None else service
    if days:
        more = ", unless it is started with another limit (--retention-days)" if service is None else ""
        zh_more = "，除非启动时另设期限（--retention-days）" if service is None else ""
        return Both(
            f"A service drops feedback older than {days:g} days at its start and daily{more}.",
            f"服务在启动时和每天删除超过 {days:g} 天的反馈{zh_more}。",
        )
    if service is None:
        return Both(
            "A service keeps feedback without a limit of time, unless it is started with one (--retention-days).",
            "服务无期限保存反馈，除非启动时设定期限（--retention-days）。",
        )
    return Both("A service keeps feedback without a limit of time.", "服务无期限保存反馈。")


def who_sees(facts: Facts, told: PolicyConfig, service: ServiceConfig) -> list[Both]:
    lines = [
        Both("The files of the run are encrypted.", "模型文件已加密。")
        if facts.encrypted
        else Both("The files of the run are not encrypted.", "模型文件未加密。"),
        Both("Other accounts of the machine may read them.", "本机的其他账户可以读取这些文件。")
        if facts.readable_by_others
        else Both("No other account of the machine may read them.", "本机的其他账户不能读取这些文件。"),
        Both(
            f"Training is differentially private: epsilon {facts.epsilon:g}"
            + (f", delta {facts.delta:g}" if facts.delta is not None else "")
            + "; what it protects is said in run.json.",
            f"训练满足差分隐私：epsilon {facts.epsilon:g}"
            + (f"，delta {facts.delta:g}" if facts.delta is not None else "")
            + "；其保护范围见 run.json。",
        )
        if facts.epsilon is not None
        else Both(
            "Training gives no guarantee of differential privacy: the model may give away what somebody took.",
            "训练不提供差分隐私保证：模型可能泄露某人的行为。",
        ),
    ]
    for asked in facts.asked:
        what = WHAT_IS_TOLD[asked.what]
        here = asked.host in LOCAL
        lines.append(
            Both(
                f"{asked.model} on {'this machine' if here else asked.host} is told {what.en}.",
                f"向{'本机' if here else ' ' + asked.host + ' '}上的 {asked.model} 发送：{what.zh}。",
            )
        )
    if not any(asked.host not in LOCAL for asked in facts.asked):
        lines.append(
            Both(
                "The run's own records name no language model on another machine, and none was named for this "
                "document: what a command or a service is started with is said here only by --set llm.…",
                "模型文件的记录中没有其他机器上的语言模型，生成本文档时也未指明：命令或服务启动时所用的语言模型，"
                "只有通过 --set llm.… 说明后才会写在这里。",
            )
        )
    return [
        *lines,
        *served(service),
        Both("What a service writes to its error output names no user.", "服务的错误输出不含用户标识。"),
        Both(
            f"Settings and figures of the training, no ids and no interactions, went to: {', '.join(facts.tracked)}.",
            f"训练的设置和指标（不含标识和交互记录）已发送至：{'、'.join(facts.tracked)}。",
        )
        if facts.tracked
        else Both("The command that trained the run named no tracker.", "训练命令未指定任何跟踪器。"),
        stated(
            told.copies,
            "Databases, exports and backups made of it, which the run does not record: {}.",
            "由此产生的数据库、导出文件和备份（模型文件不作记录）：{}。",
        ),
    ]


def objecting(facts: Facts, told: PolicyConfig) -> list[Both]:
    lines = [
        stated(told.contact, "Where to ask, to see, to correct and to object: {}.", "查询、更正和反对的联系方式：{}。"),
        Both(
            "Who objects is refused at once (gnnrec forget --later), and taken out of data, feedback, caches and the "
            "model, which is trained anew without her (gnnrec forget).",
            "提出反对者立即停止被推荐（gnnrec forget --later），并从数据、反馈、缓存和模型中删除；"
            "模型在没有其数据的情况下重新训练（gnnrec forget）。",
        ),
        Both("Why something was recommended is said by gnnrec explain.", "推荐理由可由 gnnrec explain 给出。"),
    ]
    if facts.due:
        lines.append(
            Both(
                f"Refused, and not yet taken out of this run: {facts.due:,} users.",
                f"已停止推荐、尚未从本模型中删除的用户：{facts.due:,} 名。",
            )
        )
    return lines


def policy(facts: Facts, told: PolicyConfig, service: ServiceConfig) -> list[Section]:
    why = [
        Both("To rank items for users: which come next in the list of each.", "为每位用户对物品排序并生成推荐列表。"),
        stated(told.purpose, "Purpose: {}.", "目的：{}。"),
        stated(told.basis, "Legal basis: {}.", "法律依据：{}。"),
        stated(told.controller, "Responsible: {}.", "责任者：{}。"),
    ]
    return [
        (Both("What is kept", "保存哪些信息"), kept(facts)),
        (Both("Why", "为什么"), why),
        (Both("How long", "保存多久"), how_long(facts, service)),
        (Both("Who can see it", "谁可以看到"), who_sees(facts, told, service)),
        (Both("How to object", "如何反对"), objecting(facts, told)),
    ]


def data_card(facts: Facts, service: ServiceConfig) -> list[Section]:
    content = ", ".join(facts.item_content)
    size = [
        Both(f"Users: {facts.users:,}; items: {facts.items:,}.", f"用户：{facts.users:,}；物品：{facts.items:,}。"),
        Both(
            f"Split, {facts.split} rows; test rows are not in the run.",
            f"划分：{facts.split} 条；测试记录不在模型文件中。",
        ),
        Both(f"Rows that could not be used: {facts.rejected:,}.", f"无法使用的记录：{facts.rejected:,}。"),
    ]
    origin = [
        stated(facts.licence, "Licence: {}.", "许可：{}。"),
        Both(f"sha256 of ids and log: {facts.fingerprint}.", f"标识和日志的 sha256：{facts.fingerprint}。"),
        Both(f"Content of items: {content or 'none'}.", f"物品内容：{content or '无'}。"),
        Both(f"Model: {facts.model}, finished {facts.finished}.", f"模型：{facts.model}，完成于 {facts.finished}。"),
    ]
    return [
        (Both("Size", "规模"), size),
        (Both("People", "人"), kept(facts)),
        (Both("Time", "期限"), how_long(facts, service)),
        (Both("Origin", "来源"), origin),
    ]


def markdown(title: Both, sections: Sequence[Section], language: str) -> str:
    """A document in one of LANGUAGES."""
    lines = [f"# {getattr(title, language)}"]
    for heading, sentences in sections:
        lines += ["", f"## {getattr(heading, language)}", "", *(f"- {getattr(one, language)}" for one in sentences)]
    return "\n".join(lines) + "\n"


def write_policy(
    facts: Facts, told: PolicyConfig, service: ServiceConfig, folder: Path, languages: Sequence[str] = LANGUAGES
) -> list[Path]:
    """policy.LANGUAGE.md and data_card.LANGUAGE.md; returns them. Raises UserError for another language."""
    for language in languages:
        if language not in LANGUAGES:
            raise UserError(f"policy --lang: found {language!r}; allowed: {', '.join(LANGUAGES)}")
    documents = {
        "policy": (Both(f"Privacy: {facts.name}", f"隐私说明：{facts.name}"), policy(facts, told, service)),
        "data_card": (Both(f"Data card: {facts.name}", f"数据卡：{facts.name}"), data_card(facts, service)),
    }
    written = []
    for name, (title, sections) in documents.items():
        for language in languages:
            written.append(folder / f"{name}.{language}.md")
            write_text(written[-1], markdown(title, sections, language))
    return written
