"""Members of groups: stored once, told in the user's log, over kill -9, whoever changes them at the same time."""
import contextlib
import json
import random
import threading
from urllib.parse import quote

import pytest

from longwire_client import Api
from longwire_server import Server, is_built

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

KEYS = "".join(f"[key {name}]\nsecret = {name}-secret-0123456789\nrights = {rights}\n"
               for name, rights in (("pub", "publish"), ("sub", "subscribe"), ("adm", "admin")))


def member_path(group, user):
    return f"/v1/groups/{quote(group, safe='')}/members/{quote(user, safe='')}"


def ask(api, method, path):
    answer = api.call(method, path)
    return answer.status, answer.json


def change(api, method, group, user):
    status, body = ask(api, method, member_path(group, user))
    assert status == 200, body
    assert (body["group"], body["user"]) == (group, user)
    return body["member"], body["seq"]


def join(api, group, user):
    return change(api, "PUT", group, user)


def leave(api, group, user):
    return change(api, "DELETE", group, user)


def names(api, path, member):
    """All of a list, page by page."""
    found, after = [], ""
    while True:
        status, body = ask(api, "GET", path + "?limit=7" + (f"&after={quote(after, safe='')}" if after else ""))
        assert status == 200 and len(body[member]) <= 7, body
        found += body[member]
        if "next" not in body:
            return found
        after = body["next"]


def members_of(api, group):
    return names(api, f"/v1/groups/{quote(group, safe='')}/members", "members")


def groups_of(api, user):
    return names(api, f"/v1/users/{quote(user, safe='')}/groups", "groups")


def memberships(api, user):
    return [(message["seq"], message["group"], message["joined"])
            for message in api.history_all(f"user:{user}") if message["type"] == "membership"]


@pytest.fixture(scope="module", name="server")
def server_fixture():
    with Server() as server:
        yield server


@pytest.fixture(name="api")
def api_fixture(server):
    with contextlib.closing(Api(server.url)) as api:
        yield api


def test_a_change_is_one_message_in_the_log_of_the_user(api):
    assert leave(api, "lobby", "ann") == (False, 0)
    assert join(api, "lobby", "ann") == (True, 1)
    assert join(api, "lobby", "ann") == (True, 1)
    head = api.publish("group:lobby", b"hi").json["seq"]
    assert leave(api, "lobby", "ann") == (False, 2)
    assert leave(api, "lobby", "ann") == (False, 2)
    assert join(api, "lobby", "ann") == (True, 3)
    assert memberships(api, "ann") == [(1, "lobby", True), (2, "lobby", False), (3, "lobby", True)]
    last = api.history_all("user:ann")[-1]
    assert last["place"]["seq"] == head and last["place"]["epoch"] == last["epoch"]
    assert "media" not in last and "data" not in last


def test_lists_go_by_name_in_pages(api):
    users = sorted(f"u{n}" for n in range(20))
    for user in users:
        join(api, "many", user)
    assert members_of(api, "many") == users
    for n in range(20):
        join(api, f"g{n}", "bob")
    for n in range(0, 20, 2):
        leave(api, f"g{n}", "bob")
    assert groups_of(api, "bob") == sorted(f"g{n}" for n in range(1, 20, 2))
    assert members_of(api, "none") == [] and groups_of(api, "none") == []


def test_names_are_any_text_that_a_channel_takes(api):
    for group, user in (("a/b:c", "ann"), ("100% \u00e9\"\\", "b\u00fc\"b\\"), ("g" * 194, "u" * 128)):
        assert join(api, group, user)[0]
        assert user in members_of(api, group) and group in groups_of(api, user)
        assert api.history_all(f"user:{user}")[-1]["group"] == group
    for group, user in (("g", "a/b"), ("g", "u" * 129), ("g\n", "a"), ("g", "\n"), ("g" * 201, "a")):
        assert ask(api, "PUT", member_path(group, user))[0] == 400
    assert ask(api, "GET", "/v1/groups/g/members?limit=0")[0] == 400
    assert ask(api, "GET", "/v1/groups/g/members?limit=1&from=a")[0] == 400


