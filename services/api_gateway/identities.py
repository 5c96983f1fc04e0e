"""Who sends an HTTP request: an API key, or the cookie of a session that began with one."""

from __future__ import annotations

import time
from dataclasses import replace

import jwt
from fastapi import Request
from gyre_kit.app import Context
from gyre_kit.auth import ALL_PROJECTS, Identity, Role, acting_as
from gyre_kit.errors import NotFound, Unauthenticated

from services.api_gateway import service

COOKIE = "gyre_session"
CACHE_SECONDS = 5.0


class WrongKey(Unauthenticated):
    """The API key is not known or was revoked. Make one with `gyre keys create`, or ask an administrator."""


class Identities:
    """Looks keys up by their hash; what was found is trusted for a few seconds, until a key of ours is revoked."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._cache: dict[str, tuple[float, Identity]] = {}
        self._cookie_secret = service.load_console_secret(context.settings.keys_folder / "session.secret")

    async def identify(self, request: Request, project: str = "") -> Identity:
        """The caller, narrowed to `project`: by key if there is one, else by cookie.

        Raises: WrongKey; NotFound for a project that is not the caller's.
        """
        if request.headers.get("authorization"):
            identity = await self.of_key(_secret(request))
        else:
            _check_same_origin(request)
            identity = await self._of_cookie(request.cookies.get(COOKIE, ""))
        if project and not identity.may_see(project):
            raise NotFound(f"There is no project {project}.", name=f"projects/{project}")
        return replace(identity, project=project) if project else identity

    async def of_key(self, secret: str) -> Identity:
        return await self._of_digest(service.digest(secret))

    def forget(self) -> None:
        self._cache.clear()

    async def begin_session(self, secret: str) -> tuple[Identity, str]:
        """The identity of a key, and a cookie that stands for it. The cookie names the key's hash, never the key."""
        identity = await self.of_key(secret)
        claims = {"hash": service.digest(secret), "exp": int(time.time()) + self._context.settings.session_hours * 3600}
        return identity, jwt.encode(claims, self._cookie_secret, algorithm="HS256")

    async def _of_cookie(self, cookie: str) -> Identity:
        if not cookie:
            raise WrongKey("Send an API key: `Authorization: Bearer <key>`, or sign in to the console.")
        try:
            digest = jwt.decode(cookie, self._cookie_secret, algorithms=["HS256"])["hash"]
        except (jwt.InvalidTokenError, KeyError) as error:
            raise WrongKey("The session has ended; sign in again.") from error
        return await self._of_digest(digest)

    async def _of_digest(self, digest: str) -> Identity:
        until, identity = self._cache.get(digest, (0.0, None))
        if identity is not None and until > time.monotonic():
            return identity
        with acting_as(Identity("services/api_gateway", ALL_PROJECTS, Role.ADMIN)):
            async with self._context.db.transaction() as session:
                found = await service.identify(session, digest)
        if found is None:
            raise WrongKey()
        if len(self._cache) > 10_000:
            self._cache.clear()
        self._cache[digest] = (time.monotonic() + CACHE_SECONDS, found)
        return found


def _secret(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise WrongKey("Send the API key as `Authorization: Bearer <key>`.")
    return secret.strip()


def _check_same_origin(request: Request) -> None:
    """Another site's page may not use a visitor's cookie, whatever the browser's SameSite says."""
    origin = request.headers.get("origin")
    if origin and origin.split("://", 1)[-1] != request.headers.get("host", ""):
        raise WrongKey("This request came from another site.")
