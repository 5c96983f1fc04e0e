"""A service as a value: what it serves, hears and does by itself. `run` makes it a process.

`python -m gyre_kit.app --all` hosts all eight in one process: the same code, gRPC between them all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any

import uvloop

from gyre_kit import addresses, migrate, rpc
from gyre_kit.auth import Role, Signer, Verifier
from gyre_kit.broker import Broker
from gyre_kit.clock import Clock, SystemClock
from gyre_kit.db import Database
from gyre_kit.inbox import Handler, Inbox
from gyre_kit.outbox import Relay
from gyre_kit.reconcile import Reconciler
from gyre_kit.settings import KitSettings
from gyre_kit.storage import ObjectStore
from gyre_kit.telemetry import Metrics, configure_logging, configure_tracing

log = logging.getLogger(__name__)
DRAIN_SECONDS = 5.0
RESTART_SECONDS = 1.0


@dataclass
class Context:
    """What a servicer, a reconciler or an extra server gets to work with."""

    component: str
    settings: Any
    db: Database
    clients: rpc.Clients
    store: ObjectStore
    signer: Signer
    verifier: Verifier
    metrics: Metrics
    broker: Broker
    clock: Clock
    wakes: dict[str, asyncio.Event] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    def wake_event(self, reconciler: str) -> asyncio.Event:
        return self.wakes.setdefault(reconciler, asyncio.Event())

    def wake(self) -> None:
        """Lets every reconciler look again now: what a call does after it wrote something for them."""
        for event in self.wakes.values():
            event.set()


async def _nothing(context: Context) -> None:
    return None


@dataclass(frozen=True)
class App:
    """`servicers` are classes made with the Context; `extras` are servers beside gRPC, entered at start.

    `warm_up` runs when all else does: health says SERVING after it.
    """

    component: str
    settings: KitSettings
    servicers: Sequence[Callable[[Context], Any]]
    handlers: Mapping[Any, Handler] = field(default_factory=dict)
    reconcilers: Sequence[Reconciler] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    extras: Sequence[Callable[[Context], AbstractAsyncContextManager[Any]]] = ()
    warm_up: Callable[[Context], Awaitable[None]] = _nothing


def run(app: App) -> None:
    """Runs one service until SIGTERM or SIGINT, then drains."""
    configure_logging(app.component, app.settings.log_level)
    configure_tracing(app.component, app.settings.otlp_endpoint)
    uvloop.run(_until_signalled([app]))


async def serve(app: App, stack: AsyncExitStack, clock: Clock | None = None) -> Context:
    """Starts `app` in this loop; `stack` stops it. Returns when it is ready: migrated, joined, serving."""
    context = await _context(app, stack, clock or SystemClock())
    await migrate.upgrade(context.db.url, app.component)  # 1 schema
    server = rpc.make_server(app.component, context.verifier, app.roles, context.metrics)
    status = rpc.add_servicers(server, [make(context) for make in app.servicers])  # 2 gRPC
    await rpc.set_serving(status, False)
    server.add_insecure_port(app.settings.grpc_listen(app.component))
    await server.start()
    stack.push_async_callback(server.stop, DRAIN_SECONDS)
    metrics_server = context.metrics.serve(app.settings.bind, app.settings.metrics_port(app.component))
    stack.callback(metrics_server.server_close)
    stack.callback(metrics_server.shutdown)
    await _start_events(app, context, stack)  # 3 events
    for extra in app.extras:  # 4 other servers
        await stack.enter_async_context(extra(context))
    for reconciler in app.reconcilers:  # 5 own work
        _background(stack, partial(reconciler.run, context), f"{app.component}.{reconciler.step.__name__}")
    await app.warm_up(context)  # 6 what the first call needs
    await rpc.set_serving(status, True)
    stack.push_async_callback(rpc.set_serving, status, False)
    log.info("ready", extra={"service": app.component, "address": app.settings.grpc_listen(app.component)})
    return context


async def _context(app: App, stack: AsyncExitStack, clock: Clock) -> Context:
    settings = app.settings
    signer = Signer(app.component, settings.keys_folder)
    context = Context(
        component=app.component,
        settings=settings,
        db=Database(settings.database_url_of(app.component), app.component, clock),
        clients=rpc.Clients(settings, signer),
        store=ObjectStore.from_url(settings.object_store_url),
        signer=signer,
        verifier=Verifier(settings.keys_folder),
        metrics=Metrics(app.component),
        broker=Broker(settings.kafka_address, f"gyre.{app.component}", timedelta(hours=settings.event_retention_hours)),
        clock=clock,
    )
    for part in (context.db, context.clients, context.broker):
        stack.push_async_callback(part.close)
    return context


async def _start_events(app: App, context: Context, stack: AsyncExitStack) -> None:
    relay = Relay(context.db, context.broker, context.metrics, timedelta(hours=app.settings.event_retention_hours))
    _background(stack, relay.run, f"{app.component}.relay")
    waits: list[Awaitable[Any]] = [relay.ready.wait()]
    if app.handlers:
        inbox = Inbox(context.db, context.broker, context.metrics, app.handlers, on_applied=context.wake)
        _background(stack, inbox.run, f"{app.component}.inbox")
        waits.append(inbox.ready.wait())
    await asyncio.gather(*waits)


def _background(stack: AsyncExitStack, work: Callable[[], Awaitable[None]], name: str) -> None:
    task = asyncio.create_task(_kept_running(work, name), name=name)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task], timeout=DRAIN_SECONDS)

    stack.push_async_callback(stop)


async def _kept_running(work: Callable[[], Awaitable[None]], name: str) -> None:
    """Until we are cancelled ourselves. A CancelledError that a library (grpc.aio, aiokafka) lets out of a task or call
    of its own would end `work` without a word."""
    while True:
        try:
            await work()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        log.error("background work ended by itself; it starts over", extra={"work": name})
        await asyncio.sleep(RESTART_SECONDS)


async def _until_signalled(apps: Sequence[App]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        starting: asyncio.Future[Any] = asyncio.gather(*(serve(app, stack) for app in apps))
        stopping: asyncio.Future[Any] = asyncio.create_task(stopped.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await stopping


def main() -> None:
    parser = argparse.ArgumentParser(description="Hosts all eight services in one process.")
    parser.add_argument("--all", action="store_true", required=True)
    parser.parse_args()
    apps = [import_module(f"services.{component}.main").app for component in addresses.COMPONENTS]
    configure_logging("gyre", apps[0].settings.log_level)
    configure_tracing("gyre", apps[0].settings.otlp_endpoint)
    uvloop.run(_until_signalled(apps))


if __name__ == "__main__":
    main()
