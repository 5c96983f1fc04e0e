"""Whether a request may be asked now: limits and budgets of its key and its project, and OpenAI's headers about them.

What a request may cost is reserved before it is sent and settled when it ended: with the engine's count, or with
nothing where no answer came. The sums are in the ledger, which all workers share, so every limit is exact.

Where neither key nor project has a limit there is nothing to be exact about: what was used is only noted, some times a
second. A `kill -9` loses the last `NOTE_SECONDS` of that sum, which nobody is refused by.
"""

from __future__ import annotations

from typing import Any

from services.inference_gateway.proxy import allowance, errors, fairness
from services.inference_gateway.proxy.allowance import SECOND_NS, Account, Cost, Limits, Reason
from services.inference_gateway.proxy.answering import Answer
from services.inference_gateway.proxy.asking import EMBEDDINGS, Asking
from services.inference_gateway.proxy.errors import ApiError
from services.inference_gateway.proxy.ledger import Ledger, LedgerFull, Party, Refused
from services.inference_gateway.proxy.snapshot import Deployment, Key, Target
from services.inference_gateway.proxy.usage import Bill

BYTES_PER_TOKEN = 4  # of an English text; the engine's own count replaces it in the end
MOST_TOKENS = 10**9
NOTE_SECONDS = 0.1
TENTH_NS = SECOND_NS // 10
LENGTHS = ("max_completion_tokens", "max_tokens", "n_predict")
WHO = ("This key", "The project of this key")
REQUEST_HEADERS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
TOKEN_HEADERS = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
Dues = tuple[tuple[int, int], tuple[int, int]]  # of key and project: when it is due, and how much a minute


class Hold:
    """What one request holds until it is settled. `place` 0: nothing is reserved; `work` is what it may be for an engine;
    `headers` are OpenAI's x-ratelimit-*."""

    __slots__ = ("accounts", "headers", "limiter", "limits", "place", "prompt_tokens", "work")

    def __init__(
        self,
        limiter: Limiter,
        place: int,
        accounts: tuple[int, int],
        limits: tuple[Limits, Limits],
        prompt_tokens: int,
        work: int,
        headers: dict[str, str],
    ) -> None:
        self.limiter = limiter
        self.place = place
        self.accounts = accounts
        self.limits = limits
        self.prompt_tokens = prompt_tokens
        self.work = work
        self.headers = headers

    def answered(self) -> None:
        """Something went out to the client: it will be billed, come what may."""
        if self.place:
            self.limiter.ledger.mark_answered(self.place)

    def settle(self, answer: Answer, target: Target | None, started: bool) -> Bill:
        """Bills what came. An engine that counted nothing, or was cut short, is billed by what was passed on."""
        bill = _bill(answer, target, self.prompt_tokens) if started and target else Bill()
        self.limiter.settle(self, Cost(bill.tokens, bill.picousd))
        return bill


class Limiter:
    """One worker's. `assumed_tokens`: how long an answer may get of whose length the request says nothing."""

    def __init__(self, ledger: Ledger, assumed_tokens: int) -> None:
        self.ledger = ledger
        self._seat = ledger.take_seat()
        self._assumed = assumed_tokens
        self._used: dict[tuple[int, int], list[int]] = {}  # requests, tokens, picodollars not yet noted
        self._known: dict[tuple[str, str], tuple[Party, Party]] = {}

    def reserve(self, key: Key, project: str, limits: Limits, ask: Asking, deployment: Deployment) -> Hold:
        """Counts the request, and what it may cost, for the key and for the project.

        Raises: ApiError 429 that says which limit, and when to come back; 503 where this worker is full.
        """
        prompt, said, cost = estimate(ask, deployment, self._assumed)
        parties = self._parties(key, project, limits)
        positions = parties[0].account, parties[1].account
        both = key.limits, limits
        if not key.limits.any and not limits.any:
            return Hold(self, 0, positions, both, prompt, fairness.work(prompt, said), {})
        try:
            place = self._seat.place()
        except LedgerFull as error:
            raise errors.overloaded(f"This gateway is full: {error}.") from error
        try:
            accounts = self.ledger.reserve(place, parties, cost)
        except Refused as refused:
            self._seat.give_back(place)
            raise self._error(refused, parties) from refused
        headers = self._headers(accounts, parties)
        return Hold(self, place, positions, both, prompt, fairness.work(prompt, said), headers)

    def settle(self, hold: Hold, used: Cost) -> None:
        if not hold.place:
            sums = self._used.setdefault(hold.accounts, [0, 0, 0])
            sums[0] += 1 if used.tokens else 0
            sums[1] += used.tokens
            sums[2] += used.picousd
            return
        self.ledger.settle(hold.place, used, hold.limits)
        self._seat.give_back(hold.place)

    def note(self) -> None:
        """Brings what was used without a limit into the ledger."""
        used, self._used = self._used, {}
        for accounts, (requests, tokens, picousd) in used.items():
            self.ledger.note(accounts, requests, Cost(tokens, picousd))

    def count_request(self, key: Key, project: str, limits: Limits) -> dict[str, str]:
        """A request that asks no engine; returns OpenAI's x-ratelimit-*. Raises: ApiError 429."""
        if not key.limits.requests_per_minute and not limits.requests_per_minute:
            return {}
        parties = self._parties(key, project, limits)
        try:
            self.ledger.count_request(parties)
        except Refused as refused:
            raise self._error(refused, parties) from refused
        accounts = self.ledger.read(parties[0].account), self.ledger.read(parties[1].account)
        return self._headers(accounts, parties)

    def _parties(self, key: Key, project: str, limits: Limits) -> tuple[Party, Party]:
        known = self._known.get((key.name, project))
        if known is not None and known[0].limits is key.limits and known[1].limits is limits:
            return known
        try:
            parties = (
                Party(self.ledger.account(key.name), key.limits),
                Party(self.ledger.account(f"projects/{project}"), limits),
            )
        except LedgerFull as error:
            raise errors.overloaded(f"This gateway is full: {error}.") from error
        self._known[key.name, project] = parties
        return parties

    def _error(self, refused: Refused, parties: tuple[Party, Party]) -> ApiError:
        party = parties[refused.party]
        error = _render(WHO[refused.party], party.limits, refused.refusal)
        account = self.ledger.read(party.account)
        error.headers = self._headers((account, account), (party, party)) | error.headers
        return error

    def _headers(self, accounts: tuple[Account, Account], parties: tuple[Party, Party]) -> dict[str, str]:
        """Of key and project, the one that has less left."""
        key, project = accounts
        first, second = parties[0].limits, parties[1].limits
        headers: dict[str, str] = {}
        now = self.ledger.now()
        if first.requests_per_minute or second.requests_per_minute:
            dues = (key.requests_due, first.requests_per_minute), (project.requests_due, second.requests_per_minute)
            _add_rate(headers, REQUEST_HEADERS, dues, now)
        if first.tokens_per_minute or second.tokens_per_minute:
            dues = (key.tokens_due, first.tokens_per_minute), (project.tokens_due, second.tokens_per_minute)
            _add_rate(headers, TOKEN_HEADERS, dues, now)
        return headers


