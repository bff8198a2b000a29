"""A client of a cluster that is running already."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import distributed
from distributed.comm import get_address_host_port

from xfelred.cluster.certificates import read_scheduler_file
from xfelred.cluster.client import cause
from xfelred.cluster.versions import watch_versions
from xfelred.errors import ArgumentTypeError, ClusterError, ConfigError

ENCRYPTED, PLAIN = "tls://", "tcp://"


def connect(
    address: str | os.PathLike[str],
    *,
    security: distributed.Security | Literal[False] | None = None,
    timeout: float = 10.0,
) -> distributed.Client:
    """Connect to the scheduler of a running cluster.

    Parameters
    ----------
    address : str or path
        ``tls://host:port``, ``tcp://host:port``, or the file that ``xfelred cluster
        start`` or ``dask scheduler --scheduler-file`` wrote.
    security : distributed.Security or False, optional
        Certificates. Default: those that the file names, or those of dask's
        configuration (``distributed.comm.tls``). False: no encryption, which must be
        said where the scheduler is on another machine: whoever can reach its port
        can run programs on the workers.
    timeout : float
        Seconds to wait for an answer.

    Returns
    -------
    distributed.Client
        Use it in a ``with`` statement, or call its `close`; the cluster goes on.

    Raises
    ------
    ClusterError
        Nothing answers there, or it does not accept these certificates.
    ConfigError
        `address` is none, nor a file.
    """
    address = os.fspath(address)
    if "://" not in address and (os.sep in address or Path(address).is_file()):
        address, found = read_scheduler_file(Path(address))
        security = found if security is None else security
    address, checked = encryption(address, security)
    try:
        probe(address, checked, timeout)
        client = distributed.Client(address, security=checked, timeout=timeout)
    except (OSError, AssertionError) as error:
        raise ClusterError(
            f"no scheduler of dask can be reached at {address}: {cause(error)}."
            f" {advice(address, error)}"
        ) from None
    watch_versions(client)
    return client


def encryption(
    address: str, security: distributed.Security | Literal[False] | None
) -> tuple[str, distributed.Security]:
    """Return the full address and the certificates for it, or raise."""
    if security not in (None, False) and not isinstance(security, distributed.Security):
        raise ArgumentTypeError(
            "security must be a distributed.Security, or False for none, got"
            f" {type(security).__name__}"
        )
    given = address
    known = security or distributed.Security()
    has_certificate = bool(known.tls_client_cert) and security is not False
    if "://" not in address:
        address = (ENCRYPTED if has_certificate else PLAIN) + address
    if not address.startswith((ENCRYPTED, PLAIN)) or not has_port(address):
        raise ConfigError(
            f"address {given!r} must be tls://host:port, tcp://host:port or a"
            " scheduler file that is there; for others use distributed.Client"
        )
    if address.startswith(ENCRYPTED) and not has_certificate:
        raise ClusterError(
            f"{address} needs certificates, and there are none; give the scheduler"
            " file of the cluster instead of its address, or security="
            "distributed.Security(tls_ca_file=..., tls_client_cert=...,"
            " tls_client_key=...), or set distributed.comm.tls in dask's configuration"
        )
    if address.startswith(PLAIN) and security is not False and not is_local(address):
        raise ClusterError(
            f"{address} is another machine, and tcp:// is not encrypted: whoever can"
            " reach the port can run programs as you. Start that cluster with"
            " certificates and use tls://, or pass security=False if the network is"
            " yours alone"
        )
    if address.startswith(PLAIN):
        known = distributed.Security(require_encryption=False)
    return address, known


def has_port(address: str) -> bool:
    host, _, port = address.partition("://")[2].rpartition(":")
    return bool(host) and port.isascii() and port.isdecimal() and int(port) < 1 << 16


def is_local(address: str) -> bool:
    """Tell whether an address is on this machine and cannot be reached from others."""
    host, _ = get_address_host_port(address)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def probe(address: str, security: distributed.Security, timeout: float) -> None:
    """Raise at once what dask would try again and again until the time is over."""
    with ExitStack() as stack:
        where = get_address_host_port(address)
        line = stack.enter_context(socket.create_connection(where, timeout))
        if address.startswith(ENCRYPTED):
            context = security.get_connection_args("client")["ssl_context"]
            line = stack.enter_context(context.wrap_socket(line))
        # Both ends of a connection of dask speak first. A scheduler that does not
        # accept a certificate says so only now.
        if not line.recv(1):
            raise ClusterError("what is there closes the connection")


def advice(address: str, error: Exception) -> str:
    """Return what to do about a failed connection."""
    if isinstance(error, ssl.SSLError):
        return (
            "Its certificates do not fit: use the scheduler file or the certificates"
            " of this very cluster"
        )
    if isinstance(error, TimeoutError):
        other = PLAIN if address.startswith(ENCRYPTED) else ENCRYPTED
        return (
            f"Perhaps it expects {other}, a firewall is between, or it is too busy:"
            " pass a larger timeout"
        )
    return "Check host and port, and whether the cluster is still running"
