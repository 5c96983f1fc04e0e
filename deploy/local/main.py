"""The supervisor's process: `python -m deploy.local.main`. `gyre up` starts it in the background and waits for it."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime

from deploy.local import children, database, keys, ports, probes
from deploy.local.settings import RuntimeSettings
from deploy.local.supervisor import AlreadyRunning, Supervisor

ALREADY_RUNNING = 3


def main() -> None:
    settings = RuntimeSettings()
    settings.prepare_home()
    try:
        supervisor = Supervisor(settings, say)
    except AlreadyRunning:
        say(f"another supervisor runs in {settings.resolved_home}")
        sys.exit(ALREADY_RUNNING)
    try:
        asyncio.run(_supervise(supervisor, settings))
    except Exception as error:
        supervisor.fail(str(error))
        raise


async def _supervise(supervisor: Supervisor, settings: RuntimeSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    await supervisor.clear_left_over()
    await ports.ensure_free(children.service_ports(settings))
    keys.ensure_signing_keys(settings.keys_folder)
    if settings.database_url:
        await database.prepare_external(settings)
    if settings.kafka_bootstrap:
        await _ensure_kafka(settings.kafka_bootstrap)
    await supervisor.run(children.stages(settings), stopped)


async def _ensure_kafka(bootstrap: str) -> None:
    """Raises: RuntimeError if none of the brokers answers."""
    answers = await asyncio.gather(*(probes.speaks_kafka(address.strip()) for address in bootstrap.split(",")))
    if not any(answers):
        raise RuntimeError(f"No Kafka broker answers at {bootstrap}. Check GYRE_KAFKA_BOOTSTRAP (host:port, no TLS).")


def say(sentence: str) -> None:
    """One line with its time; in the background stdout is `logs/supervisor.log`."""
    print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {sentence}", flush=True)


if __name__ == "__main__":
    main()
