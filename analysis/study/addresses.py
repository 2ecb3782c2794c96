"""Names of the study's server as browsers send them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
"""ports that browsers leave out of an address"""


def host_name(host: str) -> str:
    """A host as browsers name it in the header `Host`: IPv6 addresses short and in brackets, all in small letters."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:  # a name
        return host.lower()
    return f"[{address}]" if address.version == 6 else str(address)


def site_of(address: str) -> str:
    """Host and port of an http or https address as browsers name them in the header `Origin`."""
    parts = urlsplit(address)
    host = host_name(parts.hostname or "")
    return host if parts.port in (None, PORTS[parts.scheme]) else f"{host}:{parts.port}"
