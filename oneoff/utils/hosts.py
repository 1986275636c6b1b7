"""Decide whether a host is this machine."""

from __future__ import annotations

from ipaddress import ip_address


def is_local_host(host: str) -> bool:
    """Return whether a host is this machine: a loopback address, or the folder of a socket.

    The end of a tunnel is on this machine too, although its server is not.
    """
    if host.lower() == "localhost" or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, which may be that of any machine
        return False
