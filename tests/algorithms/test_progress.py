import io
import math

from rich.console import Console

from algorithms.progress import TrainingProgress


def shown(console: Console, out: io.StringIO) -> str:
    with TrainingProgress(1000, console=console) as progress:
        for steps in range(50, 1001, 50):
            progress.update(steps, 100.0, math.nan if steps < 500 else 20.0)
    return out.getvalue()


def test_ten_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    lines = shown(Console(file=out), out).splitlines()
    assert len(lines) == 10
    assert lines[0] == "100 of 1,000 steps, 100 a second, 9 s left"
    assert lines[-1] == "1,000 of 1,000 steps, 100 a second, return 20.0, 0 s left"


def test_a_resumed_run_does_not_repeat_lines() -> None:
    out = io.StringIO()
    with TrainingProgress(1000, done=500, console=Console(file=out)) as progress:
        progress.update(550, 1.0, 2.0)
        progress.update(600, 1.0, 2.0)
    assert out.getvalue().startswith("600 of 1,000 steps")


def test_a_live_line_on_a_terminal() -> None:
    out = io.StringIO()
    text = shown(Console(file=out, force_terminal=True, width=120), out)
    assert "\x1b[" in text
    assert "1,000 of 1,000 steps, 100 a second, return 20.0" in text


def test_a_dumb_terminal_gets_plain_lines() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, _environ={"TERM": "dumb"})
    assert "\x1b" not in shown(console, out)


def test_no_colour_where_it_is_not_wanted() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, _environ={"NO_COLOR": "1"})
    text = shown(console, out)
    assert "\x1b[3" not in text  # no foreground colour; the cursor still moves
