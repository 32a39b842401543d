"""A ticket beside a token opens the session of whom the token names (threats 33, 101, 102): where another user logs in on a device
that has kept a ticket, the session is the new user's, and the ticket is not used up. Who comes with a ticket of their own is asked nothing,
whatever token stands beside it."""
import contextlib
import time

import jwt
import pytest

from application import Application
from client_driver import C, JAVASCRIPT, NODE, Driver
from longwire_client import Api
from longwire_server import Server, is_built
from native_link import NativeLink
from test_cli import Running, run
from wire import Ws

pytestmark = pytest.mark.skipif(not is_built(), reason="longwired is not built")

SECRET = "a-secret-of-the-issuer-0123456789-abcdef"
KEY = "backend-secret-0123456789"
BACKEND = f"reconnect_ms = 20\n[key backend]\nsecret = {KEY}\nrights = publish, admin\n"
SOON = {"base_ms": 1, "cap_ms": 10}


def token(user, seconds=600, secret=SECRET, **claims):
    now = int(time.time())
    return jwt.encode({"sub": user, "iat": now - 5, "exp": now + seconds, **claims}, secret, "HS256")


@pytest.fixture(scope="module", name="issued")
def a_server_with_an_issuer():
    with Server(config=f"{BACKEND}[jwt app]\nsecret = {SECRET}\nleeway_s = 0\n") as server:
        yield server


@pytest.fixture(name="application")
def an_application():
    """It lets in the user whom a token begins with."""
    with Application() as application:
        application.answer = lambda question: (200, {"user": question["token"].split("-")[0]})
        yield application


@pytest.fixture(name="asked")
def a_server_that_asks(application):
    with Server(config=f"{BACKEND}[connect_hook]\nurl = {application.url}/hook\ntimeout_s = 30\n") as server:
        yield server


@pytest.fixture(params=[Ws, NativeLink], ids=["websocket", "native"], name="wire")
def fixture_wire(request):
    return request.param


def opened(wire, server, **connect):
    """What `connected` says; the link ends."""
    with wire(server) as link:
        return link.ask("connect", "connected", session=True, **connect)


def who(said):
    return said["user"], said["device"], said["resumed"]


def name_of(request, wire):
    return f"{request.node.originalname[-20:]}-{wire.__name__}".lower().replace("_", "-")


# --- tokens that the server can read ----------------------------------------------------------------------------------

def test_another_user_gets_a_session_of_their_own(issued, wire, request):
    ann, bob = f"ann-{name_of(request, wire)}", f"bob-{name_of(request, wire)}"
    with contextlib.closing(Api(issued.url, KEY)) as backend, wire(issued) as hers:
        ticket = hers.ask("connect", "connected", session=True, token=token(ann), device="phone")["ticket"]
        with wire(issued) as his:
            said = his.ask("connect", "connected", session=True, token=token(bob), device="phone", ticket=ticket)
            assert who(said) == (bob, "phone", False) and said["ticket"] != ticket
            backend.publish(f"user:{ann}", b"hers")
            backend.publish(f"user:{bob}", b"his")
            assert his.frame("message")["channel"] == f"user:{bob}"
        # Her link was not replaced, and her ticket is as good as it was.
        assert hers.frame("message")["channel"] == f"user:{ann}"
        hers.ask("ping", "pong")
        assert who(opened(wire, issued, token=token(ann), ticket=ticket)) == (ann, "phone", True)


@pytest.mark.parametrize("how", ["the same", "fresh", "ended", "forged"])
def test_ones_own_ticket_needs_no_good_token(issued, wire, request, how):
    """The ticket alone would do, so what stands beside it cannot ask for more."""
    ann  = f"ann-{how.replace(' ', '-')}-{wire.__name__}"
    mine = token(ann, device="phone")
    first = opened(wire, issued, token=mine)
    shown = {"the same": mine, "fresh": token(ann, 500), "ended": token(ann, -300), "forged": token(ann, secret="x" * 40)}[how]
    said  = opened(wire, issued, token=shown, ticket=first["ticket"])
    assert who(said) == (ann, "phone", True) and said["generation"] == first["generation"] + 1


def test_a_forged_token_of_another_user_opens_nothing(issued, wire, request):
    ticket = opened(wire, issued, token=token(f"ann-{name_of(request, wire)}"))["ticket"]
    with wire(issued) as link:
        assert link.ask("connect", "error", session=True, token=token("bob", secret="x" * 40), ticket=ticket)["code"] == 401


