"""Some of the tests of test_h2_services once more, over TLS: what follows, in every way, and sessions."""
import pytest

import test_receive
import test_sessions
from longwire_server import is_built
from test_h2_services import certificates, served  # noqa: F401 - a fixture
from test_receive import fixture_kind  # noqa: F401
from wire import Ws

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

NAMES = ("test_places_in_the_query", "test_ways_to_hand_a_cursor_in", "test_a_hundred_channels", "test_a_recall_comes_in_its_order",
         "test_empty_and_largest_messages", "test_it_comes_back_and_gets_what_it_missed", "test_the_newer_link_fences_the_older",
         "test_a_session_over_http", "test_a_device_moves_between_transports")


@pytest.fixture(scope="module")
def server(certificates):  # noqa: F811
    with served(certificates, "tls") as through:
        yield through


@pytest.fixture
def phone(server):
    """The native protocol has no HTTP/2."""
    return test_sessions.Device(server, next(test_sessions.names), "phone", Ws)


for module in (test_receive, test_sessions):
    globals().update({name: test for name, test in vars(module).items() if name in NAMES})
