/* Streams over socket pairs in a real loop: edges, ends, short writes, and closing at awkward moments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "reactor/loop.h"
#include "reactor/stream_battery.h"
#include "reactor/stream_tcp.h"

#include <cmocka.h>

enum { PEERS = 3, BIG_BYTES = 1024 * 1024 };

struct peer {
    struct stream *stream;       /* NULL: closed */
    int            far;          /* the other end, the test's */
    struct buf     got;
    size_t         readable, writable;  /* calls */
    ssize_t        last;         /* what the last read said */
    size_t         piece;        /* bytes a read, then "more"; 0: reads till there is nothing more */
    struct peer   *victim;       /* to close when readable */
};

struct rig {
    struct loop loop;
    struct peer peers[PEERS];
};

static void peer_close(struct peer *peer)
{
    stream_close(peer->stream);
    peer->stream = NULL;
}

static void peer_on_readable(struct stream *stream, void *owner)
{
    struct peer *peer = owner;
    char         scratch[1000];

    assert_ptr_equal(peer->stream, stream);
    peer->readable++;
    if (peer->victim != NULL) {
        peer_close(peer->victim);
        if (peer->victim == peer)
            return;
    }
    size_t len = peer->piece != 0 ? peer->piece : sizeof scratch;
    while ((peer->last = stream_read(stream, scratch, len)) > 0) {
        buf_put(&peer->got, span_of(scratch, (size_t)peer->last));
        if (peer->piece != 0) {
            stream_more(stream);
            return;
        }
        if (stream_is_drained(stream, (size_t)peer->last, len))
            return;
    }
}

static void peer_on_writable(struct stream *stream, void *owner)
{
    struct peer *peer = owner;
    assert_ptr_equal(peer->stream, stream);
    peer->writable++;
}

static const struct stream_events peer_events = {
    .on_readable = peer_on_readable, .on_writable = peer_on_writable,
};

static void rig_turn_end(void *ctx)
{
    struct rig *rig = ctx;
    loop_stop(&rig->loop);
}

static const struct loop_hooks rig_hooks = { .turn_end = rig_turn_end };

static void rig_turn(struct rig *rig)
{
    mailbox_ring(&rig->loop.mailbox);  /* so that it never waits */
    loop_run(&rig->loop);
}

static void peer_open(struct rig *rig, struct peer *peer)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    *peer = (struct peer){ .far = ends[0], .last = STREAM_LATER };
    buf_init(&peer->got, SIZE_MAX / 2);
    assert_int_equal(stream_tcp_new(&rig->loop, ends[1], &peer->stream), RC_OK);
    stream_start(peer->stream, &peer_events, peer);
}

static int rig_open(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    assert_int_equal(loop_init(&rig->loop, &rig_hooks, rig), RC_OK);
    for (size_t i = 0; i < PEERS; i++)
        peer_open(rig, &rig->peers[i]);
    rig_turn(rig);  /* the edges of new sockets: there is room to write */
    *state = rig;
    return 0;
}

static int rig_close(void **state)
{
    struct rig *rig = *state;

    for (size_t i = 0; i < PEERS; i++) {
        peer_close(&rig->peers[i]);
        close(rig->peers[i].far);
        buf_fini(&rig->peers[i].got);
    }
    rig_turn(rig);
    rig_turn(rig);
    bool is_clean = rig->loop.tcp.pool.count == 0 && rig->loop.again == NULL && rig->loop.closed == NULL;
    loop_fini(&rig->loop);
    free(rig);
    return is_clean ? 0 : -1;
}

