"""Clusters: encrypted, on loopback, closed at the end, and nothing else changed."""

import json
import logging
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import dask
import distributed
import psutil
import pytest

import xfelred as xf
from xfelred.cluster import job_script, jobs, settings, this_machine
from xfelred.cluster.job_script import wall_seconds
from xfelred.cluster.worker_setup import worth_saying
from xfelred.errors import MissingExtraError, XfelredError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
# A worker cannot see these settings: they belong to the process of the scheduler.
SATURATION = "distributed.scheduler.worker-saturation"
SPILL = "distributed.worker.memory.spill"


def surroundings():
    """What a process shares: the configuration of dask and the environment."""
    # That a client is the default scheduler is what clients are for, and pytest
    # names the test in the environment.
    config = {k: v for k, v in dask.config.config.items() if k != "scheduler"}
    environment = {k: v for k, v in os.environ.items() if "PYTEST" not in k}
    return json.dumps(config, sort_keys=True, default=str), environment


@pytest.fixture(scope="module")
def started():
    config = {SATURATION: 2.5, SPILL: 0.65}
    before = surroundings()
    with xf.cluster.local(2, memory_limit="1GiB", config=config) as made:
        yield made, before, surroundings()


@pytest.fixture(scope="module")
def client(started):
    return started[0]


def listening(pid):
    """Addresses that a process listens on, as the system says."""
    found = psutil.Process(pid).net_connections("inet")
    return {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}


# On this machine


def test_local_is_encrypted_and_computes(client):
    assert isinstance(client, distributed.Client)
    assert client.scheduler.address.startswith("tls://127.0.0.1:")
    assert client.submit(lambda x: x + 1, 1).result() == 2
    assert len(client.cluster.workers) == 2


def test_nothing_listens_to_other_machines(client):
    workers = client.run(os.getpid)
    for pid in (os.getpid(), *workers.values()):
        assert listening(pid) == {"127.0.0.1"}


def test_settings_arrive_at_the_workers(client):
    def seen(dask_worker):
        manager = dask_worker.memory_manager
        return (
            dask_worker.state.nthreads,
            manager.memory_limit,
            manager.memory_target_fraction,
            manager.memory_spill_fraction,
            manager.memory_pause_fraction,
            os.environ["OMP_NUM_THREADS"],
        )

    threads = os.environ.get("OMP_NUM_THREADS", "1")
    expected = (1, 2**30, 0.6, 0.65, 0.8, threads)
    assert [*client.run(seen).values()] == [expected] * 2
    nannies = client.run(lambda dask_worker: dask_worker.config, nanny=True)
    terminate = {
        c["distributed"]["worker"]["memory"]["terminate"] for c in nannies.values()
    }
    assert terminate == {0.95}
    assert client.cluster.scheduler.WORKER_SATURATION == 2.5


def test_killed_workers_do_not_delay_the_others_for_long(client):
    connect = "distributed.comm.timeouts.connect"
    found = client.run(lambda: dask.config.get(connect))
    assert {*found.values()} == {"10s"}
    assert dask.config.get(connect) == "30s"


def test_ctrl_c_does_not_reach_the_workers(client):
    def signalled():
        os.kill(os.getpid(), 2)
        return os.getpid()

    before = client.run(os.getpid)
    assert client.run(signalled) == before
    assert client.run(os.getpid) == before


def test_workers_that_start_later_have_the_same_settings(client):
    client.cluster.scale(3)
    client.wait_for_workers(3, timeout=30)
    try:
        found = client.run(lambda dask_worker: dask.config.get(SPILL))
        assert [*found.values()] == [0.65] * 3
    finally:
        client.cluster.scale(2)
        for _ in range(300):
            if len(client.scheduler_info(n_workers=-1)["workers"]) == 2:
                break
            time.sleep(0.05)


def test_configuration_and_environment_are_as_before(started):
    _, before, after = started
    assert after == before


def test_a_failed_start_restores_them_too(monkeypatch):
    def fail(*args, **kwargs):
        assert dask.config.get(SATURATION) == 3.5
        os.environ["OMP_NUM_THREADS"] = "77"
        raise RuntimeError("no more processes")

    before = surroundings()
    monkeypatch.setattr(this_machine.distributed, "LocalCluster", fail)
    with pytest.raises(xf.cluster.ClusterError, match="no more processes"):
        xf.cluster.local(1, config={SATURATION: 3.5})
    assert surroundings() == before


