"""Goals: on which side of their bound, and when there is no saying."""

from dataclasses import replace

import pytest

from bench.goals import GOALS, Figure, Goal, judge, judge_all
from bench.load import Sample
from bench.scenarios import SCENARIOS, Scenario, chosen
from tests.bench.samples import sample

FAST = Figure(key="delivered_s", server="ours-plain", scenario="fanout", n=1000)
TWICE = Goal(text="twice ws", figure=FAST, to=replace(FAST, server="ws"), at_least=2)
SLIM = Goal(text="slim", figure=Figure(key="rss_per_conn_kb", server="ours-plain", scenario="connect"), at_most=3)


@pytest.mark.parametrize(("ours", "reached"), [(199.0, False), (200.0, True), (201.0, True)])
def test_a_ratio_on_its_bound_is_enough(ours: float, reached: bool) -> None:
    verdict = judge(TWICE, [sample(delivered_s=ours), sample("ws", delivered_s=100.0)])

    assert verdict.value == ours / 100
    assert verdict.reached is reached


@pytest.mark.parametrize(("size", "reached"), [(2.99, True), (3.0, True), (3.01, False)])
def test_a_figure_by_itself_on_its_upper_bound_is_enough(size: float, reached: bool) -> None:
    assert judge(SLIM, [sample(mode="connect", rss_per_conn_kb=size)]).reached is reached


def test_medians_are_compared() -> None:
    ours = [sample(number=number, delivered_s=delivered) for number, delivered in enumerate((1.0, 300.0, 9000.0))]
    theirs = [sample("ws", number=number, delivered_s=delivered) for number, delivered in enumerate((100.0, 5.0, 700.0))]

    assert judge(TWICE, [*ours, *theirs]).value == 3.0


@pytest.mark.parametrize("server", ["ours-plain", "ws"])
@pytest.mark.parametrize("fault", [{"lost": 1}, {"died": 1}, {"other_cpu": 0.2}])
def test_a_ratio_with_a_dirty_sample_on_either_side_is_refused(server: str, fault: dict[str, float]) -> None:
    samples = [
        sample(delivered_s=900.0),
        sample("ws", delivered_s=100.0),
        sample(server, number=2, delivered_s=1.0, **fault),
    ]
    verdict = judge(TWICE, samples)

    assert verdict.value is None
    assert verdict.refused.startswith(f"{server}: ")
    assert not verdict.reached


def test_a_sample_that_was_measured_again_is_not_asked() -> None:
    disturbed = replace(sample(delivered_s=1.0, other_cpu=0.5), dropped=True)

    assert judge(TWICE, [disturbed, sample(delivered_s=300.0), sample("ws", delivered_s=100.0)]).value == 3.0


def test_what_was_not_measured_is_not_reached() -> None:
    verdict = judge(TWICE, [sample(delivered_s=900.0)])

    assert (verdict.refused, verdict.reached) == ("not measured", False)


def test_a_ratio_to_nothing_is_refused() -> None:
    verdict = judge(TWICE, [sample(delivered_s=900.0), sample("ws", delivered_s=0.0)])

    assert (verdict.refused, verdict.reached) == ("it would be a ratio to nothing", False)


def test_a_figure_that_is_not_there_is_named() -> None:
    assert judge(SLIM, [sample(mode="connect")]).refused == "ours-plain: wsload gave no rss_per_conn_kb"


@pytest.mark.parametrize(("frames", "reached"), [(16_000, True), (16_001, False)])
def test_joins_may_be_told_to_each_once_a_period_and_twice_and_to_the_first_by_name(frames: int, reached: bool) -> None:
    goal = Goal(text="joins", figure=Figure(key="join_share", server="ours-plain", scenario="connect"), at_most=1)
    storm = sample(mode="connect", join_frames=frames, conn_s=0.75, settle_s=0.25)

    assert judge(goal, [storm]).reached is reached


def test_senders_are_as_fair_as_the_slowest_is_to_the_fastest() -> None:
    goal = Goal(text="fair", figure=replace(FAST, key="fairness"), at_least=0.5)

    assert judge(goal, [sample(sender_min=5, sender_max=10)]).value == 0.5
    assert judge(goal, [sample(sender_min=0, sender_max=0)]).reached is False


def _measured(goal_figure: Figure, rows: list[Scenario]) -> list[Sample]:
    return goal_figure.of([row.sample(server, 1) for row in rows for server in row.servers])


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: f"{goal.text} {goal.bound}")
def test_each_figure_of_a_goal_is_measured_once_a_round_also_in_a_quick_run(goal: Goal) -> None:
    for rows in (list(SCENARIOS), chosen([], quick=True)):
        for figure in (goal.figure, goal.to):
            assert figure is None or len(_measured(figure, rows)) == 1


def test_only_goals_of_which_all_was_to_be_measured_are_judged() -> None:
    texts = {verdict.goal.text for verdict in judge_all([], {"stalled", "flood"})}

    assert texts == {"slowest to fastest of 64 senders that flood"}
