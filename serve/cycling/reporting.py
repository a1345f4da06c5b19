"""The report of a pass, for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Plain = dict[str, Any]


def headline(found: Plain) -> str:
    """What a pass did, in one line."""
    parts = []
    trial = found["canary"]
    if trial is not None:
        done = {"promote": "promoted", "keep_on": "kept on", "withdraw": "withdrawn"}[trial["fate"]]
        parts.append(f"canary {trial['policy']} {done}")
    fate, policy = found["decision"]["fate"], name(found.get("policy"))
    if fate == "deploy":
        parts.append(f"candidate {policy} deployed")
    elif fate == "canary":
        parts.append(f"candidate {policy} on trial with {share(found):.0%} of the sessions")
    elif policy:
        parts.append(f"candidate {policy} not deployed")
    elif trial is None or trial["fate"] != "keep_on":
        parts.append("no candidate")
    words = "; ".join(parts)
    if found["deployed"]["overtaken"]:
        words += "; not done, because somebody else deployed meanwhile"
    if found["deployed"]["faults"]:
        words += "; taken back, because a replica could not take it"
    return f"dry run, nothing deployed: {words}" if found["dry_run"] else words


def name(policy: str | None) -> str:
    """A policy's name, of its folder."""
    return "" if policy is None else policy.rpartition("/")[2]


def share(found: Plain) -> float:
    """Of the last arm."""
    weights = [float(arm["weight"]) for arm in found["arms"]]
    return weights[-1] / sum(weights)


def as_text(found: Plain) -> str:
    """A report as Markdown."""
    lines = [f"# Pass {found['pass']}", "", f"{capital(headline(found))}.", ""]
    for part in (_log, _canary, _training, _judged, _guards, _deployed):
        lines += part(found)
    return "\n".join(lines).rstrip() + "\n"


def capital(text: str) -> str:
    """With a large first letter."""
    return text[:1].upper() + text[1:]


def _log(found: Plain) -> Iterator[str]:
    rows, until = found["joined_rows"], found["until"]
    impressions, sessions = rows["impressions"], rows["sessions"]
    yield "## The log"
    yield ""
    yield (
        f"{impressions['written']:,} impressions in {sessions['written']:,} sessions up to "
        f"{moment(until)}; {sessions['truncated']:,} sessions were still open, "
        f"{impressions['unanswered']:,} impressions had no response."
    )
    yield f"Live: {found['live']}."
    if found["note"]:
        yield f"{capital(found['note'])}."
    yield ""


def _canary(found: Plain) -> Iterator[str]:
    trial = found["canary"]
    if trial is None:
        return
    compared = trial["compared"]
    yield "## The canary"
    yield ""
    yield (
        f"{trial['policy']}, look {trial['looks']}: {compared['canary']:,} sessions against "
        f"{compared['live']:,} of the live policy in the same time."
    )
    yield f"{capital(trial['fate'].replace('_', ' '))}: {trial['why']}."
    yield ""


def _training(found: Plain) -> Iterator[str]:
    trained = found.get("training")
    yield "## The candidate"
    yield ""
    if trained is not None and trained["fault"] is None:
        begun = "fresh weights" if trained["init"] is None else f"the weights of {trained['init']}"
        yield (
            f"{name(found.get('policy')) or 'A candidate'}: {trained['algorithm']} "
            f"from {trained['rows']:,} rows of {trained['logs']} passes, "
            f"{trained['updates']:,} updates, seed {trained['seed']}, beginning with {begun}."
        )
    decision = found["decision"]
    yield f"{capital(decision['fate'])}: {decision['why']}."
    yield ""


def _judged(found: Plain) -> Iterator[str]:
    judged = found.get("judged")
    if judged is None:
        return
    yield "| held-out sessions of the live policy | value |"
    yield "| --- | --- |"
    yield f"| sessions | {judged['sessions']:,} |"
    yield f"| effective sample size | {judged['effective']:.4g} |"
    yield f"| mean weight (1 is expected) | {judged['mean_weight']:.4g} |"
    gap = judged["difference"]
    if gap is not None:
        yield (
            f"| difference a session, sequential doubly robust | {gap['value']:+.4g} "
            f"[{gap['low']:.4g}, {gap['high']:.4g}] |"
        )
    yield ""


def _guards(found: Plain) -> Iterator[str]:
    guards = found.get("guards")
    if not guards:
        return
    yield "| guard | candidate | live | at least | holds |"
    yield "| --- | --- | --- | --- | --- |"
    for guard in guards:
        values = [number(guard[key]) for key in ("candidate", "live")]
        holds = "yes" if guard["holds"] else "no"
        yield f"| {guard['name']} | {values[0]} | {values[1]} | {guard['share']:.0%} | {holds} |"
    yield ""


def number(value: float | None) -> str:
    """A figure of a table; what cannot be measured is a dash."""
    return "-" if value is None else f"{value:.4g}"


def _deployed(found: Plain) -> Iterator[str]:
    deployed = found["deployed"]
    yield "## What is live now"
    yield ""
    if deployed["done"]:
        yield (
            f"Deployment {deployed['generation']}, taken by {deployed['replicas']} running "
            f"replicas at {moment(deployed['time'])}:"
        )
    elif deployed["faults"]:
        yield f"As before, because {deployed['faults'][0]}. Else it would be:"
    elif deployed["overtaken"]:
        yield "What somebody else deployed during the pass, and not what was decided:"
    elif found["dry_run"]:
        yield "As before, because this was a dry run. Else it would be:"
    else:
        yield "As before:"
    yield ""
    for arm in found["arms"]:
        yield f"- {arm['name']}, weight {arm['weight']:.4g}: {name(arm['policy'])}"


def moment(seconds: float) -> str:
    """A time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
