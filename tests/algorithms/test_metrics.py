import math
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from algorithms.accounting import Clock, cpu_seconds, memory_bytes
from algorithms.metrics import MetricsLog, read_rows


def row(steps: int, evaluated: float = math.nan) -> dict[str, float]:
    return {"env_steps": steps, "return_mean": steps / 8, "eval_return": evaluated}


def test_every_column_is_there_from_the_first_row(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(row(8))
    log.write(row(16, 3.5))
    log.close()
    text = (tmp_path / "metrics.csv").read_text().splitlines()
    assert text == ["env_steps,return_mean,eval_return", "8,1,", "16,2,3.5"]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("return_mean")] == [(8, 1.0), (16, 2.0)]
    assert [(e.step, e.value) for e in events.Scalars("eval_return")] == [(16, 3.5)]


def test_rows_after_the_resumed_checkpoint_are_dropped(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for steps in (8, 16, 24):
        log.write(row(steps))
    log.close()
    log = MetricsLog(tmp_path, resumed_at=16)
    log.write(row(32))
    log.close()
    assert [found["env_steps"] for found in read_rows(tmp_path / "metrics.csv")] == [8, 16, 32]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("return_mean")] == [8, 16, 32]


def test_a_column_that_comes_later_is_empty_before(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(row(8))
    log.write({**row(16), "loss": 0.5})
    log.write(row(24))
    log.close()
    text = (tmp_path / "metrics.csv").read_text().splitlines()
    assert text == ["env_steps,return_mean,eval_return,loss", "8,1,,", "16,2,,0.5", "24,3,,"]


def test_a_torn_last_row_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("env_steps,return_mean,eval_return\n8,1,\n16,")
    assert [found["env_steps"] for found in read_rows(tmp_path / "metrics.csv")] == [8]


def test_cpu_seconds_are_booked_once() -> None:
    clock = Clock({"train": 100.0})
    clock.charge("startup", exact=True)
    sum(range(300_000))
    clock.charge("train", exact=True)
    total = clock.spent["startup"] + clock.spent["train"] - 100.0
    assert clock.spent["train"] > 100.0
    assert 0 < total <= cpu_seconds() + 0.05  # the system counts in hundredths


def test_memory_is_that_of_a_python_process() -> None:
    assert 10 * 2**20 < memory_bytes() < 20 * 2**30
