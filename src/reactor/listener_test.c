/* Accepting over loopback: ports, what connections inherit, who may share an address, and rest when nothing is left. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/hand_clock.h"
#include "reactor/listener.h"

#include <cmocka.h>

enum { CONNECTIONS_MAX = 300, DEADLINE_S = 280 };

struct rig {
    struct loop loop;
    int         accepted[CONNECTIONS_MAX];
    struct ip_address peer;  /* of the newest */
    size_t      count, turns;
};

static void rig_turn_end(void *ctx)
{
    struct rig *rig = ctx;
    rig->turns++;
    loop_stop(&rig->loop);
}

static const struct loop_hooks rig_hooks = { .turn_end = rig_turn_end };

static void rig_accepted(void *ctx, int fd, const struct ip_address *peer)
{
    struct rig *rig = ctx;
    assert_true(rig->count < CONNECTIONS_MAX);
    rig->accepted[rig->count++] = fd;
    rig->peer = *peer;
}

static int rig_open(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    assert_int_equal(loop_init(&rig->loop, &rig_hooks, rig), RC_OK);
    alarm(DEADLINE_S);  /* a connection that is never accepted is waited for without end */
    *state = rig;
    return 0;
}

static int rig_close(void **state)
{
    struct rig *rig = *state;

    alarm(0);
    for (size_t i = 0; i < rig->count; i++)
        close(rig->accepted[i]);
    loop_fini(&rig->loop);
    free(rig);
    return 0;
}

static void rig_turn(struct rig *rig)
{
    mailbox_ring(&rig->loop.mailbox);  /* so that it never waits */
    loop_run(&rig->loop);
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static enum rc listen_at(struct rig *rig, const void *address, unsigned address_len, bool is_first,
                         struct listener **ret)
{
    return listener_new(&rig->loop, &(struct listener_options){
        .address            = address,
        .address_len        = address_len,
        .address_text       = "the test's",
        .congestion_control = "",
        .backlog            = 512,
        .is_first           = is_first,
        .accepted           = rig_accepted,
        .ctx                = rig,
    }, ret);
}

static enum rc listen_on(struct rig *rig, const struct sockaddr_in *address, bool is_first, struct listener **ret)
{
    return listen_at(rig, address, sizeof *address, is_first, ret);
}

static int connect_to(unsigned port)
{
    struct sockaddr_in address = loopback(port);
    int                fd      = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void a_connection_is_ready_to_use_and_hurries(void **state)
{
    struct rig        *rig     = *state;
    struct sockaddr_in address = loopback(0);
    struct listener   *listener;
    int                no_delay = 0;
    socklen_t          len      = sizeof no_delay;

    assert_int_equal(listen_on(rig, &address, true, &listener), RC_OK);
    assert_int_not_equal(listener_port(listener), 0);
    int client = connect_to(listener_port(listener));
    loop_run(&rig->loop);  /* sleeps until it's there */
    assert_int_equal(rig->count, 1);
    int fd = rig->accepted[0];
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(ip_customer(&rig->peer), UINT64_C(1) << 32 | INADDR_LOOPBACK);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &len), 0);
    assert_true(no_delay);
    close(client);
    listener_free(listener);
    assert_true(counter_get(&rig->loop.turn_count) == 1);
}

/* More than one turn takes: none is forgotten. */
static void many_at_once_are_all_accepted(void **state)
{
    struct rig        *rig     = *state;
    struct sockaddr_in address = loopback(0);
    struct listener   *listener;
    int                clients[CONNECTIONS_MAX];

    assert_int_equal(listen_on(rig, &address, true, &listener), RC_OK);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        clients[i] = connect_to(listener_port(listener));
    rig->turns = 0;
    while (rig->count < CONNECTIONS_MAX)
        loop_run(&rig->loop);
    assert_in_range(rig->turns, 3, 4);  /* 128 a turn */
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        close(clients[i]);
    listener_free(listener);
}

static void an_address_is_one_servers_and_shared_by_its_loops(void **state)
{
    struct rig        *rig     = *state;
    struct sockaddr_in address = loopback(0);
    struct listener   *first, *second, *other = NULL;

    assert_int_equal(listen_on(rig, &address, true, &first), RC_OK);
    address = loopback(listener_port(first));
    assert_int_equal(listen_on(rig, &address, true, &other), RC_BUSY);
    assert_null(other);
    assert_int_equal(listen_on(rig, &address, false, &second), RC_OK);
    assert_int_equal(listener_port(second), listener_port(first));
    listener_free(first);
    listener_free(second);
    assert_int_equal(listen_on(rig, &address, true, &first), RC_OK);
    listener_free(first);

    address.sin_addr.s_addr = inet_addr("192.0.2.1");  /* RFC 5737: nobody's */
    assert_int_equal(listen_on(rig, &address, true, &other), RC_BAD);
    assert_null(other);
    listener_free(NULL);
}

