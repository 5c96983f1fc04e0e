"""Where no target of a deployment can answer, deployments that it names are asked in turn, before the first byte.

Only the deployment that was asked says which: the chain is as long as its list, and cannot run in a circle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.inference_gateway.proxy.errors import ApiError
from services.inference_gateway.proxy.routing import Wish
from services.inference_gateway.proxy.sessions import session_of

if TYPE_CHECKING:
    from services.inference_gateway.proxy.exchange import Exchange

HEADER = "x-gyre-fallback"


async def ask(exchange: Exchange) -> ApiError | None:
    """Asks the exchange's deployment, then its fallbacks; the exchange is of the one that answered then. Returns why
    nobody did, as the deployment that was asked for says it.
    """
    asked, wish = exchange.deployment, exchange.wish
    failure, elsewhere = await exchange.ask_patiently(asked.fallback_seconds)
    if failure is None or not elsewhere or exchange.reply.started:
        return failure
    snapshot = exchange.gateway.snapshot
    for name in asked.fallbacks:
        deployment = snapshot and snapshot.deployments.get((asked.project, name))
        if not deployment:
            continue
        session = session_of(asked.project, name, wish.session.hex()) if wish.session else None
        exchange.deployment, exchange.wish = deployment, Wish(session=session)
        exchange.headers[HEADER] = name
        other, elsewhere = await exchange.ask_patiently(0)
        if other is None or exchange.reply.started:
            exchange.gateway.metrics.fallbacks.labels(asked.project, asked.name, name).inc()
            return other
        if not elsewhere:
            break
    del exchange.headers[HEADER]
    exchange.deployment, exchange.wish = asked, wish
    return failure
