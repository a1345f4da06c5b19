"""Ids become learned vectors, and nothing changes where there are none."""

from __future__ import annotations

import torch

from algorithms.core.identifiers import WIDTH, Ids, IdVectors, ids_of
from algorithms.core.networks import StateItemNetwork
from algorithms.dqn.agent import DQNAgent
from envs.history import History, Term
from envs.simulator import Observation
from envs.spec import FeatureSpec, identifier, number, vector

SPEC = FeatureSpec(
    user=(number("age"), identifier("user_id", 4)),
    candidate=(vector("genres", 2), identifier("item_id", 3), number("year")),
    response=(number("click", 0.0, 1.0),),
)
TERMS = (Term("genres", 0.9), Term("item_id", "last"), Term("click", "sum"))


def test_where_ids_stand() -> None:
    # State: age, user_id | genres (2), item_id, click. Candidate: genres (2), item_id, year.
    found = ids_of(SPEC, History(SPEC, TERMS))
    assert found == Ids(state=((1, 4), (4, 3)), item=((2, 3),))


def test_only_an_id_that_is_kept_as_it_is_counts() -> None:
    terms = (Term("item_id", "sum"), Term("item_id", "last", 0.5))
    assert ids_of(SPEC, History(SPEC, terms)).state == ((1, 4),)


def test_other_columns_come_first_and_unknown_ids_are_zeros() -> None:
    vectors = IdVectors(3, ((1, 3),))
    rows = torch.tensor([[5.0, 2.0, 6.0], [5.0, -1.0, 6.0], [5.0, 3.0, 6.0]])
    found = vectors(rows)
    assert found.shape == (3, 2 + WIDTH) and vectors.size == 2 + WIDTH
    assert found[:, :2].tolist() == [[5.0, 6.0]] * 3
    assert found[0, 2:].abs().sum() > 0
    assert (found[1:, 2:] == 0).all()


def test_each_id_learns_alone() -> None:
    vectors = IdVectors(1, ((0, 3),))
    vectors(torch.tensor([[1.0], [-1.0]])).sum().backward()
    (table,) = vectors.parameters()
    assert table.grad is not None
    assert table.grad.abs().sum(1).tolist() == [0.0, 0.0, float(WIDTH), 0.0]


def test_a_network_without_ids_has_the_weights_that_it_had() -> None:
    names = [name for name, _ in StateItemNetwork(4, 3, hidden=(5,)).named_parameters()]
    assert names == [
        *(f"body.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")),
        "head.weight",
        "head.bias",
    ]


def test_dqn_tells_items_apart_by_nothing_but_their_ids() -> None:
    torch.manual_seed(0)
    agent = DQNAgent(SPEC, History(SPEC, TERMS), 1, {})
    same = torch.tensor([[1.0, 0.0, 0.0, 7.0], [1.0, 0.0, 1.0, 7.0], [1.0, 0.0, 1.0, 7.0]])
    seen = Observation(
        torch.tensor([[30.0, 2.0]]),
        same[None],
        torch.ones(1, 3, dtype=torch.bool),
        torch.zeros(1, 1, 1),
        torch.zeros(1, 1),
        torch.zeros(1, 4),
    )
    first, second, third = agent.decide(seen, 1).log_weights[0].tolist()
    assert first != second and second == third
    other = seen._replace(user=torch.tensor([[30.0, 3.0]]))
    assert agent.decide(other, 1).log_weights[0].tolist() != [first, second, third]
