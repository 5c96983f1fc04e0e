"""Connections to engines: kept open, bounded, one pool for each place."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.inference_gateway.proxy.hardware import is_own
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.ssrf import Policy, UpstreamRefused, check_address, check_url, unwrapped
from services.inference_gateway.proxy.upstream import ConnectFailed, UpstreamConnection, UpstreamError


class PoolFull(UpstreamError):
    """All connections are busy and as many requests wait as may."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A place that answers HTTP. `checked`: a person named it, so its addresses are checked before connecting."""

    scheme: str
    host: str
    port: int
    checked: bool

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def split_base_url(url: str, checked: bool, policy: Policy) -> tuple[Origin, str]:
    """`http://10.0.0.5:8000/v1` → its origin and the path `/v1`. Raises: UpstreamRefused for one that is checked."""
    parts = check_url(url, policy if checked else Policy(allow_loopback=True, allow_private=True))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Origin(parts.scheme, parts.hostname or "", port, checked), parts.path.rstrip("/")


class Pool:
    """The connections to one origin, newest first, so that those too many grow old and are closed."""

    def __init__(
        self, origin: Origin, settings: ProxySettings, clock: Callable[[], float], tls: ssl.SSLContext
    ) -> None:
        self.origin = origin
        self.authority = origin.authority
        self._settings = settings
        self._clock = clock
        self._tls = tls if origin.scheme == "https" else None
        self._policy = Policy(settings.allow_loopback, settings.allow_private)
        self._slots = asyncio.Semaphore(settings.upstream_connections)
        self._idle: deque[UpstreamConnection] = deque()
        self.waiting = 0
        self.busy = 0

    @property
    def idle(self) -> int:
        return len(self._idle)

    async def acquire(self, fresh: bool = False) -> UpstreamConnection:
        """A connection for one request, to be given back by `release`. `fresh`: not one that was used before.

        Raises: PoolFull; ConnectFailed; UpstreamRefused.
        """
        if self._slots.locked():
            await self._wait_for_slot()
        else:
            await self._slots.acquire()
        self.busy += 1
        try:
            connection = None if fresh else self._reuse()
            return connection if connection is not None else await self._connect()
        except BaseException:
            self.busy -= 1
            self._slots.release()
            raise

    def release(self, connection: UpstreamConnection) -> None:
        """Keeps it for the next request, or closes it where its answer did not come to its end."""
        self.busy -= 1
        self._slots.release()
        if connection.reusable:
            connection.idle_since = self._clock()
            self._idle.append(connection)
        else:
            connection.close()

    def expire(self) -> None:
        """Closes what was idle for too long. Oldest first, for the newest are at the right."""
        while self._idle and (self._idle[0].closed or self._expired(self._idle[0])):
            self._idle.popleft().close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _wait_for_slot(self) -> None:
        if self.waiting >= self._settings.upstream_waiting:
            raise PoolFull(f"{self.waiting} requests wait for it already")
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1

    def _reuse(self) -> UpstreamConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and not self._expired(connection):
                return connection
            connection.close()
        return None

    def _expired(self, connection: UpstreamConnection) -> bool:
        limit = self._settings.upstream_idle_seconds
        if connection.idle_limit is not None:
            limit = min(limit, connection.idle_limit)
        return self._clock() - connection.idle_since >= limit

    async def _connect(self) -> UpstreamConnection:
        where = self.origin.authority
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                return await self._connect_to_any(await self._addresses())
        except TimeoutError as late:
            seconds = self._settings.connect_seconds
            raise ConnectFailed(f"no connection to {where} within {seconds:g} s") from late
        except OSError as error:
            raise ConnectFailed(f"no connection to {where} ({error.strerror or error})") from error

    async def _connect_to_any(self, addresses: list[str]) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        failure: OSError = ConnectionError("no address")
        for address in addresses:
            try:
                _, connection = await loop.create_connection(
                    UpstreamConnection,
                    address,
                    self.origin.port,
                    ssl=self._tls,
                    server_hostname=self.origin.host if self._tls else None,
                )
                return connection
            except OSError as error:
                failure = error
        raise failure

    async def _addresses(self) -> list[str]:
        """IP addresses of the origin. One that may not be used spoils all, for the name is then not to be trusted."""
        found = await asyncio.get_running_loop().getaddrinfo(
            self.origin.host, self.origin.port, type=socket.SOCK_STREAM
        )
        addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
        if self.origin.checked:
            own = is_own(self.origin.host)
            for address in map(ipaddress.ip_address, addresses):
                check_address(address, self._policy)
                if own and unwrapped(address).is_global:  # no project's regions were asked about it
                    raise UpstreamRefused(f"{self.origin.host} counts as own hardware, but leads to {address}")
        return addresses


class Pools:
    """A pool for each origin, made when first asked for."""

    def __init__(self, settings: ProxySettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._tls = ssl.create_default_context()
        self._policy = Policy(settings.allow_loopback, settings.allow_private)
        self._pools: dict[Origin, Pool] = {}
        self._urls: dict[tuple[str, bool], tuple[Pool, str]] = {}

    def of(self, base_url: str, checked: bool) -> tuple[Pool, str]:
        """The pool for `base_url` and the path of its base. Raises: UpstreamRefused."""
        known = self._urls.get((base_url, checked))
        if known is None:
            origin, path = split_base_url(base_url, checked, self._policy)
            pool = self._pools.get(origin)
            if pool is None:
                pool = self._pools[origin] = Pool(origin, self._settings, self._clock, self._tls)
            known = self._urls[base_url, checked] = pool, path
        return known

    def all(self) -> Iterable[Pool]:
        return self._pools.values()

    def expire(self) -> None:
        for pool in self._pools.values():
            pool.expire()

    def forget_others(self, base_urls: set[tuple[str, bool]]) -> None:
        """Drops the pools of places that no snapshot names any more, once nothing runs there."""
        self._urls = {key: value for key, value in self._urls.items() if key in base_urls}
        wanted = {pool.origin for pool, _ in self._urls.values()}
        for origin, pool in list(self._pools.items()):
            if origin not in wanted and not pool.busy and not pool.waiting:
                self._pools.pop(origin).close()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