def test_closing_the_client_closes_its_cluster():
    with xf.cluster.local(1, security=False) as made:
        cluster, address = made.cluster, made.scheduler.address
        pids = [*made.run(os.getpid).values()]
        assert address.startswith("tcp://127.0.0.1:")
    assert cluster.status == distributed.Status.closed
    assert not any(psutil.pid_exists(pid) for pid in pids)
    port = int(address.rsplit(":", 1)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "threads", "expected"),
    [(8, 64, 1, 8), (8, 64, 4, 2), (64, 6, 1, 6), (2, 0.5, 1, 1), (3, 64, 8, 1)],
)
def test_default_number_of_workers_fits_the_machine(
    cores, gigabytes, threads, expected, monkeypatch
):
    monkeypatch.setattr(settings, "CPU_COUNT", cores)
    monkeypatch.setattr(settings, "MEMORY_LIMIT", int(gigabytes * 2**30))
    assert settings.sensible_workers(threads) == expected


@pytest.mark.parametrize("arguments", [(0,), (1, 0)])
def test_no_workers_or_threads_is_an_error(arguments):
    with pytest.raises(ValueError, match="must be at least 1"):
        xf.cluster.local(*arguments)


def test_security_of_another_type_is_an_error():
    with pytest.raises(TypeError, match=r"True \(new certificates\).*got str"):
        xf.cluster.local(1, security="yes")


