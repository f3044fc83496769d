"""What may stand in CHAT_REDIS_URL, and what is said of what may not."""

import pytest

from chat.bus import parse
from chat.bus.address import Kind

WORD = "s3cr3t"

GOOD = {
    # URL: kind, hosts, what else is not as it is by default
    "redis://": (Kind.ONE, [("localhost", 6379)], {"db": 0}),
    "redis://cache": (Kind.ONE, [("cache", 6379)], {"db": 0}),
    "redis://cache:7000/3": (Kind.ONE, [("cache", 7000)], {"db": 3}),
    "redis://cache/?db=3": (Kind.ONE, [("cache", 6379)], {"db": 3}),
    "redis://[::1]:7000": (Kind.ONE, [("::1", 7000)], {"db": 0}),
    f"redis://:{WORD}@cache": (Kind.ONE, [("cache", 6379)], {"db": 0, "password": WORD}),
    f"redis://ada:{WORD}@cache": (Kind.ONE, [("cache", 6379)], {"db": 0, "username": "ada", "password": WORD}),
    "redis://:a%2Fb%40c%23d%3Fe%2Cf@cache": (Kind.ONE, [("cache", 6379)], {"db": 0, "password": "a/b@c#d?e,f"}),
    "redis://:a,b@cache": (Kind.ONE, [("cache", 6379)], {"db": 0, "password": "a,b"}),
    "redis://cache?client_name=chat": (Kind.ONE, [("cache", 6379)], {"db": 0, "client_name": "chat"}),
    "rediss://cache?ssl_ca_certs=/etc/ca.pem": (Kind.ONE, [("cache", 6379)], {"db": 0, "ssl_ca_certs": "/etc/ca.pem"}),
    "unix:///run/redis.sock": (Kind.ONE, [], {"path": "/run/redis.sock"}),
    f"unix://:{WORD}@/run/redis.sock?db=2": (Kind.ONE, [], {"path": "/run/redis.sock", "db": 2, "password": WORD}),
    "redis+sentinel://one,two:7000/chat": (Kind.SENTINEL, [("one", 26379), ("two", 7000)], {"db": 0}),
    "redis+sentinel://one/chat/4": (Kind.SENTINEL, [("one", 26379)], {"db": 4}),
    f"rediss+sentinel://:{WORD}@one,two/chat": (
        Kind.SENTINEL,
        [("one", 26379), ("two", 26379)],
        {"db": 0, "password": WORD},
    ),
    "redis+cluster://one,two:7000": (Kind.CLUSTER, [("one", 6379), ("two", 7000)], {"db": 0}),
    f"rediss+cluster://ada:{WORD}@one": (
        Kind.CLUSTER,
        [("one", 6379)],
        {"db": 0, "username": "ada", "password": WORD},
    ),
}

BAD = {
    "": "is empty",
    " , ": "is empty",
    "cache:6379": "begins like no way",
    "http://cache": "begins like no way",
    "redis+proxy://cache": "begins like no way",
    "redis://cache:port": "host 1 is no host and port",
    "redis://cache:99999": "host 1 is no host and port",
    "redis+cluster://one,two:x": "host 2 is no host and port",
    "redis://a..b": "host 1 is no host and port",
    "redis://[::1": "is no URL",
    "redis://one,two": "has one host",
    "redis://cache/chat": "the database is a number",
    "redis://cache?db=chat": "db",
    "redis+sentinel://one": "says no service",
    "redis+cluster://one/1": "has no database numbers",
    "redis://cache?max_connections=9": "not known here: max_connections",
    "redis://cache?ssl_ca_certs=/etc/ca.pem": "not known here: ssl_ca_certs",
    "redis://cache?protocol=3&timeout=1": "not known here: protocol, timeout",
    "unix://run/redis.sock": "three strokes",
    "unix://": "three strokes",
    "redis://cache redis://CACHE:6379/1": "cache:6379 is there more than once",
}

# A password whose special characters are not escaped ends the host early.
SPILT = [
    f"redis://:{WORD}/x@cache",
    f"redis://:12/{WORD}@cache",
    f"redis://:12?{WORD}@cache",
    f"redis://:12#{WORD}@cache",
    f"redis://:{WORD}#x@cache",
    f"redis://:{WORD}?x@cache",
    f"redis://:{WORD}[x@cache",
    f"redis://:[{WORD}]@cache",
    f"redis://:{WORD}℀@cache",
    f"redis://cache:{WORD}",
    f"redis://:{WORD}@cache?max_connections=9",
    f"redis://:{WORD}@cache?db=x",
    f"redis://:{WORD}@cache/x",
    f"redis+sentinel://:{WORD}@cache",
    f"redis+cluster://:{WORD}@one/2",
    f"gopher://:{WORD}@cache",
    f"{WORD}",
    f"unix://:{WORD}@run/redis.sock",
    f"redis://:{WORD}@cache,redis://:{WORD}@cache",
]


@pytest.mark.parametrize("url", GOOD)
def test_it_is_understood(url):
    kind, hosts, options = GOOD[url]

    [address] = parse(url)

    assert (address.kind, list(address.hosts), dict(address.options)) == (kind, hosts, options)
    assert address.is_secure == url.startswith("rediss")
    assert address.service == ("chat" if kind is Kind.SENTINEL else "")


@pytest.mark.parametrize("text", BAD)
def test_it_is_refused_and_why_is_told(text):
    with pytest.raises(ValueError, match=BAD[text]):
        parse(text)


@pytest.mark.parametrize("text", SPILT)
def test_a_password_is_not_told_with_what_is_wrong(text):
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse(text)

    assert WORD not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("url", [url for url in GOOD if WORD in url])
def test_a_password_is_not_shown(url):
    [address] = parse(url)

    assert WORD not in str(address)
    assert WORD not in repr(address)


@pytest.mark.parametrize("between", [",", " ", ", ", "\n", ",\n\t"])
def test_several_have_commas_or_white_space_between_them(between):
    urls = ["redis://one", "redis+cluster://two,three", "unix:///run/redis.sock"]

    assert [str(address) for address in parse(between.join(urls))] == [
        "one:6379",
        "three:6379,two:6379",
        "unix:/run/redis.sock",
    ]


def test_the_name_of_a_group_goes_not_by_the_order_of_its_hosts():
    [one], [other] = parse("redis+sentinel://a,b:7/chat"), parse("redis+sentinel://b:7,a/chat")

    assert str(one) == str(other) == "a:26379,b:7/chat"
    assert str(parse("redis://[::1]:7")[0]) == "[::1]:7"


def test_sentinels_are_reached_by_tls_alike_but_as_nobody():
    [address] = parse(f"rediss+sentinel://ada:{WORD}@one/chat/2?ssl_ca_certs=/etc/ca.pem&client_name=chat")

    sentinel = address.of_sentinel()

    assert sentinel.is_secure
    assert dict(sentinel.options) == {"ssl_ca_certs": "/etc/ca.pem"}
