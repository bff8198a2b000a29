"""Workers of other versions are named, once, whatever else they have."""

import time

import distributed
import pytest

import xfelred
from xfelred.cluster import versions


@pytest.fixture
def cluster():
    with distributed.LocalCluster(
        1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as made:
        yield made


def test_other_versions_are_named_once(cluster, monkeypatch):
    said = []
    monkeypatch.setattr(versions, "warn", said.append)
    monkeypatch.setattr(
        versions, "versions", lambda: {"xfelred": "9.9", "no-such-package": "1"}
    )
    with cluster.get_client() as client:
        versions.watch_versions(client)
        cluster.scale(2)  # what comes later, too
        client.wait_for_workers(2)
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # for a second one, which must not come
    (text,) = said
    assert f"xfelred {xfelred.__version__} (here 9.9)" in text
    assert "no-such-package none (here 1)" in text
    assert "such as inproc://" in text


def test_the_same_versions_are_no_news(cluster):
    with cluster.get_client() as client:
        versions.watch_versions(client)  # a warning would be an error
        assert client.submit(sum, [1, 2]).result() == 3
