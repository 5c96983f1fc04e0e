"""Whose machine an engine is on, as far as its address says. Pure.

An upstream on this machine or in a private network is own hardware, and so is one whose name cannot be a public one. A
name is not resolved here: that such a name does not lead to a public address after all, the pool makes sure.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from services.inference_gateway.proxy.ssrf import IpAddress, unwrapped

# RFC 6762, ICANN 2024, RFC 6761, RFC 8375; the last is Kubernetes'.
PRIVATE_ENDINGS = (".local", ".internal", ".localhost", ".home.arpa", ".svc")


def host_if_rented(upstream_url: str) -> str:
    """The host of an upstream that is not own hardware; empty for one that is, and for a replica (no URL)."""
    host = urlsplit(upstream_url).hostname or ""
    return "" if is_own(host) else host


def is_own(host: str) -> bool:
    address = _address(host)
    if address is None:
        return "." not in host or host.endswith(PRIVATE_ENDINGS)
    return not address.is_global


def _address(host: str) -> IpAddress | None:
    """Also of the old spellings (`134744072`, `0x8.8`), which resolvers take; None for a name."""
    try:
        return unwrapped(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None