def estimate(ask: Asking, deployment: Deployment, assumed: int) -> tuple[int, int, Cost]:
    """Tokens of the prompt and of the answer, and the most that both may cost on any target that may answer."""
    fields = ask.fields
    prompt = len(ask.raw) // BYTES_PER_TOKEN + 1
    length = max(_positive(fields.get(name)) for name in LENGTHS) or assumed  # engines differ in which one they heed
    choices = max(_positive(fields.get("n")), _positive(fields.get("best_of")), 1)
    answer = 0 if ask.operation == EMBEDDINGS else min(length * choices, MOST_TOKENS)
    price = deployment.fallback_input_price * prompt + deployment.fallback_output_price * answer
    for target in deployment.targets:
        if not target.shadow_percent:  # it answers nobody, and nobody pays for it
            price = max(price, target.input_price * prompt + target.output_price * answer)
    return prompt, answer, Cost(prompt + answer, price)


def _bill(answer: Answer, target: Target, estimated_prompt: int) -> Bill:
    prompt = answer.prompt_tokens or estimated_prompt
    said = answer.completion_tokens or max(len(answer.pieces), len(answer.text) // BYTES_PER_TOKEN)
    return Bill(prompt, said, target.input_price * prompt + target.output_price * said)


def _positive(value: Any) -> int:
    """What a stranger wrote where a count belongs; 0 for anything else. The engine judges whether it is right."""
    return min(value, MOST_TOKENS) if isinstance(value, int) and value > 0 else 0


def _render(who: str, limits: Limits, refusal: allowance.Refusal) -> ApiError:
    wait = refusal.seconds
    per = {"DAY": "daily ", "MONTH": "monthly ", "TOTAL": ""}[limits.budget_period]
    if refusal.reason is Reason.REQUESTS:
        return errors.rate_limited(f"{who} may send {limits.requests_per_minute:,} requests a minute", wait)
    if refusal.reason is Reason.TOKENS:
        return errors.rate_limited(f"{who} may use {limits.tokens_per_minute:,} tokens a minute", wait)
    if refusal.reason is Reason.CONCURRENCY:
        return errors.rate_limited(f"{who} may have {limits.concurrent_requests:,} requests running at once", wait)
    if refusal.reason is Reason.TOO_LARGE:
        return errors.never_fits(f"{who} may use {limits.tokens_per_minute:,} tokens a minute, and this may need more")
    amount = (
        f"{limits.budget_tokens:,} tokens"
        if refusal.reason is Reason.BUDGET_TOKENS
        else f"${limits.budget_microusd / 1e6:,.6f}".rstrip("0").rstrip(".")
    )
    what = f"{who} has a {per}budget of {amount}, and what is left does not cover this request"
    return errors.budget_held(what, wait) if refusal.held else errors.insufficient_quota(what, wait)


def _add_rate(headers: dict[str, str], names: tuple[str, str, str], dues: Dues, now: int) -> None:
    """Of two, the one that has less left."""
    (due, limit), (other_due, other_limit) = dues
    left = allowance.remaining(due, limit, now) if limit else allowance.MOST
    other_left = allowance.remaining(other_due, other_limit, now) if other_limit else allowance.MOST
    if other_left < left:
        due, limit, left = other_due, other_limit, other_left
    tenths = max(0, due - now + TENTH_NS // 2) // TENTH_NS
    headers[names[0]] = str(limit)
    headers[names[1]] = str(left)
    headers[names[2]] = f"{tenths // 10}.{tenths % 10}s"
