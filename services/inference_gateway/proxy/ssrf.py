"""Which upstream URLs a person may name. Checked when a deployment is created, and again on every address that the
name resolves to right before connecting, so that a name which changes its mind (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    ipaddress.ip_address(each)
    for each in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UpstreamRefused(ValueError):
    """This URL or address is not one that the gateway may talk to. The text says which rule, and what changes it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is open besides public addresses; the settings GYRE_PROXY_ALLOW_LOOPBACK and GYRE_PROXY_ALLOW_PRIVATE."""

    allow_loopback: bool = True
    allow_private: bool = False


def check_url(url: str, policy: Policy) -> SplitResult:
    """The parts of `url`. A name is not resolved here: see `check_address`.

    Raises: UpstreamRefused.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UpstreamRefused(f"'{url[:200]}' is not a URL: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise UpstreamRefused(f"'{url[:200]}' must begin with http:// or https://")
    if not parts.hostname or port == 0:
        raise UpstreamRefused(f"'{url[:200]}' names no host and port")
    if parts.username is not None or parts.password is not None:
        raise UpstreamRefused("credentials do not belong in the URL; name the setting that holds the key instead")
    if parts.query or parts.fragment or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise UpstreamRefused("the URL may have no query, no fragment and no spaces; give the base, such as …/v1")
    try:
        literal = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return parts
    check_address(literal, policy)
    return parts


def check_address(address: IpAddress, policy: Policy) -> None:
    """Raises: UpstreamRefused."""
    address = unwrapped(address)
    if address in METADATA or address.is_link_local:
        raise UpstreamRefused(f"{address} is a link-local or cloud-metadata address, which is never allowed")
    if address.is_unspecified or address.is_multicast:
        raise UpstreamRefused(f"{address} is not the address of one machine")
    if address.is_loopback:
        if not policy.allow_loopback:
            raise UpstreamRefused(f"{address} is this machine; GYRE_PROXY_ALLOW_LOOPBACK=true allows it")
        return
    if not address.is_global and not policy.allow_private:
        raise UpstreamRefused(f"{address} lies in a private network; GYRE_PROXY_ALLOW_PRIVATE=true allows it")


def unwrapped(address: IpAddress) -> IpAddress:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, Teredo's server aside, NAT64), or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