def test_compiled_kernels_find_a_place(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert settings.worker_environment(tmp_path) == {}
    # As root every directory is writable, whatever its mode.
    monkeypatch.setattr(settings, "is_writable", lambda directory: False)
    found = Path(settings.worker_environment(tmp_path)["NUMBA_CACHE_DIR"])
    assert found.parent == tmp_path
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/chosen")
    assert settings.worker_environment(tmp_path) == {"NUMBA_CACHE_DIR": "/chosen"}


@pytest.fixture
def no_place_of_numba(monkeypatch):
    """Neither the package nor the home can be written."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(settings, "is_writable", lambda directory: False)


def cache_place(scratch):
    return Path(settings.worker_environment(scratch)["NUMBA_CACHE_DIR"])


def private(path):
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700


def test_cache_of_kernels_is_private_and_found_again(no_place_of_numba, tmp_path):
    found = cache_place(tmp_path)
    assert found == tmp_path / f"xfelred-numba-{os.geteuid()}"
    assert private(found)
    assert cache_place(tmp_path) == found


def plant_open(path):
    path.mkdir()
    path.chmod(0o777)


def plant_group(path):
    path.mkdir()
    path.chmod(0o770)


def plant_link(path):
    (path.parent / "elsewhere").mkdir(mode=0o700)
    path.symlink_to(path.parent / "elsewhere")


def plant_foreign(path):
    if os.geteuid():
        pytest.skip("only root can give a directory away")
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    "plant", [plant_open, plant_group, plant_link, plant_foreign, os.mkfifo, Path.touch]
)
def test_cache_that_somebody_else_made_is_not_used(no_place_of_numba, tmp_path, plant):
    planted = tmp_path / f"xfelred-numba-{os.geteuid()}"
    plant(planted)
    found = cache_place(tmp_path)
    assert found != planted
    assert found.parent == tmp_path
    assert private(found)


def test_cache_is_not_where_others_could_swap_it(no_place_of_numba, tmp_path):
    scratch = tmp_path / "open" / "scratch"
    scratch.mkdir(parents=True)
    scratch.parent.chmod(0o777)
    assert scratch not in cache_place(scratch).parents
    scratch.parent.chmod(0o1777)  # as /tmp: others cannot rename
    assert cache_place(scratch).parent == scratch


def test_without_a_safe_place_for_kernels_there_is_no_cluster(
    no_place_of_numba, tmp_path, monkeypatch
):
    tmp_path.chmod(0o777)
    monkeypatch.setattr(settings.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(xf.cluster.ClusterError, match="set NUMBA_CACHE_DIR"):
        settings.worker_environment(None)


def test_writable_directories_may_still_have_to_be_made(tmp_path):
    assert settings.is_writable(tmp_path / "a" / "b")
    assert not settings.is_writable(Path("/proc/1/fdinfo/a"))
    assert [*tmp_path.iterdir()] == []


def test_link_to_the_dashboard_goes_through_the_hub(client, monkeypatch):
    monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)
    link = xf.cluster.dashboard_link(client)
    port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/status", link)[1]
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/marie/")
    assert xf.cluster.dashboard_link(client) == f"/user/marie/proxy/{port}/status"


def test_script_without_guard_ends_with_one_clear_error(tmp_path):
    script = tmp_path / "analysis.py"
    script.write_text("import xfelred as xf\nclient = xf.cluster.local(1)\n")
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("would start clusters without end") == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "ClusterError: xf.cluster.local could not start 1 worker" in last
    assert 'if __name__ == "__main__":' in last


# Connecting


def certificate_of(client):
    return client.cluster.security


def test_connect_needs_the_certificates(client):
    address = client.scheduler.address
    with xf.cluster.connect(address, security=certificate_of(client)) as other:
        assert other.submit(sum, [1, 2]).result() == 3
    assert client.submit(sum, [3, 4]).result() == 7, "the cluster goes on"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: (a, {}), "needs certificates, and there are none"),
        (lambda a: (a, {"security": False}), "needs certificates"),
        (
            lambda a: (a, {"security": distributed.Security.temporary()}),
            "certificates do not fit",
        ),
        (
            lambda a: (a.replace("tls", "tcp"), {"timeout": 0.5}),
            "Perhaps it expects tls://",
        ),
    ],
)
def test_a_client_without_the_certificates_is_refused(client, change, words):
    address, options = change(client.scheduler.address)
    with pytest.raises(xf.cluster.ClusterError, match=words) as caught:
        xf.cluster.connect(address, **options)
    assert address in str(caught.value)


def test_the_scheduler_itself_refuses_other_certificates(client):
    # Not our own check before connecting: plain distributed.
    address = client.scheduler.address
    other = distributed.Security.temporary()
    with pytest.raises((OSError, TypeError)):
        distributed.Client(address, security=other, timeout=2, set_as_default=False)
    with pytest.raises((OSError, TypeError)):
        distributed.Client(address, timeout=2, set_as_default=False)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["tcp://", ""])
def test_dead_address_is_one_clear_error_at_once(scheme):
    start = time.monotonic()
    with pytest.raises(xf.cluster.ClusterError, match=r"refused.*still running"):
        xf.cluster.connect(f"{scheme}127.0.0.1:{free_port()}", timeout=30)
    assert time.monotonic() - start < 10


def test_something_else_that_listens_is_no_scheduler():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(xf.cluster.ClusterError, match="timed out"):
            xf.cluster.connect(address, timeout=0.3)


def test_plain_connection_to_another_machine_must_be_asked_for(monkeypatch):
    with pytest.raises(xf.cluster.ClusterError, match=r"not encrypted.*security=False"):
        xf.cluster.connect("tcp://192.0.2.7:8786")
    asked = []

    def probe(address, security, timeout):
        asked.append(address)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr("xfelred.cluster.running.probe", probe)
    with pytest.raises(xf.cluster.ClusterError, match="refused"):
        xf.cluster.connect("tcp://192.0.2.7:8786", security=False)
    assert asked == ["tcp://192.0.2.7:8786"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"address": 3, "x": ', "\0"])
def test_file_that_is_no_scheduler_file_is_an_error(content, tmp_path):
    path = tmp_path / "scheduler.json"
    path.write_text(content)
    with pytest.raises(xf.cluster.ClusterError, match="not a scheduler file"):
        xf.cluster.connect(path)


def test_missing_scheduler_file_and_missing_certificate_are_errors(tmp_path):
    with pytest.raises(xf.cluster.ClusterError, match="not a scheduler file"):
        xf.cluster.connect(tmp_path / "none.json")
    path = tmp_path / "a.json"
    gone = tmp_path / "gone.pem"
    xf.cluster.write_scheduler_file(path, "tls://127.0.0.1:1", gone)
    with pytest.raises(xf.cluster.ClusterError, match=r"gone\.pem.*is gone"):
        xf.cluster.connect(path)


@pytest.mark.parametrize("address", ["nonsense", "tls://host", "tcp://:1", "h:99999"])
def test_address_without_host_and_port_is_an_error(address):
    with pytest.raises(xf.ConfigError, match="tls://host:port") as caught:
        xf.cluster.connect(address)
    assert repr(address) in str(caught.value)


def test_workers_are_silent_about_the_end_of_their_scheduler_only():
    def says(text):
        record = logging.LogRecord("distributed.worker", 40, "", 1, text, (), None)
        return worth_saying(record)

    assert not says("Failed to communicate with scheduler during heartbeat.")
    assert says("Compute Failed\nKey:       %s")
    assert says("Timed out")


def test_other_protocols_and_types_are_errors():
    with pytest.raises(ValueError, match="tls://host:port"):
        xf.cluster.connect("inproc://1")
    with pytest.raises(TypeError, match="got str"):
        xf.cluster.connect("tls://127.0.0.1:1", security="mine")


def test_certificates_of_dask_configuration_are_used(tmp_path):
    path = xf.cluster.new_certificate(tmp_path)
    names = ("ca-file", "client.cert", "client.key")
    tls = {f"distributed.comm.tls.{name}": str(path) for name in names}
    with xf.cluster.local(1, security=xf.cluster.from_certificate(path)) as made:
        address = made.scheduler.address
        with (
            dask.config.set(tls),
            # The address alone: with certificates it is taken for an encrypted one.
            xf.cluster.connect(address.removeprefix("tls://")) as other,
        ):
            assert other.scheduler.address == address


def test_files_with_secrets_are_for_the_owner_only(tmp_path):
    before = os.umask(0)
    try:
        path = xf.cluster.new_certificate(tmp_path / "new")
        xf.cluster.write_scheduler_file(tmp_path / "a.json", "tls://x:1", path)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, tmp_path / "a.json")]
    assert modes == [0o600, 0o600]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert json.loads((tmp_path / "a.json").read_text())["certificate"] == str(path)


# SLURM


@pytest.fixture
def slurm(tmp_path):
    def start(jobs=None, **options):
        defaults = {
            "cores": 8,
            "memory": "32GiB",
            "walltime": "2:00:00",
            "interface": "lo",
            "certificates": tmp_path / "shared",
        }
        return xf.cluster.slurm(jobs, **{**defaults, **options})

    pytest.importorskip("dask_jobqueue")
    return start


def option(script, name):
    return re.search(rf"{name} (\S+)", script)[1]


def test_job_script_says_what_was_asked(slurm, tmp_path):
    with slurm(
        queue="upex",
        account="p002017",
        scratch="$TMPDIR",
        log_directory=tmp_path / "logs",
        prologue=["module load maxwell"],
        directives=["--constraint=EPYC"],
        python="/opt/python",
        config={SPILL: False},
    ) as made:
        script = made.cluster.job_script()
        address = made.scheduler.address
    for line in (
        "#SBATCH -p upex",
        "#SBATCH -A p002017",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=32G",
        "#SBATCH -t 2:00:00",
        "#SBATCH --constraint=EPYC",
        f"#SBATCH -e {tmp_path}/logs/xfelred-%J.err",
        "module load maxwell",
        "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False",
    ):
        assert line in script.splitlines()
    worker = script.splitlines()[-1]
    assert worker.startswith(f"/opt/python -m distributed.cli.dask_worker {address} ")
    assert option(worker, "--nworkers") == "2"
    assert option(worker, "--nthreads") == "4"
    assert option(worker, "--memory-limit") == "16.00GiB"
    assert option(worker, "--local-directory") == "$TMPDIR"
    assert option(worker, "--interface") == "lo"
    assert address.startswith("tls://127.0.0.1:")


def words_of(script, start):
    """The words that a shell sees in the line that starts so."""
    (line,) = (x for x in script.splitlines() if x.startswith(start))
    return shlex.split(line.removeprefix("#SBATCH "))


HOSTILE_VALUES = [
    "a b", "$(touch pwned)", "`id`", "a;b", "a'b", 'a"b', "a&&b", "a|b", "a>b", "#x",
    "a\\b", "*", "~",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_values_in_a_job_script_stay_values(slurm, value):
    with slurm(queue=value, account=value, job_name=value, python=value) as made:
        script = made.cluster.job_script()
    assert words_of(script, "#SBATCH -p") == ["-p", value]
    assert words_of(script, "#SBATCH -A") == ["-A", value]
    assert words_of(script, "#SBATCH -J") == ["-J", value]
    assert shlex.split(script.splitlines()[-1])[:2] == [value, "-m"]


@pytest.mark.parametrize(
    "value", ["$TMPDIR/a b", "${TMPDIR}/$(id)", "$TMPDIR/`id`", '$TMPDIR/"', "$(id)",
              "$TMPDIR/a;b", "$TMPDIR/\\"]
)  # fmt: skip
def test_only_variables_count_in_the_scratch_of_a_job(slurm, value, tmp_path):
    with slurm(scratch=value) as made:
        line = made.cluster.job_script().splitlines()[-1]
    word = re.search(r"--local-directory (.*) --", line)[1].split(" --")[0]
    done = subprocess.run(
        ["bash", "-c", f"printf %s {word}"],
        env={"TMPDIR": "/t", "PATH": os.environ["PATH"]},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == value.replace("${TMPDIR}", "/t").replace("$TMPDIR", "/t")


@pytest.mark.parametrize(
    "end", ["\n#SBATCH --uid=0", "\r", "\x1b[2J", "\x85", "\u2028"]
)
@pytest.mark.parametrize(
    "option",
    ["queue", "account", "job_name", "python", "scratch", "log_directory", "interface",
     "directives", "certificates", "memory", "walltime"],
)  # fmt: skip
def test_nothing_in_a_job_script_ends_its_line(slurm, option, end):
    value = {"directives": [f"--exclusive{end}"], "walltime": f"2:00:00{end}",
             "memory": f"32GB{end}", "interface": f"lo{end}"}  # fmt: skip
    with pytest.raises(ValueError, match=rf"{option}|directives|walltime|size|network"):
        slurm(**{option: value.get(option, f"/tmp/x{end}")})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"directives": ["--comment='a"]}, "cannot be read"),
        ({"directives": [" "]}, "directive is empty"),
        ({"config": {"a;id": 1}}, "no key of dask's configuration"),
        ({"config": {"a b": 1}}, "no key of dask's configuration"),
        ({"log_directory": "/tmp/a b"}, "log_directory"),
        ({"memory": "much"}, "is no size"),
    ],
)
def test_what_cannot_be_part_of_a_job_script_is_an_error(slurm, options, words):
    with pytest.raises(ValueError, match=words):
        slurm(**options)


def test_values_of_the_configuration_are_quoted(slurm):
    with slurm(config={"distributed.x": "a'; touch pwned\n"}) as made:
        script = made.cluster.job_script()
    (line,) = (
        x for x in script.splitlines() if x.startswith("export DASK_DISTRIBUTED__X")
    )
    assert len(shlex.split(line)) == 2


@pytest.mark.parametrize("plant", [None, plant_open, plant_link, plant_foreign])
def test_a_job_finds_a_private_place_for_kernels(
    slurm, no_place_of_numba, tmp_path, plant
):
    scratch = tmp_path / "node a"
    scratch.mkdir()
    planted = scratch / f"xfelred-numba-{os.getuid()}"
    if plant is not None:
        plant(planted)
    lines = job_script.cache_lines("$TMPDIR/node a")
    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines, 'printf %s "$NUMBA_CACHE_DIR"'])],
        env={"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = Path(done.stdout)
    assert private(found)
    assert (found == planted) is (plant is None)


@pytest.mark.parametrize("walltime", ["4", "30", "2:00:00", "1-0", "14-00:00:00"])
def test_workers_stop_before_their_job_does(slurm, walltime):
    with slurm(walltime=walltime) as made:
        worker = made.cluster.job_script()
    lifetime = int(option(worker, "--lifetime").removesuffix("s"))
    stagger = int(option(worker, "--lifetime-stagger").removesuffix("s"))
    end = wall_seconds(walltime)
    # Both ways, and a minute to hand over.
    assert lifetime + stagger <= end - 60
    assert lifetime - stagger >= end / 4
    assert lifetime >= end / 2 - 1


def test_workers_of_jobs_have_a_nanny_and_no_open_dashboard(slurm):
    with slurm() as made:
        script = made.cluster.job_script()
        assert listening(os.getpid()) == {"127.0.0.1"}
    assert "--nanny" in script
    assert "--no-dashboard" in script
    assert option(script, "--dashboard-address") == "127.0.0.1:0"


def test_job_script_names_a_private_key_file_and_holds_no_secret(slurm, tmp_path):
    with slurm() as made:
        script = made.cluster.job_script()
        (path,) = (tmp_path / "shared").iterdir()
        text = path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for name in ("--tls-ca-file", "--tls-cert", "--tls-key"):
        assert option(script, name) == str(path)
    assert option(script, "--protocol") == "tls://"
    assert "PRIVATE KEY" in text
    secrets = [line for line in text.splitlines() if not line.startswith("-----")]
    assert not any(line in script for line in secrets)
    assert [*path.parent.iterdir()] == [], "removed at the end"


def test_slurm_without_encryption_must_be_asked_for(slurm, tmp_path):
    with slurm(security=False) as made:
        assert made.scheduler.address.startswith("tcp://")
        assert "--tls" not in made.cluster.job_script()
    assert not (tmp_path / "shared").exists()


def test_certificates_in_memory_are_handed_over_in_private_files(slurm, tmp_path):
    with slurm(security=distributed.Security.temporary()) as made:
        script = made.cluster.job_script()
        key = Path(option(script, "--tls-key"))
        assert key.parent == tmp_path / "shared"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [*(tmp_path / "shared").iterdir()] == []


def test_without_slurm_submitting_is_an_error_at_once(slurm, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for options in ({"jobs": 1}, {"maximum": 2}):
        with pytest.raises(xf.cluster.ClusterError, match="no command sbatch"):
            slurm(**options)
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"walltime": "soon"}, "not a time of SLURM"),
        ({"walltime": "2"}, "hand over"),
        ({"cores": 0}, "at least 1"),
        ({"cores": 8, "workers_per_job": 3}, "does not divide"),
        ({"jobs": 2, "maximum": 3}, "one or the other"),
        ({"minimum": 3}, "needs a maximum"),
        ({"minimum": 3, "maximum": 2}, "must be 0 to maximum=2"),
        ({"certificates": "my jobs; rm -r x"}, "without blanks"),
    ],
)
def test_wrong_options_of_slurm_are_errors(slurm, options, words):
    with pytest.raises(ValueError, match=words):
        slurm(**options)


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, 1), (2, 1), (3, 1), (8, 2), (40, 10), (42, 7), (7, 1)]
)
def test_cores_of_a_job_are_shared_without_rest(cores, expected):
    assert job_script.default_workers(cores) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 300),
        ("5:30", 330),
        ("1:00:01", 3601),
        ("1-0", 86400),
        ("1-2:30", 95400),
        ("2-00:00:05", 172805),
    ],
)
def test_times_of_slurm(text, seconds):
    assert wall_seconds(text) == seconds


def test_missing_package_for_slurm_says_how_to_install(monkeypatch):
    monkeypatch.setattr(jobs, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'xfelred\[cluster\]'"):
        xf.cluster.slurm(cores=1, memory="1GB", walltime="60")


SBATCH = """\
#!/bin/sh
# What SLURM does with a script, without SLURM.
cp "$1" {place}/job.sh
setsid sh {place}/job.sh > {place}/job.log 2>&1 &
echo $! >> {place}/jobs
echo "Submitted batch job $!"
"""
SCANCEL = """\
#!/bin/sh
echo $1 >> {place}/cancelled
kill -- -$1
"""


def test_jobs_compute_and_end_with_the_client(slurm, tmp_path, monkeypatch):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (commands / name).write_text(text.format(place=tmp_path))
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    with slurm(1, cores=1, memory="1GiB") as made:
        made.wait_for_workers(1, timeout=60)
        (pid,) = made.run(os.getpid).values()
        assert pid != os.getpid()
        assert made.submit(lambda x: x * 2, 21).result(timeout=30) == 42
        assert listening(pid) == {"127.0.0.1"}
    submitted = (tmp_path / "jobs").read_text().split()
    assert submitted == (tmp_path / "cancelled").read_text().split()
    psutil.wait_procs([p for p in psutil.process_iter() if p.pid == pid], timeout=10)
    assert not psutil.pid_exists(pid)


def test_cluster_error_is_an_error_of_xfelred_and_a_connection_error():
    assert issubclass(xf.cluster.ClusterError, XfelredError)
    assert issubclass(xf.cluster.ClusterError, ConnectionError)
