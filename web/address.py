"""What an address is counted under, wherever too much may come from one."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


@lru_cache(4096)  # each handshake asks
def network(address: str | None) -> str:
    """Return what an address is counted under: itself, or its /64 in IPv6, for that is what one customer gets.

    "" is none: a unix socket has no address, and what comes from this very machine comes from a proxy.
    """
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if parsed.is_loopback:
        return ""
    return str(parsed) if parsed.version == 4 else str(IPv6Address(int(parsed) >> 64 << 64))