@pytest.mark.parametrize("claims, said", [({"device": "pad"}, {}), ({}, {"device": "pad"})])
def test_another_device_of_the_user_is_another_session(issued, wire, claims, said):
    ann = f"ann-{len(claims)}-{wire.__name__}"
    ticket = opened(wire, issued, token=token(ann), device="phone")["ticket"]
    assert who(opened(wire, issued, token=token(ann, 500, **claims), ticket=ticket, **said)) == (ann, "pad", False)
    assert who(opened(wire, issued, ticket=ticket)) == (ann, "phone", True)


def test_a_ticket_that_is_no_good_leaves_the_token_to_decide(issued, wire, request):
    ann = f"ann-{name_of(request, wire)}"
    first = opened(wire, issued, token=token(ann))
    for ticket in ("nonsense", first["ticket"][:-6] + "AAAAAA"):
        assert opened(wire, issued, token=token(ann), device="pad", ticket=ticket)["device"] == "pad"
    opened(wire, issued, ticket=first["ticket"])
    with wire(issued) as link:      # one of the user that is stale says so, as ever
        error = link.ask("connect", "error", session=True, token=token(ann), ticket=first["ticket"])
        assert error["code"] == 401
        assert link.ask("connect", "connected", session=True, token=token(ann), device=first["device"])["resumed"]


# --- tokens that only the application can read --------------------------------------------------------------------------

def test_the_application_is_asked_about_another_token_only(asked, application, wire):
    first = opened(wire, asked, token="ann-1")
    second = opened(wire, asked, token="ann-1", ticket=first["ticket"])
    third = opened(wire, asked, ticket=second["ticket"])                    # which remembers the token as well
    fourth = opened(wire, asked, token="ann-1", ticket=third["ticket"])
    assert len(application.questions) == 1
    for said in (second, third, fourth):
        assert who(said) == ("ann", first["device"], True)
    fresh = opened(wire, asked, token="ann-2", ticket=fourth["ticket"])     # of the same user: it goes on, on the device without a name
    assert who(fresh) == ("ann", first["device"], True) and len(application.questions) == 2
    assert who(opened(wire, asked, token="ann-2", ticket=fresh["ticket"])) == ("ann", first["device"], True)
    assert len(application.questions) == 2
    bob = opened(wire, asked, token="bob-1", ticket=fresh["ticket"])
    assert (bob["user"], bob["resumed"]) == ("bob", False) and bob["device"] != first["device"]
    assert len(application.questions) == 3


def test_what_a_jwt_means_is_the_applications_to_say(asked, application, wire):
    first = opened(wire, asked, token="ann-1")
    application.answer = lambda question: (200, {"user": "the other ann"})
    assert who(opened(wire, asked, token=token("ann"), device=first["device"], ticket=first["ticket"])) == ("the other ann", first["device"], False)
    assert len(application.questions) == 2


def test_who_is_believed_is_whom_the_names_say(wire):
    with Server() as server:
        ticket = opened(wire, server, user="ann", device="phone")["ticket"]
        assert who(opened(wire, server, user="bob", device="phone", ticket=ticket)) == ("bob", "phone", False)
        assert who(opened(wire, server, user="ann", device="pad", ticket=ticket)) == ("ann", "pad", False)
        said = opened(wire, server, user="ann", ticket=ticket)
        assert who(said) == ("ann", "phone", True)
        assert who(opened(wire, server, device="pad", ticket=said["ticket"])) == ("ann", "phone", True)     # nobody is named


# --- client libraries: ann logs out, bob logs in, with what was kept --------------------------------------------------------

def test_the_command_line_tool_goes_on_as_the_user_of_its_token(issued, tmp_path):
    ticket = tmp_path / "ticket"
    sub = ["sub", "--session", "--ticket-file", str(ticket), "-v", "-F", "{channel} {data}", "-n", "1"]
    with Running(Address(issued), *sub, "--token", token("ann-cli"), "--device", "phone") as ann:
        ann.wait_err("as ann-cli/phone, generation 1")
        run(issued, "pub", "user:ann-cli", "hers", "--key", KEY)
        assert ann.end() == ["user:ann-cli hers"]
    run(issued, "pub", "user:ann-cli", "not his", "--key", KEY)
    with Running(Address(issued), *sub, "--token", token("bob-cli")) as bob:
        bob.wait_err("as bob-cli/")
        run(issued, "pub", "user:bob-cli", "his", "--key", KEY)
        assert bob.end() == ["user:bob-cli his"]
    with Running(Address(issued), *sub, "--token", token("ann-cli"), "--device", "phone") as ann:
        assert ann.end() == ["user:ann-cli not his"]


