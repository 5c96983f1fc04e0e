"""Ordinary clients of two gateways: they keep their connections, and send again only what nobody began to answer."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.load.rolling_engine import PROMPT_TOKENS, tokens_of

TRIES = 8
PAUSE_SECONDS = 0.05
REQUEST_SECONDS = 120
MAX_TOKENS = 32
SESSION_REQUESTS = 40  # of most sessions; those of every fourth caller go on to the end
SAID = re.compile(r"version (\w+) number (\d+) time \d+")
FAILURE = re.compile(r'"code": ?"(\w+)"')


@dataclass(frozen=True)
class Spoken:
    """One answer in a session; times of this process' monotonic clock."""

    version: str
    sent: float
    ended: float


@dataclass
class Load:
    """Keeps `callers` requests under way, half of them streams, to either of the gateways at `ports`, until `stop` is
    set; what came of them is in its fields.

    - `answered`: whole answers by number; `tokens`: of all of them.
    - `cut`: answers that began and did not come to their end. No retry could have saved those.
    - `failed`: by cause; each of these is a fault.
    - `sent_again`: to the other gateway, before the first byte of an answer, by cause.
    - `wrong`: answers to somebody else's request.
    """

    ports: Sequence[int]
    key: str
    model: str
    callers: int = 48
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    answered: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    cut: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    sent_again: Counter[str] = field(default_factory=Counter)
    sends: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    sessions: defaultdict[str, list[Spoken]] = field(default_factory=lambda: defaultdict(list))
    _last: int = 0
    _draw: random.Random = field(default_factory=lambda: random.Random(7))

    @property
    def done(self) -> int:
        """Requests that came to an end, whichever."""
        return self.answered.total() + self.cut.total() + self.failed.total()

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
            await asyncio.gather(*(self._calls(http, caller) for caller in range(self.callers)))

    async def _calls(self, http: aiohttp.ClientSession, caller: int) -> None:
        asked = 0
        while not self.stop.is_set():
            self._last += 1
            session = ""
            if caller % 2 == 0:
                session = f"{caller}-all" if caller % 4 == 0 else f"{caller}-{asked // SESSION_REQUESTS}"
            await self._ask(http, self._last, session)
            asked += 1

    async def _ask(self, http: aiohttp.ClientSession, number: int, session: str) -> None:
        stream = self._draw.random() < 0.5
        messages = [{"role": "user", "content": f"This is request number {number}."}]
        body = json.dumps({"model": self.model, "messages": messages, "max_tokens": MAX_TOKENS, "stream": stream})
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        if session:
            headers["x-session-id"] = session
        gateway = self._draw.randrange(len(self.ports))
        for _ in range(TRIES):
            self.sends[number] += 1
            try:
                await self._send(http, gateway, body, headers, number, session, stream)
                return
            except aiohttp.ClientError as error:
                self.sent_again[type(error).__name__] += 1
            gateway = (gateway + 1) % len(self.ports)
            await asyncio.sleep(PAUSE_SECONDS)
        self.failed["no gateway could be reached"] += 1

    async def _send(
        self,
        http: aiohttp.ClientSession,
        gateway: int,
        body: str,
        headers: Mapping[str, str],
        number: int,
        session: str,
        stream: bool,
    ) -> None:
        """Raises: ClientError where the connection broke before the first byte of an answer."""
        sent = time.monotonic()
        url = f"http://127.0.0.1:{self.ports[gateway]}/v1/chat/completions"
        async with http.post(url, data=body, headers=headers) as reply:
            try:
                text = await reply.text()
            except aiohttp.ClientError:
                self.cut[f"{_kind(stream)}: the connection broke"] += 1
                return
        if reply.status != 200:
            self.failed[f"{reply.status} {_code(text)}"] += 1
        elif stream and "data: [DONE]" not in text:
            self.cut[f"{_kind(stream)}: {_code(text)}"] += 1
        else:
            self._take(text, number, session, Spoken("", sent, time.monotonic()))

    def _take(self, text: str, number: int, session: str, spoken: Spoken) -> None:
        said = SAID.findall(text)
        if len(said) != 1 or said[0][1] != str(number):
            self.wrong.append(f"{number} was answered with {text[:200]}")
        self.answered[number] += 1
        self.tokens += PROMPT_TOKENS + tokens_of(number)
        if session and said:
            self.sessions[session].append(Spoken(said[0][0], spoken.sent, spoken.ended))


def torn_sessions(sessions: Mapping[str, Sequence[Spoken]], left: Mapping[str, float]) -> list[str]:
    """Sessions that were answered by another version although the one before was still there, or by one that they had
    left already. `left`: when it was said of a version that it drains, in the clock of `Spoken`."""
    torn = []
    for session, answers in sessions.items():
        seen: list[Spoken] = []
        for answer in answers:
            if seen and answer.version != seen[-1].version:
                is_early = answer.ended < left.get(seen[-1].version, float("inf"))
                if is_early or any(each.version == answer.version for each in seen):
                    told = "went back" if not is_early else "moved too early"
                    torn.append(f"{session} {told}: {seen[-1].version} → {answer.version}")
            seen.append(answer)
    return torn


def _kind(stream: bool) -> str:
    return "stream" if stream else "whole"


def _code(text: str) -> str:
    found = FAILURE.search(text)
    return found[1] if found else text[-80:]
