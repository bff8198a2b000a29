"""A client that closes the cluster that was started for it."""

from __future__ import annotations

import os
from contextlib import ExitStack

import distributed
from distributed.deploy import Cluster

from xfelred.errors import logger_of

logger = logger_of("xfelred.cluster")


class OwningClient(distributed.Client):  # type: ignore[misc]
    """Client whose cluster ends with it.

    A class, because ``with``, `close` and the exit of Python all come to `close`, which
    then does what is to be done `at_close`.
    """

    def __init__(self, cluster: Cluster, at_close: ExitStack) -> None:
        self.at_close = at_close
        super().__init__(cluster)

    def close(self, *args: object, **kwargs: object) -> object:
        with self.at_close:
            return super().close(*args, **kwargs)


def client_of(cluster: Cluster, at_close: ExitStack) -> OwningClient:
    """Return the client of a cluster just started, which it closes; also on failure."""
    at_close.callback(cluster.close)
    try:
        client = OwningClient(cluster, at_close)
    except BaseException:
        at_close.close()
        raise
    logger.info("dashboard of the cluster: %s", dashboard_link(client))
    return client


def cause(error: BaseException) -> str:
    """Return the first error of a chain as text."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def dashboard_link(client: distributed.Client) -> str:
    """Return where the dashboard of a cluster can be seen.

    Dashboards listen to the machine of the scheduler only. On JupyterHub the link
    goes through the proxy of the hub, for which the package jupyter-server-proxy
    must be installed there; from elsewhere, make a tunnel first:
    ``ssh -L PORT:127.0.0.1:PORT machine-of-the-scheduler``.

    Parameters
    ----------
    client : distributed.Client
        Of any cluster.

    Returns
    -------
    str
        A link, or nothing if the scheduler has no dashboard.
    """
    port = client.scheduler_info(n_workers=0)["services"].get("dashboard")
    if port is None:
        return ""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if prefix:
        return f"{prefix.rstrip('/')}/proxy/{port}/status"
    return f"http://127.0.0.1:{port}/status"
