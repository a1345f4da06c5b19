"""Puts the page together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from algorithms import strict_yaml
from algorithms.reporting.figures import (
    config_differences,
    cost_table,
    difference_table,
    findings,
    outcome_table,
    version_table,
)
from algorithms.reporting.group import Group
from algorithms.reporting.html import Content, Html, details, join, page, picture, table, tag
from algorithms.reporting.learning import learning_pictures
from algorithms.reporting.returns import return_pictures
from algorithms.reporting.sessions import chosen_users, session_pictures, session_table, users_table
from algorithms.reporting.showing import showing_pictures
from algorithms.reporting.source import Source
from algorithms.reporting.style import Picture, figure_of, interval


@dataclass
class Report:
    """The page, and every picture on it.

    Attributes:
        html: the whole document.
        pictures: in the order of the page.
    """

    html: str
    pictures: list[Picture]


@dataclass
class _Part:
    """A section with its pictures."""

    title: str
    anchor: str
    content: list[Content] = field(default_factory=list)
    inner: list[_Part] = field(default_factory=list)


def build(sources: Sequence[Source], groups: Sequence[Group]) -> Report:
    """The report of some runs.

    Args:
        sources: in the order of the command line.
        groups: the same by world, played.
    """
    pictures: list[Picture] = []
    parts = [_world(group, place, len(groups), pictures) for place, group in enumerate(groups)]
    if len(parts) == 1:
        # One world needs no heading of its own: the page has it.
        parts = parts[0].inner
    parts += [_config(sources), _costs(sources)]
    title = _title(sources, groups)
    body = join([_lead(sources, groups), _contents(parts), *(_section(p, 2) for p in parts)])
    return Report(page(title, body, _footer(groups)), pictures)


def _title(sources: Sequence[Source], groups: Sequence[Group]) -> str:
    where = groups[0].name.replace("_", " ") if len(groups) == 1 else f"{len(groups)} worlds"
    if len(sources) == 1:
        one = sources[0]
        named = "" if one.label == one.algorithm else f": {one.label}"
        return f"{one.algorithm} on {where}{named}"
    return f"{len(sources)} runs on {where}"


def _lead(sources: Sequence[Source], groups: Sequence[Group]) -> Html:
    found: list[Content] = []
    if len(sources) == 1 and sources[0].result is not None:
        found.append(_cards(sources[0], groups[0]))
    sentences = [sentence for group in groups for sentence in findings(group)]
    sentences += [f"{source.label}: {note}" for source in sources for note in source.notes]
    if sentences:
        found.append(tag("ul", *(tag("li", each) for each in sentences), class_="findings"))
    return join(found)


def _cards(source: Source, group: Group) -> Html:
    """The few figures that one asks for first."""
    result = source.result or {}
    mean, ends = result["return_mean"], result["return_ci95"]
    cards = []
    if mean is not None:
        what = f"return of a session {interval(*ends) if ends else ''} in the run's evaluation: "
        what += f"{result.get('eval_users', 0):,} users, {result.get('backend')} backend"
        cards.append((figure_of(mean), what))
    for player in group.baselines[:2]:
        mean = player.result.mean_return.mean
        cards.append((figure_of(mean), f"return of a session with {player.label}"))
    spent = result.get("train_cpu_seconds")
    if spent is not None:
        steps = result.get("env_steps")
        if source.kind == "offline":
            after = f" for {result.get('updates', 0):,} updates"
        else:
            after = "" if steps is None else f" for {steps:,} steps"
        cards.append((figure_of(spent), f"CPU-seconds of training{after}"))
    return tag(
        "div",
        *(
            tag("div", tag("p", number, class_="figure"), tag("p", words), class_="card")
            for number, words in cards
        ),
        class_="cards",
    )


def _contents(parts: Sequence[_Part]) -> Html:
    def entries(of: Sequence[_Part]) -> Html:
        return tag(
            "ul",
            *(
                tag(
                    "li",
                    tag("a", part.title, href=f"#{part.anchor}"),
                    *([entries(part.inner)] if part.inner else []),
                )
                for part in of
            ),
        )

    return tag("nav", entries(parts), aria_label="Contents")


def _section(part: _Part, level: int) -> Html:
    heading = tag(f"h{level}", part.title, id=part.anchor)
    inner = [_section(each, level + 1) for each in part.inner]
    return tag("section", heading, *part.content, *inner, aria_labelledby=part.anchor)


def _world(group: Group, place: int, count: int, pictures: list[Picture]) -> _Part:
    """Everything about the runs of one world."""
    several = count > 1
    prefix = f"world-{place + 1}-" if several else ""
    name = group.name.replace("_", " ")
    whole = _Part(f"World: {name}" if several else name, f"{prefix}world")

    def part(title: str, anchor: str, drawn: Sequence[Picture], *content: Content) -> None:
        pictures.extend(drawn)
        shown = [_grid(drawn)] if drawn else []
        whole.inner.append(_Part(title, f"{prefix}{anchor}", [*content[:1], *shown, *content[1:]]))

    learned = learning_pictures(group, prefix)
    none = "There are no metrics of training to draw."
    part("Learning", "learning", learned, *([] if learned else [tag("p", none)]))
    if not group.players:
        part("Sessions", "sessions", [], *(tag("p", note) for note in group.notes))
        return whole
    notes = [tag("p", note) for note in group.notes]
    compared: list[Content] = [tag("p", _how(group)), outcome_table(group)]
    if group.runs and len(group.players) > 1:
        compared.append(difference_table(group))
    part("Returns and baselines", "comparison", return_pictures(group, prefix), *compared, *notes)
    once = group.players[0].playback.steps == 1
    what = "What is shown" if once else "What is shown over a session"
    part(what, "shown", showing_pictures(group, prefix), *_about_showing(group))
    if group.runs and once:
        words = "Sessions have one step here; these are those of the first users."
        part("Sessions", "whole-sessions", [], tag("p", words), *_first_users(group))
    elif group.runs:
        drawn = session_pictures(group, prefix)
        part("Whole sessions", "whole-sessions", drawn, tag("p", _whose(group)), *_tables(group))
    return whole


def _how(group: Group) -> str:
    world = group.world or {}
    words = (
        f"Every policy plays one session with each of the same {group.users:,} users (seed "
        f"{group.seed}, {world.get('backend')} backend), who meet the same luck."
    )
    return f"{words} Runs act without exploring."


def _about_showing(group: Group) -> list[Content]:
    """What is left out, and why."""
    first = group.players[0].playback
    found = []
    if first.steps > 1:
        found.append("Means are over the users who are still there, while a tenth of them is.")
    if not first.slates:
        found.append(
            "An agent makes its actions here and picks no documents, so there are no slates, "
            "kinds or entropies to show."
        )
    elif first.topic is None:
        found.append("Documents have no kinds here that could be counted.")
    if first.slates and not any(
        each.playback.spread is not None and bool((each.playback.spread > 0).any())
        for each in group.runs
    ):
        found.append(
            "The slates of these runs are certain, in training too, as far as their distribution "
            "states it: its entropy is 0."
        )
    return [tag("p", " ".join(found))] if found else []


def _whose(group: Group) -> str:
    return (
        "Three of the users, the same for each policy: those with returns at the 10th, 50th and "
        f"90th percentile of {group.runs[0].label}."
    )


def _tables(group: Group) -> list[Content]:
    user = chosen_users(group.runs[0].result.returns)[1]
    found: list[Content] = []
    for player in group.runs:
        head, rows = session_table(player, user)
        words = f"First steps of user {user} with {player.label}"
        found.append(details(f"{words}, in words", table(words, head, rows)))
    return found


def _first_users(group: Group) -> list[Content]:
    found: list[Content] = []
    for player in group.runs:
        words = f"Sessions of the first users with {player.label}"
        found.append(details(words, table(words, *users_table(player))))
    return found


def _grid(pictures: Sequence[Picture]) -> Html:
    return tag(
        "div",
        *(picture(p.png, p.alt, p.caption, p.wide, p.width) for p in pictures),
        class_="pictures",
    )


def _config(sources: Sequence[Source]) -> _Part:
    content: list[Content] = []
    differing = config_differences(sources)
    if differing is not None:
        content.append(details("Where the configs differ", differing))
    for source in sources:
        written = tag("pre", tag("code", strict_yaml.dump(source.config)))
        content.append(details(f"Config of {source.label}, resolved", written))
    return _Part("Config", "config", content)


def _costs(sources: Sequence[Source]) -> _Part:
    return _Part("Cost and versions", "cost", [cost_table(sources), version_table(sources)])


def _footer(groups: Sequence[Group]) -> Html:
    users = ", ".join(f"{group.users:,}" for group in groups)
    return tag(
        "footer",
        "Written by ",
        tag("code", "python -m algorithms.report"),
        f". Sessions played for this page: {users} users a policy. It needs no network and no "
        "script; pictures stand beside it as PNG files too.",
    )
