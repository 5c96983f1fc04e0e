"""Signs of prompt injection in texts that come from outside: results of tools, and retrieved texts in a prompt. Pure.

Rules for what such attacks mostly say, in English and Chinese. They find what is said plainly; they do not find what is
paraphrased, encoded, in another language or in a picture, and a text about such attacks looks like one. How often they
are right is measured on a labelled list (`tests/injection_cases.jsonl`). A sign for people and traces, not a wall:
give a model no tool that an attacker may not use.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

LONGEST = 256 * 1024  # characters looked at of all texts together; of a longer one its two ends

_WHOSE = r"(?:all|any|every|the|your|these|those|previous|prior|above|earlier|preceding|former|system|existing|other)"
_RULES = r"(?:instructions?|prompts?|rules?|directions?|guidelines?|directives?|commands?|constraints?|polic(?:y|ies))"
_AI = r"(?:ai|a\.i\.|assistants?|chatbots?|llms?|language models?|agents?|gpt|copilot)"

RULES = {
    "override": (
        rf"\b(?:ignore|disregard|forget|override|bypass|overrule|neglect)\b(?: \S+){{0,3}}? {_WHOSE}\b(?: \S+){{0,3}}? {_RULES}\b",
        r"\b(?:ignore|disregard|forget) (?:everything|anything|all)\b.{0,25}\b(?:above|before|previous(?:ly)?|said|told)\b",
        r"\b(?:instead of|rather than) (?:following|obeying|doing|answering) (?:the|your|what)\b.{0,30}\b(?:instructions?|user|question|task)\b",
        rf"\b(?:new|updated|real|actual|revised) {_RULES}\b ?(?::|follow|are\b|override|replace)",
        r"(?:忽略|无视|忘记|忘掉|抛开|不要理会|不用理会|不要遵守|不再遵守|覆盖).{0,12}(?:指令|指示|提示|规则|要求|设定|限制|命令)(?!灯)",
        r"(?:新的|最新|真正的)(?:系统)?(?:指令|指示|任务|规则)(?:是|如下|[::])",
    ),
    "role": (
        r"\b(?:you are|you're) (?:now|no longer)\b",
        r"\bfrom (?:now on|this point on|here on),? (?:you|respond|answer|reply|act|only)\b",
        r"\b(?:pretend|act) (?:to be|as if you|as though you|as an? (?:unrestricted|unfiltered|admin|root|developer|evil))",
        r"\b(?:enter|enable|activate|switch to|you are in) (?:developer|debug|admin|god|dan|jailbreak|maintenance|unrestricted) mode\b",
        r"你现在(?:是|进入|处于)|从现在(?:开始|起).{0,4}(?:你|只|请|必须)|(?:进入|开启|切换到)(?:开发者|调试|管理员|越狱|无限制)模式",
    ),
    "turn": (
        r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)\|>",
        r"\[/?inst\]|<</?sys>>|</?(?:system|system_prompt|instructions)>",
        r"(?:^|\n) ?#{0,4} ?\[?(?:system|assistant|developer)(?: (?:prompt|message|override|note|update|instruction)s?)?\]? ?:",
        r"(?:^|\n) ?[\[【]?系统(?:提示|消息|指令|通知)?[\]】]?[::]",
    ),
    "reveal": (
        r"\b(?:reveal|print|repeat|show|output|leak|disclose|dump|recite|include|tell)\b.{0,30}\b(?:system prompt|(?:your|the) (?:hidden |initial |original |secret |system )?(?:instructions|prompt)|api keys?|passwords?|credentials|secrets?|access tokens?|environment variables|conversation(?: history)?|chat history)\b",
        r"(?:输出|显示|告诉|透露|重复|泄露|打印|说出|写出|附上).{0,12}(?:系统提示|提示词|你的指令|密钥|密码|口令|令牌|凭证|对话记录|聊天记录)",
    ),
    "send": (
        r"\b(?:send|post|upload|forward|e-?mail|exfiltrate|transmit|submit|append|leak)\b.{0,80}\b(?:to|at|into|via)\b.{0,20}(?:https?://|\S{1,40}@\S{1,40}\.)",
        r"!\[[^\]\n]{0,80}\]\(https?://[^)\s]{1,200}[?&][^)\s]{0,80}=[^)\s]{0,20}(?:\{|\[|<|data|secret|history|summary)",
        r"\bcurl\b.{0,60}\|\s*(?:ba|z)?sh\b",
        r"(?:发送|转发|上传|发到|发给|提交|邮件).{0,40}(?:https?://|[\w.]+@[\w.]+)",
    ),
    "secrecy": (
        r"\b(?:do not|don't|never|without) (?:tell|telling|mention|mentioning|inform|informing|notify|notifying|alert|alerting|show|reveal|let)(?: \w+){0,4}? (?:the )?(?:user|human|customer|person|anyone)\b",
        r"(?:不要|别|不得|无需|不必)(?:告诉|告知|提及|通知|提醒|让).{0,6}(?:用户|客户|人|任何人)",
    ),
    "address": (
        rf"\b(?:attention|note|message|instructions?|notice|important|memo|command|hey|hello|dear)\b[ ,:-]{{0,3}}(?:to|for|all)?(?: (?:the|any|all|every))? ?{_AI}\b",
        rf"\bif you(?:'re| are) (?:an? |the )?{_AI}\b",
        rf"\b(?:any|the|this) {_AI} (?:reading|processing|summari[sz]ing|that reads?|must|should now|is (?:required|instructed) to)\b",
        r"(?:ai|人工智能|智能|大模型|语言模型)(?:助手|模型|系统|代理)?(?:请注意|必须|务必|在?阅读|读到|看到|应当?立即)",
        r"(?:致|给|告)(?:所有|各位)?(?:ai|人工智能|大模型|智能体|智能助手)",
    ),
}  # fmt: skip
PATTERNS = {rule: re.compile("|".join(patterns)) for rule, patterns in RULES.items()}
# Where a prompt says itself that a part of it was retrieved.
RETRIEVED = re.compile(
    r"<(context|documents?|sources?|retrieved|passages?|search_results?|webpage|file)\b[^>]{0,200}>", re.IGNORECASE
)
UNSEEN = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad]")
TAGS = re.compile("[\U000e0020-\U000e007e]+")  # letters that nobody sees and models read
FLAG_OF_A_REGION = 5  # tags at most behind a flag's picture
SPACES = re.compile(r"[^\S\n]+")


def signs(text: str) -> list[str]:
    """Names of the rules that `text` meets, in their order."""
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + "\n" + text[-LONGEST // 2 :]
    hidden = any(len(run) > FLAG_OF_A_REGION + 1 for run in TAGS.findall(text))
    plain = SPACES.sub(" ", UNSEEN.sub("", unicodedata.normalize("NFKC", text))).lower()
    found = [rule for rule, pattern in PATTERNS.items() if pattern.search(plain)]
    return [*found, "hidden"] if hidden else found


def from_outside(messages: list[Any]) -> list[str]:
    """The texts of a conversation that neither the application nor its user wrote: results of tools, and what stands
    in a user's turn between `<context>`, `<document>`, `<source>` and their like."""
    texts: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        said = _text(message.get("content"))
        if message.get("role") in ("tool", "function"):
            texts.append(said)
        elif message.get("role") == "user" and "<" in said:
            texts += _retrieved(said)
    return texts


def _retrieved(text: str) -> list[str]:
    """What stands between such tags; one that is not closed holds all the rest."""
    parts, lower, at = [], text.lower(), 0
    while (begin := RETRIEVED.search(text, at)) is not None:
        end = lower.find(f"</{begin[1].lower()}>", begin.end())
        at = end if end >= 0 else len(text)
        parts.append(text[begin.end() : at])
    return parts


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return content if isinstance(content, str) else ""