def test_a_ticket_is_kept_however_many_grants_it_holds(asked, application, tmp_path):
    """A hundred grants of the connect hook make a ticket of 30 KB."""
    grants = [{"match": f"topic:{number}-{'x' * 220}", "can": ["subscribe"]} for number in range(100)]
    application.answer = lambda question: (200, {"user": "ann", "channels": grants})
    ticket = tmp_path / "ticket"
    sub = ["sub", "--session", "--ticket-file", str(ticket), "-v", "-n", "1"]
    for token_of_it in (["--token", "ann-1"], []):
        with Running(Address(asked), *sub, *token_of_it) as ann:
            ann.wait_err("as ann/")
            assert ticket.stat().st_size > 30000
            run(asked, "pub", "user:ann", "hers", "--key", KEY)
            assert ann.end() == ["hers"]
    assert len(application.questions) == 1


class Address:
    def __init__(self, server):
        self.url = f"lw://127.0.0.1:{server.tcp_port}"


def test_the_c_library_goes_on_as_the_user_of_its_token(issued):
    def come(user, **options):
        return Driver(C, f"tcp://127.0.0.1:{issued.tcp_port}", {}, token=token(user), session=True, backOff=SOON, **options)
    with come("ann-c", device="phone") as ann:
        ann.until(lambda: ann.of("ticket"), "no ticket")
        ticket = ann.of("ticket")[-1]["ticket"]
    run(issued, "pub", "user:ann-c", "not his", "--key", KEY)
    with come("bob-c", ticket=ticket) as bob:
        bob.until(lambda: bob.of("connected"), "not connected")
        run(issued, "pub", "user:bob-c", "his", "--key", KEY)
        bob.until_count("user:bob-c", 1)
        assert [event["user"] for event in bob.of("connected")] == ["bob-c"] and bob.messages("user:ann-c") == []
    with come("ann-c", ticket=ticket) as ann:
        ann.until_count("user:ann-c", 1)
        assert ann.of("connected")[0]["device"] == "phone"


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("device", [{}, {"device": "phone"}])
def test_the_javascript_library_goes_on_as_the_user_of_its_token(issued, tmp_path, device):
    """Bob logs in on Ann's device. A message that both may see comes to Bob, although Ann has had it."""
    ann, bob, lobby = (f"{name}-js-{len(device)}" for name in ("ann", "bob", "group:lobby"))

    def come(user):
        return Driver(JAVASCRIPT, issued.url, {}, store_file=tmp_path / "store", transports=["websocket"], session=True, backOff=SOON,
                      tokens={"secret": SECRET, "user": user, "seconds": 600}, **device)

    with contextlib.closing(Api(issued.url, KEY)) as backend:
        for user in (ann, bob):
            assert backend.call("PUT", f"/v1/groups/{lobby.removeprefix('group:')}/members/{user}").status == 200
        his = opened(Ws, issued, token=token(bob), device="phone")["device"] if device else None
        with come(ann) as client:
            client.until(lambda: client.of("connected"), "not connected")
            backend.publish(lobby, b"for both")
            client.until_count(lobby, 1)
            backend.publish(f"user:{ann}", b"hers")
            client.until_count(f"user:{ann}", 1)
        backend.publish(f"user:{ann}", b"not his")
        with come(bob) as client:
            client.until(lambda: any(event.get("user") for event in client.of("connected")), "not connected")
            backend.publish(f"user:{bob}", b"his")
            client.until_count(f"user:{bob}", 1)
            if his:
                client.until_count(lobby, 1)
            assert client.messages(f"user:{ann}") == [] and client.of("error") == []
            assert {event["user"] for event in client.of("connected") if event.get("user")} == {bob}
        with come(ann) as client:
            client.until(lambda: any(event.get("user") for event in client.of("connected")), "not connected")
            if device:
                client.until_count(f"user:{ann}", 1)
                assert client.texts(f"user:{ann}") == ["not his"]
