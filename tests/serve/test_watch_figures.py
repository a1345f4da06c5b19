from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import yaml

from algorithms.layers import ConfigError
from serve.metrics import COUNTERS, GAUGES, LATENCY
from serve.settings import load_settings
from serve.watching import ScrapeError, addresses, figures, scrape
from serve.watching.figures import effective, quantile
from serve.watching.scraping import parse

ROOT = Path(__file__).parents[2]
TEXT = """\
# TYPE ray_recsim_requests counter
ray_recsim_requests_total{replica="a",route="/v1/recommend",status="200"} 90.0
ray_recsim_requests_total{replica="b",route="/v1/recommend",status="200"} 110.0
ray_recsim_requests_total{replica="b",route="/v1/recommend",status="422"} 4.0
ray_recsim_requests_total{replica="b",route="/v1/feedback",status="503"} 2.0
ray_recsim_requests_total{replica="b",route="/v1/feedback",status="500"} 1.0
# TYPE ray_recsim_slates counter
ray_recsim_slates_total{replica="a",arm="main"} 90.0
ray_recsim_slates_total{replica="b",arm="main"} 60.0
ray_recsim_slates_total{replica="b",arm="new"} 50.0
# TYPE ray_recsim_slots counter
ray_recsim_slots_total{replica="a",arm="main"} 450.0
ray_recsim_slots_total{replica="b",arm="new"} 150.0
# TYPE ray_recsim_explored counter
ray_recsim_explored_total{replica="a",arm="main"} 90.0
ray_recsim_explored_total{replica="b",arm="new"} 60.0
# TYPE ray_recsim_responses counter
ray_recsim_responses_total{arm="main",source="session"} 30.0
ray_recsim_responses_total{arm="",source="feedback"} 10.0
# TYPE ray_recsim_clicked counter
ray_recsim_clicked_total{arm="main",source="session"} 6.0
ray_recsim_clicked_total{arm="",source="feedback"} 4.0
# TYPE ray_recsim_reward counter
ray_recsim_reward_total{arm="main",source="session",part="gain"} 50.0
ray_recsim_reward_total{arm="main",source="session",part="loss"} 10.0
# TYPE ray_recsim_weight counter
ray_recsim_weight_total{arm="main",target="uniform"} 180.0
# TYPE ray_recsim_weight_squares counter
ray_recsim_weight_squares_total{arm="main",target="uniform"} 1620.0
# TYPE ray_recsim_latency_ms histogram
ray_recsim_latency_ms_bucket{replica="a",route="/v1/recommend",le="1.0"} 10.0
ray_recsim_latency_ms_bucket{replica="a",route="/v1/recommend",le="2.0"} 30.0
ray_recsim_latency_ms_bucket{replica="a",route="/v1/recommend",le="+Inf"} 40.0
ray_recsim_latency_ms_bucket{replica="b",route="/v1/recommend",le="1.0"} 30.0
ray_recsim_latency_ms_bucket{replica="b",route="/v1/recommend",le="2.0"} 50.0
ray_recsim_latency_ms_bucket{replica="b",route="/v1/recommend",le="+Inf"} 60.0
ray_recsim_latency_ms_bucket{replica="b",route="/v1/feedback",le="+Inf"} 1000.0
# TYPE ray_recsim_drift_psi gauge
ray_recsim_drift_psi{replica="a",group="user",feature="age"} 0.1
ray_recsim_drift_psi{replica="b",group="user",feature="age"} 0.3
# TYPE ray_recsim_log_unsynced_seconds gauge
ray_recsim_log_unsynced_seconds{replica="a",kind="impressions"} 0.2
ray_recsim_log_unsynced_seconds{replica="b",kind="impressions"} 7.0
# TYPE ray_recsim_log_idle_seconds gauge
ray_recsim_log_idle_seconds{replica="a",kind="impressions"} 3.0
ray_recsim_log_idle_seconds{replica="b",kind="impressions"} 9.0
# TYPE ray_recsim_generation gauge
ray_recsim_generation{replica="a"} 3.0
ray_recsim_generation{replica="b"} 4.0
# TYPE ray_serve_other counter
ray_serve_other_total{replica="a"} 12345.0
"""


def test_replicas_are_summed() -> None:
    found = figures(parse(TEXT))
    assert found["requests"] == 207.0
    assert found["statuses"] == {"200": 200.0, "422": 4.0, "500": 1.0, "503": 2.0}
    assert (found["errors"], found["refused"], found["busy"]) == (1.0, 4.0, 2.0)
    assert found["slates"] == 200.0
    assert found["explored"] == 0.25  # 150 of 600 slots
    assert found["click_rate"] == 0.25  # 10 of 40
    assert found["reward"] == 1.0  # (50 - 10) / 40
    assert found["ess"] == {"uniform": 100.0}  # 1000 * 180^2 / 1620 / 200
    assert found["weight"] == {"uniform": 0.9}
    assert found["unsynced_seconds"] == 7.0  # the oldest
    assert found["idle_seconds"] == 3.0  # the latest
    assert found["generations"] == [3, 4]
    assert found["drift"] == {"user.age": {"psi": 0.3}}
    # The 50th of 100: 10 of the 40 between 1 ms and 2 ms; the 95th is beyond all bounds.
    assert (found["p50_ms"], found["p95_ms"]) == (1.25, 2.0)
    assert found["arms"]["main"]["slates"] == 150.0
    assert found["arms"]["main"]["click_rate"] == 0.2  # 6 of 30
    assert found["arms"]["new"]["explored"] == 0.4
    assert found["arms"]["new"]["click_rate"] is None


