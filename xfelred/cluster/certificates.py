"""Certificates in files that only their owner can read."""

from __future__ import annotations

import copy
import json
import os
import secrets
from pathlib import Path
from typing import Any

import distributed

from xfelred.errors import ClusterError
from xfelred.small_files import read_text

ADDRESS, CERTIFICATE = "address", "certificate"


def new_certificate(directory: Path) -> Path:
    """Write a new certificate and its key to a file of mode 600; return its path.

    The directory is made with mode 700 if there is none.
    """
    made = distributed.Security.temporary()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"xfelred-cluster-{secrets.token_hex(8)}.pem"
    write_private(path, made.tls_client_key + made.tls_ca_file)
    return path


def from_certificate(path: Path) -> distributed.Security:
    """Return the security that uses one file of certificate and key for all roles."""
    name = os.fspath(path)
    roles = ("client", "scheduler", "worker")
    files = {f"tls_{role}_{kind}": name for role in roles for kind in ("cert", "key")}
    return distributed.Security(require_encryption=True, tls_ca_file=name, **files)


def with_worker_files(
    security: distributed.Security, directory: Path
) -> tuple[distributed.Security, list[Path]]:
    """Return a copy whose workers find in files what was in memory; and these files."""
    out, files = copy.copy(security), []
    for name in ("tls_ca_file", "tls_worker_cert", "tls_worker_key"):
        text = getattr(security, name)
        if text and "\n" in text:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.append(directory / f"xfelred-{name}-{secrets.token_hex(8)}.pem")
            write_private(files[-1], text)
            setattr(out, name, os.fspath(files[-1]))
    return out, files


def write_private(path: Path, text: str) -> None:
    """Write a new file that was never readable by anyone else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)


def write_scheduler_file(path: Path, address: str, certificate: Path | None) -> None:
    """Write what `xfelred.cluster.connect` needs to know, for the owner only."""
    content: dict[str, Any] = {"type": "Scheduler", ADDRESS: address}
    if certificate is not None:
        content[CERTIFICATE] = os.fspath(certificate)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(new, json.dumps(content, indent=2) + "\n")
    os.replace(new, path)


def read_scheduler_file(path: Path) -> tuple[str, distributed.Security | None]:
    """Return the address of a scheduler, and the certificate if it names one."""
    try:
        content = json.loads(read_text(path, "scheduler file"))
        address, certificate = content[ADDRESS], content.get(CERTIFICATE)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ClusterError(
            f"{path} is not a scheduler file ({error}); give the file that"
            " `xfelred cluster start` or `dask scheduler --scheduler-file` wrote, or"
            " an address such as tls://host:8786"
        ) from error
    if not certificate:
        return str(address), None
    if not Path(certificate).is_file():
        raise ClusterError(
            f"the certificate {certificate} of {path} is gone: the cluster was"
            " stopped; start it again"
        )
    return str(address), from_certificate(Path(certificate))
