from chat.crowd import Crowd
from chat.event import User

ADA, BOB, CY = User("ada", "Ada"), User("bob"), User("cy")
COUNTESS = User("ada", "Countess")


def test_who_came_and_who_went_is_told_once():
    crowd = Crowd()
    for user in (ADA, BOB):
        crowd.join(user)
    crowd.leave(CY)

    assert crowd.take() == ([ADA, BOB], [], ["cy"], [])
    assert crowd.take() == ([], [], [], [])


def test_who_came_and_went_is_not_mentioned():
    crowd = Crowd()
    crowd.join(ADA)
    crowd.leave(ADA)

    assert not crowd
    assert crowd.take() == ([], [], [], [])


def test_who_went_and_came_back_is_not_mentioned():
    crowd = Crowd()
    crowd.leave(ADA)
    crowd.join(ADA)

    assert not crowd


def test_what_counts_is_where_somebody_ends_up():
    crowd = Crowd()
    for _ in range(3):
        crowd.join(ADA)
        crowd.leave(ADA)
    crowd.join(ADA)

    assert crowd
    assert crowd.take() == ([ADA], [], [], [])


def test_another_display_name_is_told_apart_from_those_who_came():
    crowd = Crowd()
    crowd.rename(ADA, COUNTESS)
    crowd.join(BOB)

    assert crowd.take() == ([BOB], [COUNTESS], [], [])


def test_who_came_is_told_by_the_newest_display_name():
    crowd = Crowd()
    crowd.join(ADA)
    crowd.rename(ADA, COUNTESS)

    assert crowd.take() == ([COUNTESS], [], [], [])


def test_who_took_the_old_display_name_again_is_not_mentioned():
    crowd = Crowd()
    crowd.rename(ADA, COUNTESS)
    crowd.rename(COUNTESS, ADA)

    assert not crowd


def test_who_went_and_came_back_by_another_display_name_has_only_changed_it():
    crowd = Crowd()
    crowd.leave(ADA)
    crowd.join(COUNTESS)

    assert crowd.take() == ([], [COUNTESS], [], [])


def test_what_others_were_told_last_is_remembered_over_a_change_and_a_leave():
    crowd = Crowd()
    crowd.rename(ADA, COUNTESS)
    crowd.leave(COUNTESS)
    crowd.join(COUNTESS)

    assert crowd.take() == ([], [COUNTESS], [], [])


def test_where_others_tell_too_who_went_and_came_back_is_here():
    crowd = Crowd(others_tell=True)
    crowd.leave(ADA)  # which another process may tell of before the next line
    crowd.join(ADA)

    assert crowd.take() == ([], [ADA], [], [])


def test_where_others_tell_too_who_came_and_went_is_gone():
    crowd = Crowd(others_tell=True)
    crowd.join(ADA)
    crowd.leave(ADA)

    assert crowd.take() == ([], [], [], ["ada"])
