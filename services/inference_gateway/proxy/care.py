"""What a project's policy does to one of its requests, around the exchange with an engine.

1 look at the prompt, 2 ask the hook, 3 look into the cache, 4 ask an engine, whose answer passes through here on its way
to the client, 5 ask the hook about the answer. Nothing of it runs for a project without a policy.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from services.inference_gateway.proxy import errors, exact_cache, hook, injection
from services.inference_gateway.proxy.asking import EMBEDDINGS, Asking
from services.inference_gateway.proxy.guardrails import AnswerFilter, Marks
from services.inference_gateway.proxy.policy import ALLOW, MARK, REFUSE, Caching, Guardrails, Hook, Policy
from services.inference_gateway.proxy.reply import Held

if TYPE_CHECKING:
    from services.inference_gateway.proxy.exchange import Exchange

log = logging.getLogger(__name__)
HEADER = "x-gyre-guardrail"
CACHE = "cache"  # what the exact cache did is counted under this name
ON, OFF, REFRESH = "on", "off", "refresh"


class Care:
    """Of one exchange. `findings` are what guardrails found and did, as `what:action`; texts are never among them."""

    def __init__(self, policy: Policy, exchange: Exchange, wished: str) -> None:
        """`wished`: what the request says in x-gyre-cache."""
        self._exchange = exchange
        self._guardrails = policy.guardrails
        self._caching = policy.caching
        self._wished = wished.strip().lower()
        self._marks: Marks | None = None
        self._filter: AnswerFilter | None = None
        self._said: list[bytes] | None = None  # by the engine, for the cache
        self.findings: list[str] = []

    async def run(self) -> None:
        """Raises: ApiError, also where a guardrail refuses."""
        after = self._hook("after")
        if self._guardrails is not None:
            self._look_at_prompt(self._guardrails)
        if (before := self._hook("before")) is not None:
            await self._ask_hook(before, "before", {"messages": self._exchange.asking.messages() or []})
        if after is None:
            await self._answer()
        else:
            await self._answer_after(after)

    # -- prompts -----------------------------------------------------------------------------------------------------

    def _look_at_prompt(self, guardrails: Guardrails) -> None:
        ask = self._exchange.asking
        if guardrails.injection != ALLOW:
            self._look_for_injection(ask, guardrails.injection)
        if guardrails.prompt_data != ALLOW:
            self._look_for_personal_data(ask, guardrails.prompt_data)

    def _look_for_injection(self, ask: Asking, action: str) -> None:
        rules = injection.signs("\n".join(injection.from_outside(ask.fields.get("messages") or [])))
        if not rules:
            return
        for rule in rules:
            self._found(f"injection.{rule}", action)
        if action == REFUSE:
            raise errors.guardrail_refused(
                f"A result of a tool, or a retrieved text, looks like prompt injection ({', '.join(rules)}).",
                "messages",
            )

    def _look_for_personal_data(self, ask: Asking, action: str) -> None:
        marks = Marks(ask.raw.decode("utf-8", "replace"))
        fields = marks.replaced(ask.fields)
        if not marks.kinds:
            return
        for kind in marks.kinds:
            self._found(f"prompt.{kind}", action)
        if action == REFUSE:
            raise errors.guardrail_refused(f"The prompt has personal data in it: {', '.join(marks.kinds)}.", None)
        ask.fields, ask.raw = fields, json.dumps(fields, separators=(",", ":")).encode()
        self._marks = marks

    # -- the hook ----------------------------------------------------------------------------------------------------

    def _hook(self, phase: str) -> Hook | None:
        asked = self._guardrails.hook if self._guardrails is not None else None
        return asked if asked is not None and (asked.before if phase == "before" else asked.after) else None

    async def _ask_hook(self, asked: Hook, phase: str, said: dict[str, Any]) -> None:
        """Raises: ApiError where the answer is no, or there is none and the hook fails closed."""
        exchange = self._exchange
        about = {"phase": phase, "project": exchange.deployment.project, "deployment": exchange.deployment.name}
        try:
            verdict = await hook.ask(exchange.gateway, asked, about | {"id": exchange.id} | said)
        except hook.HookFailed as error:
            log.warning("a guardrail hook failed", extra={"project": exchange.deployment.project, "reason": str(error)})
            self._found(f"hook.{phase}", "failed_open" if asked.fails_open else "failed_closed")
            if not asked.fails_open:
                raise errors.guardrail_unavailable() from error
            return
        if not verdict.allow:
            self._found(f"hook.{phase}", REFUSE)
            what = "prompt" if phase == "before" else "answer"
            raise errors.guardrail_refused(
                f"The project's guardrail refused the {what}: {verdict.reason or 'no reason given'}.", None
            )

    async def _answer_after(self, asked: Hook) -> None:
        """Nothing goes out before the hook has seen all of it, and what is kept of it says what the hook said."""
        exchange, real, keep = self._exchange, self._exchange.reply, self._exchange.on_whole
        begin, exchange.on_begin = exchange.on_begin, None
        held = exchange.reply = Held()
        exchange.on_whole, real.on_look = None, held.look
        try:
            await self._answer()
            if exchange.asking.operation != EMBEDDINGS:
                await self._ask_hook(asked, "after", {"answer": exchange.answer.text})
        finally:
            exchange.on_whole, real.on_look = keep, None
        exchange.whole()
        exchange.reply = real
        if begin is not None and not exchange.is_free:
            begin()
        held.play(real)

    # -- the cache ---------------------------------------------------------------------------------------------------

    async def _answer(self) -> None:
        exchange, caching = self._exchange, self._usable_cache()
        if caching is None:
            await exchange.run()
            return
        if self._wished != REFRESH and self._answered_from_cache(caching):
            return
        exchange.headers[exact_cache.HEADER] = "miss"
        self._count_cache("refresh" if self._wished == REFRESH else "miss")
        await exchange.run()
        self._keep(caching)

    def _usable_cache(self) -> Caching | None:
        caching, exchange = self._caching, self._exchange
        if caching is None or self._wished == OFF or not (caching.always or self._wished in (ON, REFRESH)):
            return None
        if caching.deployments and exchange.deployment.name not in caching.deployments:
            return None
        return caching if exact_cache.may_be_kept(exchange.asking) else None

    def _answered_from_cache(self, caching: Caching) -> bool:
        """By the target that would have been asked now: each version has answers of its own."""
        exchange, ask = self._exchange, self._exchange.asking
        target = exchange.gateway.router.choose(exchange.deployment, exchange.wish, [], ask.prefix)
        answer = None
        if target is not None:
            answer = exchange.gateway.cache.get(
                exact_cache.key_of(exchange.deployment.project, target, exchange.wish.adapter, ask)
            )
        if target is None or answer is None:
            return False
        self._count_cache("hit")
        exchange.target, exchange.is_free = target, not caching.billed
        if exchange.is_free:
            exchange.on_begin = None
        exchange.headers[exact_cache.HEADER] = "hit"
        if ask.stream:
            self._stream(exact_cache.as_stream(answer, ask.operation))
        else:
            exchange.send_whole(answer)
        return True

    def _stream(self, pieces: bytes) -> None:
        exchange = self._exchange
        data = exchange.rewriter().feed(self.feed(pieces) + self.end())
        exchange.begin_stream()
        exchange.whole()
        exchange.reply.end(data)

    def _keep(self, caching: Caching) -> None:
        """Under the target that did answer, which another attempt may have chosen."""
        exchange, said = self._exchange, self._said
        if said is None or exchange.target is None or exchange.answer.finish_reason not in exact_cache.WHOLE_ENDS:
            return
        answer = exact_cache.to_keep(b"".join(said), exchange.asking)
        if answer is not None:
            key = exact_cache.key_of(
                exchange.deployment.project, exchange.target, exchange.wish.adapter, exchange.asking
            )
            exchange.gateway.cache.put(key, answer, caching.seconds)

    # -- what the exchange calls -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """An engine is asked, the first or another one."""
        self._said = [] if exact_cache.HEADER in self._exchange.headers and not self._exchange.is_free else None
        self._filter = self._new_filter()

    def whole(self, raw: bytes) -> bytes:
        """An answer that is not streamed."""
        if self._said is not None:
            self._said.append(raw)
        chosen = self._filter
        return raw if chosen is None or self._exchange.asking.operation == EMBEDDINGS else chosen.whole(raw)

    def feed(self, data: bytes) -> bytes:
        """What came of a stream."""
        if self._said is not None:
            self._said.append(data)
        return data if self._filter is None else self._filter.feed(data)

    def end(self) -> bytes:
        return b"" if self._filter is None else self._filter.end()

    def _new_filter(self) -> AnswerFilter | None:
        values = self._marks.values if self._marks is not None else {}
        marks_answers = self._guardrails is not None and self._guardrails.answer_data == MARK
        return (
            AnswerFilter(values, self._found_in_answer if marks_answers else None) if values or marks_answers else None
        )

    def _found_in_answer(self, kind: str) -> None:
        self._found(f"answer.{kind}", MARK)

    def _found(self, what: str, action: str) -> None:
        finding = f"{what}:{action}"
        if finding not in self.findings:
            self.findings.append(finding)
            self._exchange.headers[HEADER] = ", ".join(self.findings)
            self._exchange.gateway.metrics.guardrails.labels(self._exchange.deployment.project, what, action).inc()
            self._exchange.gateway.found.count(self._exchange.deployment.project, what, action)

    def _count_cache(self, result: str) -> None:
        self._exchange.gateway.metrics.cache.labels(self._exchange.deployment.project, result).inc()
        self._exchange.gateway.found.count(self._exchange.deployment.project, CACHE, result)
