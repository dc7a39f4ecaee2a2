"""A node of a real cluster dies in the middle of 24 trials; `ray_nodes.py` itself writes the figures."""

from __future__ import annotations

import pytest
import ray_nodes


@pytest.mark.slow
def test_a_node_killed_in_the_middle_of_24_trials_loses_nothing(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'token-mixers[ray]'")
    cluster = ray_nodes.start_cluster()
    try:
        seen = ray_nodes.kill_a_node_in_the_middle(cluster, tmp_path)
    finally:
        cluster.shutdown()
    assert ray_nodes.passed(seen), seen
    assert seen["trials"] == seen["good_records"] == 24
