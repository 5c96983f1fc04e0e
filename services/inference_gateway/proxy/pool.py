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
        self._idle: deque[UpstreamConnection] = deque()
        self._line: deque[asyncio.Future[None]] = deque()  # of those that wait for a free place
        self.busy = 0

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._line)

    def at_once(self) -> UpstreamConnection | None:
        """A kept connection for one request, if there is one; to be given back by `release`."""
        if self._is_full():
            return None
        connection = self._reuse()
        if connection is not None:
            self.busy += 1
        return connection

    async def acquire(self, fresh: bool = False) -> UpstreamConnection:
        """As `at_once`, but makes one, or waits for a place. `fresh`: not one that was used before.

        Raises: PoolFull; ConnectFailed; UpstreamRefused.
        """
        if self._is_full():
            await self._place()
        else:
            self.busy += 1
        try:
            connection = None if fresh else self._reuse()
            return connection if connection is not None else await self._connect()
        except BaseException:
            self._leave()
            raise

    def release(self, connection: UpstreamConnection) -> None:
        """Keeps it for the next request, or closes it where its answer did not come to its end."""
        self._leave()
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

    def _is_full(self) -> bool:
        """Nobody overtakes those that wait."""
        return bool(self._line) or self.busy >= self._settings.upstream_connections

    async def _place(self) -> None:
        """First come, first served; the place of one that leaves becomes the next one's. Raises: PoolFull."""
        if self.waiting >= self._settings.upstream_waiting:
            raise PoolFull(f"{self.waiting} requests wait for it already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # its turn came just as its client left
            elif turn in self._line:
                self._line.remove(turn)
            raise

    def _leave(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.busy -= 1

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
