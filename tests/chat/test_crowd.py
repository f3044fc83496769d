from chat.crowd import Crowd


def test_who_came_and_who_went_is_told_once():
    crowd = Crowd()
    for user in ("ada", "bob"):
        crowd.join(user)
    crowd.leave("cy")

    assert crowd.take() == (["ada", "bob"], ["cy"])
    assert crowd.take() == ([], [])


def test_who_came_and_went_is_not_mentioned():
    crowd = Crowd()
    crowd.join("ada")
    crowd.leave("ada")

    assert not crowd
    assert crowd.take() == ([], [])


def test_who_went_and_came_back_is_not_mentioned():
    crowd = Crowd()
    crowd.leave("ada")
    crowd.join("ada")

    assert not crowd


def test_what_counts_is_where_somebody_ends_up():
    crowd = Crowd()
    for _ in range(3):
        crowd.join("ada")
        crowd.leave("ada")
    crowd.join("ada")

    assert crowd
    assert crowd.take() == (["ada"], [])