static void far_say(struct peer *peer, const char *text)
{
    assert_int_equal(send(peer->far, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect_got(struct peer *peer, const char *want)
{
    assert_true(span_eq(buf_span(&peer->got), span_str(want)));
}

static void what_is_left_unread_is_told_again_if_asked_for(void **state)
{
    struct rig  *rig  = *state;
    struct peer *peer = &rig->peers[0];

    peer->piece = 1;
    far_say(peer, "abc");
    for (int i = 0; i < 4; i++)
        rig_turn(rig);
    expect_got(peer, "abc");
    assert_int_equal(peer->last, STREAM_LATER);
    assert_null(rig->loop.again);

    /* And nobody is called who has nothing. */
    size_t calls = peer->readable;
    rig_turn(rig);
    assert_int_equal(peer->readable, calls);
}

static void an_end_is_seen_whenever_it_comes(void **state)
{
    struct rig *rig = *state;

    far_say(&rig->peers[0], "with its bytes");
    shutdown(rig->peers[0].far, SHUT_WR);
    far_say(&rig->peers[1], "after its bytes");
    rig_turn(rig);
    expect_got(&rig->peers[0], "with its bytes");
    assert_int_equal(rig->peers[0].last, 0);
    assert_true(rig->peers[1].last > 0);  /* drained: the read that would say "later" is saved */
    close(rig->peers[1].far);
    rig_turn(rig);
    assert_int_equal(rig->peers[1].last, 0);
    rig->peers[1].far = -1;
}

static size_t far_take(struct peer *peer, char *into, size_t len)
{
    size_t  total = 0;
    ssize_t got;

    while (total < len && (got = recv(peer->far, into + total, len - total, 0)) > 0)
        total += (size_t)got;
    return total;
}

static void a_short_write_is_told_when_there_is_room_and_only_then(void **state)  /* threat 34 */
{
    struct rig  *rig  = *state;
    struct peer *peer = &rig->peers[0];
    char        *big  = malloc(BIG_BYTES), *back = malloc(BIG_BYTES);
    size_t       put  = 0, got = 0;

    for (size_t i = 0; i < BIG_BYTES; i++)
        big[i] = (char)(i * 31 >> 3);
    while (put < BIG_BYTES) {
        size_t calls = peer->writable;
        put += (size_t)stream_write(peer->stream, span_of(big + put, BIG_BYTES - put));
        assert_int_equal(peer->stream->is_full, put < BIG_BYTES);
        rig_turn(rig);
        assert_int_equal(peer->writable, calls);  /* nothing was taken yet */
        got += far_take(peer, back + got, BIG_BYTES - got);
        rig_turn(rig);
        assert_int_equal(peer->writable, calls + (put < BIG_BYTES));
        assert_false(peer->stream->is_full);
    }
    assert_true(peer->writable > 0);
    assert_int_equal(got, BIG_BYTES);
    assert_memory_equal(back, big, BIG_BYTES);
    free(big);
    free(back);
}

static void who_is_closed_hears_nothing_more(void **state)  /* threat 77 */
{
    struct rig *rig = *state;

    /* The first that is told closes the other, in whichever order the kernel names them; a third closes itself. */
    rig->peers[0].victim = &rig->peers[1];
    rig->peers[1].victim = &rig->peers[0];
    rig->peers[2].victim = &rig->peers[2];
    for (size_t i = 0; i < PEERS; i++)
        far_say(&rig->peers[i], "x");
    rig_turn(rig);
    rig_turn(rig);
    assert_int_equal(rig->peers[0].readable + rig->peers[1].readable, 1);
    assert_int_equal(rig->peers[2].readable, 1);
    assert_int_equal(rig->loop.tcp.pool.count, 1);
}

/* The same among those who asked to be told again. */
static void who_is_closed_while_waiting_to_be_told_again_hears_nothing_more(void **state)  /* threat 77 */
{
    struct rig *rig = *state;

    for (size_t i = 0; i < PEERS; i++) {
        rig->peers[i].victim = &rig->peers[(i + 1) % PEERS];
        stream_more(rig->peers[i].stream);
        stream_more(rig->peers[i].stream);  /* twice is once */
    }
    rig_turn(rig);
    rig_turn(rig);
    /* 2, asked last, comes first and closes 0; 1 closes 2. */
    size_t calls = 0;
    for (size_t i = 0; i < PEERS; i++)
        calls += rig->peers[i].readable;
    assert_int_equal(calls, 2);
    assert_int_equal(rig->loop.tcp.pool.count, 1);

    /* Between two turns, and asked again after the end. */
    struct stream *stream = rig->peers[1].stream;
    stream_more(stream);
    peer_close(&rig->peers[1]);
    stream_close(stream);
    stream_more(stream);
    rig_turn(rig);
    rig_turn(rig);
    assert_int_equal(rig->loop.tcp.pool.count, 0);
}

static void a_new_owner_is_told_what_the_old_one_left(void **state)
{
    struct rig    *rig    = *state;
    struct peer   *old    = &rig->peers[0], *heir = &rig->peers[1];
    struct stream *stream = old->stream;

    peer_close(heir);
    old->piece = 1;
    far_say(old, "ab");
    rig_turn(rig);
    size_t calls = old->readable;
    stream_hand_over(stream, &peer_events, heir);
    heir->stream = stream;
    old->stream  = NULL;
    size_t had   = old->got.len;
    rig_turn(rig);
    rig_turn(rig);
    assert_int_equal(old->readable, calls);
    assert_int_equal(had + heir->got.len, 2);
    assert_int_equal(heir->last, STREAM_LATER);
}

static void a_link_that_is_gone_is_a_fault_not_a_signal(void **state)  /* threat 24 */
{
    struct rig  *rig  = *state;
    struct peer *peer = &rig->peers[0];

    assert_int_equal(stream_write(peer->stream, SPAN("")), 0);
    assert_int_equal(stream_write(peer->stream, SPAN("unread")), 6);
    close(peer->far);
    peer->far = -1;
    assert_int_equal(stream_write(peer->stream, SPAN("x")), STREAM_FAULT);
    rig_turn(rig);
    assert_true(peer->last == 0 || peer->last == STREAM_FAULT);
}

static void a_peer_is_told_that_nothing_more_comes(void **state)
{
    struct rig  *rig  = *state;
    struct peer *peer = &rig->peers[0];
    char         scratch[8];

    assert_int_equal(stream_write(peer->stream, SPAN("bye")), 3);
    stream_shut(peer->stream);
    assert_int_equal(recv(peer->far, scratch, sizeof scratch, 0), 3);
    assert_int_equal(recv(peer->far, scratch, sizeof scratch, 0), 0);
    far_say(peer, "heard");
    rig_turn(rig);
    expect_got(peer, "heard");
}

static void what_can_not_be_watched_stays_the_callers(void **state)
{
    struct rig    *rig    = *state;
    struct stream *stream = NULL;
    size_t         count  = rig->loop.tcp.pool.count;
    int            plain  = memfd_create("plain", MFD_CLOEXEC);  /* a regular file: epoll(7) takes none */

    assert_int_not_equal(stream_tcp_new(&rig->loop, plain, &stream), RC_OK);
    assert_null(stream);
    assert_int_equal(rig->loop.tcp.pool.count, count);
    assert_int_equal(close(plain), 0);
}

/* --- the battery, over a socket pair ------------------------------------------------------------------------- */

struct far_socket {
    struct loop loop;
    int         fd;
};

static void far_on_turn_end(void *ctx)
{
    struct far_socket *far = ctx;
    loop_stop(&far->loop);
}

static const struct loop_hooks far_hooks = { .turn_end = far_on_turn_end };

static void far_open(struct battery_rig *rig)
{
    struct far_socket *far = calloc(1, sizeof *far);
    int                ends[2];

    assert_int_equal(loop_init(&far->loop, &far_hooks, far), RC_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(stream_tcp_new(&far->loop, ends[1], &rig->stream), RC_OK);
    far->fd      = ends[0];
    rig->far_end = far;
    rig->loop    = &far->loop;
}

static void far_close(struct battery_rig *rig)
{
    struct far_socket *far = rig->far_end;

    if (far->fd >= 0)
        close(far->fd);
    loop_fini(&far->loop);
    free(far);
}

static void far_turn(struct battery_rig *rig)
{
    mailbox_ring(&rig->loop->mailbox);  /* so that it never waits */
    loop_run(rig->loop);
}

static void far_send(struct battery_rig *rig, struct span bytes)
{
    struct far_socket *far = rig->far_end;
    assert_int_equal(send(far->fd, bytes.at, bytes.len, MSG_NOSIGNAL), bytes.len);
}

static void far_end(struct battery_rig *rig)
{
    struct far_socket *far = rig->far_end;
    assert_int_equal(shutdown(far->fd, SHUT_WR), 0);
}

/* Closing with bytes unread resets the link. */
static void far_reset(struct battery_rig *rig)
{
    struct far_socket *far = rig->far_end;

    close(far->fd);
    far->fd = -1;
}

static bool far_take_all(struct battery_rig *rig, struct buf *into)
{
    struct far_socket *far = rig->far_end;
    char               scratch[65536];
    ssize_t            got;

    while ((got = recv(far->fd, scratch, sizeof scratch, 0)) > 0)
        buf_put(into, span_of(scratch, (size_t)got));
    return got == 0;
}

static const struct battery_far socket_far = {
    .name = "stream_tcp", .open = far_open, .close = far_close, .turn = far_turn, .send = far_send, .end = far_end,
    .reset = far_reset, .take = far_take_all,
};

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_left_unread_is_told_again_if_asked_for),
        TEST(an_end_is_seen_whenever_it_comes),
        TEST(a_short_write_is_told_when_there_is_room_and_only_then),
        TEST(who_is_closed_hears_nothing_more),
        TEST(who_is_closed_while_waiting_to_be_told_again_hears_nothing_more),
        TEST(a_new_owner_is_told_what_the_old_one_left),
        TEST(a_link_that_is_gone_is_a_fault_not_a_signal),
        TEST(a_peer_is_told_that_nothing_more_comes),
        TEST(what_can_not_be_watched_stays_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) + stream_battery_run(&socket_far);
}
