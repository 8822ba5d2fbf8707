"""The address on which the status server listens, as a text.  Pure."""

from __future__ import annotations

LOOPBACK = "127.0.0.1"
ADDRESS_HINT = "write HOST:PORT, [IPV6]:PORT, or a port alone for 127.0.0.1"


def address_of(text: str) -> tuple[str, int] | None:
    """Host and port; None if that is no address.  Without a host it is the loopback address.

    >>> address_of("9464"), address_of(":9464"), address_of("10.0.0.7:0")
    (('127.0.0.1', 9464), ('127.0.0.1', 9464), ('10.0.0.7', 0))
    >>> address_of("[::1]:80"), address_of("host"), address_of("::1:80"), address_of("h:65536")
    (('::1', 80), None, None, None)
    """
    host, _, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    elif ":" in host:
        return None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        return None
    if any(c.isspace() or c in "/[]@*" for c in host) or (bracketed and not host):
        return None
    return host or LOOPBACK, int(port)