/* `[::]` is every IPv6 address and no IPv4 one, whatever the system's default: for that there is 0.0.0.0. */
static void an_ipv6_address_takes_ipv6_alone(void **state)
{
    struct rig         *rig     = *state;
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
    struct listener    *listener;

    if (listen_at(rig, &address, sizeof address, true, &listener) != RC_OK)
        skip();  /* a machine without IPv6 */
    address.sin6_addr = in6addr_loopback;
    address.sin6_port = htons((uint16_t)listener_port(listener));
    int client = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(client, (struct sockaddr *)&address, sizeof address) != 0) {
        assert_int_equal(errno, EADDRNOTAVAIL);  /* one that has it switched off, as in many containers */
        listener_free(listener);
        close(client);
        skip();
    }
    loop_run(&rig->loop);
    assert_int_equal(rig->count, 1);

    struct sockaddr_in beside   = loopback(listener_port(listener));
    int                stranger = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)connect(stranger, (struct sockaddr *)&beside, sizeof beside);  /* refused, or somebody else's */
    rig_turn(rig);
    assert_int_equal(rig->count, 1);
    listener_free(listener);
    close(stranger);
    close(client);
}

static void without_descriptors_accepting_rests_and_comes_back(void **state)  /* threat 20 */
{
    struct rig        *rig     = *state;
    struct sockaddr_in address = loopback(0);
    struct listener   *listener;
    struct rlimit      before, tight;
    struct epoll_event event;

    assert_int_equal(listen_on(rig, &address, true, &listener), RC_OK);
    int client = connect_to(listener_port(listener));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = (struct rlimit){ (rlim_t)client + 1, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    loop_run(&rig->loop);
    assert_int_equal(rig->count, 0);
    /* It rests: what waits in the queue doesn't wake the loop, until a timer does. */
    assert_int_equal(epoll_wait(rig->loop.epoll, &event, 1, 0), 0);
    assert_int_equal(rig->loop.wheel.count, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    hand_clock_pass(100 + 2 * WHEEL_TICK_MS);
    rig_turn(rig);
    assert_int_equal(rig->loop.wheel.count, 0);
    loop_run(&rig->loop);
    assert_int_equal(rig->count, 1);
    close(client);

    /* Resting when it is freed: no timer is left. */
    client = connect_to(listener_port(listener));
    tight  = (struct rlimit){ (rlim_t)client + 1, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    loop_run(&rig->loop);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rig->loop.wheel.count, 1);
    listener_free(listener);
    assert_int_equal(rig->loop.wheel.count, 0);
    close(client);
}

/* The descriptors that are left are for files: who wants to come in waits in the kernel until one of those who are in has left. */
static void some_descriptors_are_kept_for_others(void **state)  /* threat 20 */
{
    struct rig             *rig     = *state;
    struct sockaddr_in      address = loopback(0);
    struct listener        *listener;
    struct epoll_event      event;
    int                     clients[3];
    const int               free_fd = fcntl(rig->loop.epoll, F_DUPFD_CLOEXEC, 0);
    struct listener_options options = {
        .address = (const struct sockaddr *)&address, .address_len = sizeof address, .address_text = "loopback",
        .congestion_control = "", .backlog = 64, .descriptors_max = free_fd + 4, .is_first = true,
        .accepted = rig_accepted, .ctx = rig,
    };

    close(free_fd);
    assert_int_equal(listener_new(&rig->loop, &options, &listener), RC_OK);
    for (size_t i = 0; i < 3; i++)
        clients[i] = connect_to(listener_port(listener));
    while (rig->count == 0)
        rig_turn(rig);
    assert_true(rig->accepted[0] >= options.descriptors_max);  /* one for each listener may come beyond it */
    assert_int_equal(epoll_wait(rig->loop.epoll, &event, 1, 0), 0);
    for (int rounds = 0; rounds < 3; rounds++) {
        hand_clock_pass(100 + 2 * WHEEL_TICK_MS);
        rig_turn(rig);
        assert_int_equal(rig->count, 1);
        assert_int_equal(rig->loop.wheel.count, 1);
    }
    close(clients[0]);
    hand_clock_pass(100 + 2 * WHEEL_TICK_MS);
    rig_turn(rig);
    rig_turn(rig);
    assert_in_range(rig->count, 2, 3);
    assert_true(rig->accepted[1] < options.descriptors_max);
    listener_free(listener);
    close(clients[1]);
    close(clients[2]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connection_is_ready_to_use_and_hurries),
        TEST(many_at_once_are_all_accepted),
        TEST(an_address_is_one_servers_and_shared_by_its_loops),
        TEST(an_ipv6_address_takes_ipv6_alone),
        TEST(without_descriptors_accepting_rests_and_comes_back),
        TEST(some_descriptors_are_kept_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
