"""Clients of dask clusters: on this machine, on SLURM, or already running."""

from xfelred.lazy_names import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=(),
    names={
        "xfelred.cluster.this_machine": ("local",),
        "xfelred.cluster.jobs": ("slurm",),
        "xfelred.cluster.site": ("profiles",),
        "xfelred.cluster.running": ("connect",),
        "xfelred.cluster.client": ("dashboard_link",),
        "xfelred.cluster.certificates": (
            "from_certificate",
            "new_certificate",
            "write_scheduler_file",
        ),
        "xfelred.errors": ("ClusterError",),
    },
)