def test_figures_of_a_time_are_differences_of_counters_alone() -> None:
    before = parse(TEXT)
    after = parse(
        TEXT.replace('arm="new"} 50.0', 'arm="new"} 55.0').replace(
            'ray_recsim_slates_total{replica="a",arm="main"} 90.0',
            'ray_recsim_slates_total{replica="a",arm="main"} 7.0',  # begun anew
        )
    )
    found = figures(after, before)
    assert found["slates"] == 12.0
    assert found["arms"]["new"]["slates"] == 5.0
    assert found["click_rate"] is None
    assert found["unsynced_seconds"] == 7.0


def test_nothing_counted_is_none_not_zero() -> None:
    found = figures({})
    assert found["requests"] == 0.0
    assert found["click_rate"] is found["p95_ms"] is found["idle_seconds"] is None
    assert found["ess"] == {} and found["arms"] == {}


def test_effective_sample_size_of_1_000() -> None:
    # Weights 1, 1, 2: (1 + 1 + 2)^2 / (1 + 1 + 4) = 2.667 of 3.
    assert effective(4.0, 6.0, 3.0) == pytest.approx(888.89, abs=0.01)
    assert effective(3.0, 3.0, 3.0) == 1000.0


@pytest.mark.parametrize(
    ("share", "expected"),
    # 50 up to 1, 40 between 1 and 5, 10 beyond: the 70th is half the way from 1 to 5.
    [(0.25, 0.5), (0.5, 1.0), (0.7, 3.0), (0.9, 5.0), (0.99, 5.0)],
)
def test_quantiles_of_a_histogram(share: float, expected: float) -> None:
    assert quantile(share, [(1.0, 50.0), (5.0, 90.0), (math.inf, 100.0)]) == pytest.approx(expected)


def test_no_observation_has_no_quantile() -> None:
    assert quantile(0.5, []) is None
    assert quantile(0.5, [(1.0, 0.0), (math.inf, 0.0)]) is None


def test_what_cannot_be_scraped_ends_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ScrapeError, match=r"there is no .*metrics.json; metrics are there while"):
        addresses(tmp_path)
    (tmp_path / "metrics.json").write_text("[1]")
    with pytest.raises(ScrapeError, match="cannot be read"):
        addresses(tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps([{"url": "http://127.0.0.1:1/metrics"}]))
    with pytest.raises(ScrapeError, match="no metrics can be read from http:"):
        scrape(*addresses(tmp_path))
    with pytest.raises(ScrapeError, match="no metrics can be read from nonsense"):
        scrape("nonsense")
    with pytest.raises(ScrapeError, match="is not Prometheus' text format"):
        parse('ray_recsim_x{"} what')


def test_every_figure_is_documented_and_alarms_name_only_these() -> None:
    suffixes = {
        **{f"ray_{name}_total": set(labels) for name, (_, labels) in COUNTERS.items()},
        **{f"ray_{name}": set(labels) for name, (_, labels) in GAUGES.items()},
        f"ray_{LATENCY}_bucket": {"route", "le"},
    }
    page = (ROOT / "docs" / "watching.md").read_text()
    for name in (*COUNTERS, *GAUGES, LATENCY):
        assert f"| `{name}` |" in page, f"docs/watching.md lacks {name}"
    groups = yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 14
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert f"| `{rule['alert']}` |" in page
        assert rule["expr"].count("(") == rule["expr"].count(")")
        for name, labels in re.findall(r"(ray_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            assert name in suffixes, f"{rule['alert']}: {name}"
            used = set(re.findall(r"(\w+)!?=", labels))
            assert used <= suffixes[name], f"{rule['alert']}: {used}"


def test_alarms_do_without_a_counters_first_event() -> None:
    """A counter has no series before it: a sum of none is nothing, and not 0."""
    groups = yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text())["groups"]
    rules = {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
    for alert, none in (
        ("RecsimNoFeedback", "(sum(increase(ray_recsim_responses_total[1h])) or vector(0)) == 0"),
        ("RecsimClicksFell", "(sum(rate(ray_recsim_clicked_total[1h])) or vector(0)) /"),
    ):
        assert none in rules[alert]
    for alert, first in (
        ("RecsimLogFailing", r"sum\((ray_recsim_log_lost_total) unless \1 offset 5m\) > 0"),
        (
            "RecsimDeploymentRefused",
            r"sum\((ray_recsim_deployments_total\S+) unless \1 offset 10m\) > 0",
        ),
    ):
        assert re.search(first, rules[alert])


def test_a_queue_of_none_is_refused_before_ray_does() -> None:
    with pytest.raises(ConfigError, match=r"replicas.max_queued is 0; .*at least 1, or -1"):
        load_settings(None, ["replicas.max_queued=0"])
    assert load_settings(None, ["replicas.max_queued=-1"]).replicas.max_queued == -1
