from chat.typists import PERIOD, Typists


def test_a_user_is_news_once_in_a_while():
    typists = Typists()

    assert typists.may_tell("ada", 10.0)
    assert not typists.may_tell("ada", 10.0 + PERIOD - 0.1)
    assert typists.may_tell("ada", 10.0 + PERIOD)


def test_one_user_says_nothing_about_another():
    typists = Typists()

    assert [typists.may_tell(user, 0.0) for user in ("ada", "bob", "ada")] == [True, True, False]


def test_who_was_refused_is_not_held_back_any_longer_for_it():
    typists = Typists()

    assert [typists.may_tell("ada", now) for now in (0.0, 1.0, 2.0, PERIOD)] == [True, False, False, True]


def test_who_stops_typing_is_forgotten():
    typists = Typists()
    for number in range(1000):
        assert typists.may_tell(f"user {number}", float(number))

    assert len(typists) <= PERIOD