def test_nobody_else_can_say_who_is_a_member(api):
    answer = api.call("POST", "/v1/channels/user:ann/messages", b'{"group":"x","joined":true}',
                      {"Content-Type": "application/vnd.longwire.membership+json"})
    assert answer.status == 400 and "vnd.longwire" in json.loads(answer.body)["detail"]


def test_changes_that_race_end_in_one_truth(server, api):
    """Whoever wins, the log, both lists and the answers agree, and joins and leaves take turns in the log."""
    def work(seed):
        rng = random.Random(seed)
        with contextlib.closing(Api(server.url)) as mine:
            for _ in range(30):
                rng.choice((join, leave))(mine, f"r{rng.randrange(3)}", "cat")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = {}
    for _, group, joined in memberships(api, "cat"):
        assert state.get(group, False) != joined, "a repeated change is no message"
        state[group] = joined
    assert groups_of(api, "cat") == sorted(group for group, joined in state.items() if joined)
    for group, joined in state.items():
        assert members_of(api, group) == (["cat"] if joined else [])


def test_rights():
    wants = {("PUT", member_path("g", "u")): (401, 200, 403, 200), ("DELETE", member_path("g", "u")): (401, 200, 403, 200),
             ("GET", "/v1/groups/g/members"): (401, 200, 403, 200), ("GET", "/v1/users/u/groups"): (401, 403, 200, 200)}
    with Server(config=KEYS) as server:
        for (method, path), want in wants.items():
            got = []
            for name in (None, "pub", "sub", "adm"):
                with contextlib.closing(Api(server.url, name and f"{name}-secret-0123456789")) as api:
                    got.append(api.call(method, path).status)
            assert tuple(got) == want, (method, path)


def test_two_thousand_members_store_one_row_a_message():
    """The bytes of a message are stored once, however many are to get it."""
    with Server() as server, contextlib.closing(Api(server.url)) as api:
        def work(start):
            with contextlib.closing(Api(server.url)) as mine:
                for n in range(start, 2000, 8):
                    join(mine, "big", f"u{n:04}")

        threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(members_of(api, "big")) == 2000
        count = 'longwire_publishes_total{store="durable"}'
        before = api.metrics()[count]
        for n in range(10):
            assert api.publish("group:big", b"x" * 1000).json["seq"] == n + 1
        assert api.metrics()[count] - before == 10
        info = json.loads(api.get("/v1/channels/group:big").body)
        assert info["head"] == 10 and info["bytes"] == 10000


def test_what_was_answered_outlives_kill_minus_nine():
    answered = {}

    def work(url, seed):
        rng = random.Random(seed)
        with contextlib.suppress(Exception), contextlib.closing(Api(url)) as mine:
            while True:
                group = f"g{rng.randrange(4)}"
                want = not answered.get((seed, group), (False, 0))[0]
                answered[(seed, group)] = None  # not known while it is under way
                answered[(seed, group)] = (join if want else leave)(mine, group, f"u{seed}")

    with Server() as server:
        for round_number in range(4):
            threads = [threading.Thread(target=work, args=(server.url, seed)) for seed in range(4)]
            for thread in threads:
                thread.start()
            with contextlib.closing(Api(server.url)) as api:
                while len(memberships(api, "u0")) < 20 * (round_number + 1):
                    pass
            server.kill()
            for thread in threads:
                thread.join()
            server.start()
            with contextlib.closing(Api(server.url)) as api:
                for seed in range(4):
                    check_user(api, f"u{seed}", {group: was for (of, group), was in answered.items() if of == seed})
                    for group in range(4):  # what was under way is known again
                        answered[(seed, f"g{group}")] = (f"g{group}" in groups_of(api, f"u{seed}"), 0)


def check_user(api, user, answered):
    last = {group: (joined, seq) for seq, group, joined in memberships(api, user)}
    groups = groups_of(api, user)
    assert groups == sorted(group for group, (joined, _) in last.items() if joined)
    for group, was in answered.items():
        assert (user in members_of(api, group)) == (group in groups)
        if was is not None and was[1] > 0:
            assert last[group] == was, "what was answered is lost"
