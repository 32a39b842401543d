"""The tests of publishing, following, sessions and rights once more, over HTTP/2: each request of each test is a stream of one
link, and each WebSocket is an extended CONNECT (RFC 8441). The tests are the same; what speaks for them is h2_gateway.

Left out is what speaks of HTTP/1.1 alone, what other tests show for both, and what takes seconds for reasons that HTTP/2 does not touch."""
import contextlib
import inspect

import pytest

import test_publish
import test_receive
import test_rights
import test_sessions
from h2_gateway import H2Gateway
from longwire_server import Server, is_built
from test_receive import fixture_kind, fixture_long_channel  # noqa: F401 - fixtures of the tests below
from wire import Ws
from test_tls import Certificates, TlsServer

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

LEFT_OUT = {
    "test_curl_without_options",                                    # HTTP/1.1's own
    "test_pipelined_requests_are_answered_in_order",
    "test_keep_alive",
    "test_expect_100_continue",
    "test_chunked_publish",
    "test_chunked_above_the_maximum",
    "test_an_event_id_of_a_megabyte",                               # ends the link: test_h2_floods
    "test_streams_of_http_1_0_are_not_chunked",
    "test_a_poll_of_http_1_0",
    "test_expired_messages_are_gaps_for_readers_and_in_history",    # seconds of waiting
    "test_very_many_waiting",
    "test_a_stream_behind_pipelined_requests",
    "test_polls_aborted_just_before_their_answers",
    "test_readers_that_leave_in_mid_frame",
    "test_a_reader_that_hops_between_transports_misses_nothing",
    "test_heartbeats",
}
MODULES = (test_publish, test_receive, test_sessions, test_rights)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates")).make("local", "DNS:localhost,IP:127.0.0.1")


@contextlib.contextmanager
def served(certificates, how, flags=(), config=""):
    """A server, reached over HTTP/2 alone."""
    if how == "tls":
        with TlsServer(certificates.section("local") + config, flags) as server, \
                H2Gateway(server, certificates.context(), server.https_port) as through:
            yield through
    else:
        with Server(config=config, flags=["--store", "memory", *flags]) as server, H2Gateway(server) as through:
            yield through
    assert not [code for code in through.goaways if code != 0], through.goaways


@pytest.fixture(scope="module")
def server(certificates):
    with served(certificates, "cleartext") as through:
        yield through


@pytest.fixture(scope="module")
def servers(certificates):
    with served(certificates, "cleartext", config=test_rights.NAMESPACES) as open_server, \
            served(certificates, "cleartext", config=test_rights.NAMESPACES + test_rights.KEYS) as locked:
        yield {"open": open_server, "locked": locked}


@pytest.fixture
def phone(server):
    """The native protocol has no HTTP/2."""
    return test_sessions.Device(server, next(test_sessions.names), "phone", Ws)


def is_ours(name, test):
    needs = inspect.signature(test).parameters if inspect.isfunction(test) else ()
    return name.startswith("test_") and name not in LEFT_OUT and ("server" in needs or "servers" in needs)


for module in MODULES:
    globals().update({name: test for name, test in vars(module).items() if is_ours(name, test)})
