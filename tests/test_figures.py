"""Learning itself, held to its figures over fixed seeds, beside a control that cannot learn (`make bench-figures`)."""

import figures
import pytest

pytestmark = pytest.mark.slow
SEEDS = range(200)
RULES = ("weight_perturbation", "node_perturbation")


@pytest.mark.parametrize("rule", RULES)
def test_xor_is_learned_by_at_least_99_percent_of_200_seeds(rule: str) -> None:
    figure = figures.xor(rule, SEEDS)
    assert figure.share >= 0.99
    assert figure.median <= 3000


@pytest.mark.parametrize("rule", RULES)
def test_xor_is_not_learned_where_the_rate_is_next_to_nothing(rule: str) -> None:
    assert figures.xor(rule, range(5), learning=False).share == 0


def test_weight_perturbation_balances_the_pole_from_every_seed() -> None:
    figure = figures.cartpole("weight_perturbation", SEEDS)
    assert figure.share == 1
    assert figure.median <= 28


def test_node_perturbation_balances_the_pole_from_nearly_every_seed() -> None:
    assert figures.cartpole("node_perturbation", SEEDS).share >= 0.95


@pytest.mark.parametrize("rule", RULES)
def test_the_pole_is_not_balanced_where_the_rate_is_next_to_nothing(rule: str) -> None:
    assert figures.cartpole(rule, range(5), learning=False, limit=400).share == 0
