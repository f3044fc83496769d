"""The goals of several processes."""

import pytest

from bench.cluster.goals import GOALS
from bench.cluster.scenarios import SCENARIOS
from bench.cluster.servers import HOSTS, PUBLISHER, SERVERS
from bench.goals import Figure, Goal, judge
from bench.load import Sample
from bench.scenarios import Scenario, chosen
from tests.bench.samples import sample


def _measured(figure: Figure, rows: list[Scenario]) -> list[Sample]:
    return figure.of([row.sample(server, 1) for row in rows for server in row.servers])


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: f"{goal.text} {goal.bound}")
def test_each_figure_of_a_goal_is_measured_once_a_round_also_in_a_quick_run(goal: Goal) -> None:
    for rows in (list(SCENARIOS), chosen([], quick=True, of=SCENARIOS)):
        for figure in (goal.figure, goal.to):
            assert figure is None or len(_measured(figure, rows)) == 1


def test_every_server_of_a_scenario_can_be_started() -> None:
    named = {name for row in SCENARIOS for name in row.servers}

    assert named <= {*SERVERS, *HOSTS, PUBLISHER}


@pytest.mark.parametrize(("late", "reached"), [(4.9, True), (5.0, True), (5.1, False)])
def test_what_is_added_is_a_difference(late: float, reached: bool) -> None:
    one, two = Figure(key="p99_ms", server="one", scenario="added"), Figure(key="p99_ms", server="two", scenario="added")
    goal = Goal(text="added", figure=two, to=one, at_most=3.0, by_difference=True)
    verdict = judge(goal, [sample("one", "latency", "added", p99_ms=2.0), sample("two", "latency", "added", p99_ms=late)])

    assert verdict.value == pytest.approx(late - 2.0)
    assert verdict.reached is reached
    assert goal.bound == "<= +3"


def test_it_is_the_cpu_of_all_processes_that_what_is_delivered_is_divided_by() -> None:
    each = Figure(key="per_cpu_s", server="two", scenario="room")

    verdict = judge(
        Goal(text="each", figure=each, at_least=1), [sample("two", "fanout", "room", delivered_s=3e6, srv_cpu=1.5)]
    )

    assert verdict.value == 2e6
