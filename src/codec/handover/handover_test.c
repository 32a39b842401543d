/* What one process tells the next: what was put comes back; each cut and each changed length, each number beyond its bound is
 * refused before anything is gone on with (threat 44). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "codec/handover/handover.h"

#include <cmocka.h>

static struct handover_link sample_link(void)
{
    return (struct handover_link){
        .transport = HANDOVER_WS_BIN, .flags = HANDOVER_HAS_HOLDER | HANDOVER_HAS_DEVICE | HANDOVER_IS_NOTIFY, .key = 7,
        .network = 9, .heard_at = 5000, .asked_at = 4000, .next_ms = 30000, .is_asked = 1, .beats = 12,
        .words = SPAN("half a frame"), .gathered = SPAN("begin"), .gathered_since = 4711, .rest = SPAN("x"),
        .fields = SPAN("Cookie"), .peer = SPAN("192.0.2.7"), .window = 2, .ws = SPAN("state"), .timer_at = 99, .token_set = 12, .boundary = SPAN("b"),
        .user = SPAN("ann"), .device = SPAN("phone"), .generation = 3, .since = 17, .bound_count = 2,
        .holder = { .origin = HANDOVER_ISSUER, .section = SPAN("login"), .print = SPAN("p"), .from = SPAN("user:ann"),
                    .device = SPAN("phone"), .jti = SPAN("j"), .issued_at = 1, .expires_at = 2, .grant_count = 1,
                    .follow_count = 1, .grants = { { SPAN("topic:*"), 3 } } },
        .sub_count = 2,
    };
}

static const struct handover_sub subs[] = {
    { SPAN("topic:a"), 1, 41, 7, HANDOVER_IS_TOLD, 0 }, { SPAN("topic:b"), 2, 0, 0, HANDOVER_IS_SUB_NOTIFY, 12 },
};

static const struct handover_bound bounds[] = {
    { HANDOVER_BOUND, SPAN("group:g"), SPAN("spans") }, { HANDOVER_BOUND_KNOWN, SPAN(""), SPAN("more") },
};

static void put_sample(struct buf *buf)
{
    struct handover_link link = sample_link();
    size_t               at;

    handover_put_loop(buf, &(struct handover_loop){ 42 });
    at = buf->len;
    handover_put_link(buf, &link);
    for (size_t i = 0; i < 2; i++)
        handover_put_sub(buf, &subs[i]);
    for (size_t i = 0; i < 2; i++)
        handover_put_bound(buf, &bounds[i]);
    handover_end_link(buf, at);
    handover_put_http(buf, &(struct handover_http){ 3, 1, SPAN("192.0.2.1"), SPAN("GET /"), SPAN("200") });
    handover_put_store(buf, &(struct handover_store){ 1, 10, 20 });
    handover_put_channel(buf, &(struct handover_channel){ SPAN("ram:x"), 5, 6 });
    handover_put_message(buf, &(struct handover_message){ 0, 7, 8, 0, 9, 0, SPAN("hi"), SPAN("text/plain"), SPAN("ann"),
                                                          SPAN("note"), SPAN("k") });
    handover_put_session(buf, &(struct handover_session){ SPAN("ann"), SPAN("phone"), SPAN("mobile"), 3, 17, 18, 1,
                                                          HANDOVER_IS_SEEN_DIRTY });
    handover_put_place(buf, &(struct handover_place){ SPAN("user:ann"), 7, 40, HANDOVER_PLACE_DIRTY });
    handover_put_presence(buf, &(struct handover_presence){ SPAN("room:x"), 1 });
    handover_put_member(buf, &(struct handover_member){ SPAN("ann"), SPAN("phone"), SPAN("sse"), 44 });
    handover_put_end(buf, 10);
}

static struct span next_body(struct span *bytes, enum handover_kind wanted)
{
    enum handover_kind kind;
    struct span        body;

    assert_true(handover_next(bytes, &kind, &body));
    assert_int_equal(kind, wanted);
    return body;
}

static void assert_span(struct span got, const char *wanted)
{
    assert_true(span_eq(got, span_str(wanted)));
}

static void check_link(struct span body)
{
    static struct handover_link link;
    struct handover_sub         sub;
    struct handover_bound       bound;

    assert_true(handover_get_link(&body, &link));
    assert_int_equal(link.transport, HANDOVER_WS_BIN);
    assert_int_equal(link.next_ms, 30000);
    assert_span(link.words, "half a frame");
    assert_span(link.ws, "state");
    assert_span(link.device, "phone");
    assert_int_equal(link.generation, 3);
    assert_span(link.holder.from, "user:ann");
    assert_span(link.holder.grants[0].match, "topic:*");
    assert_int_equal(link.sub_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(handover_get_sub(&body, &sub));
        assert_true(span_eq(sub.channel, subs[i].channel));
        assert_int_equal(sub.seq, subs[i].seq);
        assert_int_equal(sub.flags, subs[i].flags);
        assert_int_equal(sub.quiet, subs[i].quiet);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_true(handover_get_bound(&body, &bound) && bound.kind == bounds[i].kind);
        assert_true(span_eq(bound.channel, bounds[i].channel) && span_eq(bound.spans, bounds[i].spans));
    }
    assert_int_equal(body.len, 0);
}

static void what_was_put_comes_back(void **state)
{
    struct buf              buf;
    struct handover_http    http;
    struct handover_loop    loop;
    struct handover_store   store;
    struct handover_channel channel;
    struct handover_message message;
    struct handover_session session;
    struct handover_place   place;
    struct handover_presence presence;
    struct handover_member  member;
    size_t                  sockets = 0;

    (void)state;
    buf_init(&buf, 65536);
    put_sample(&buf);
    struct span bytes = buf_span(&buf);
    assert_true(handover_check(bytes, &sockets));
    assert_int_equal(sockets, 2);
    assert_true(handover_get_loop(next_body(&bytes, HANDOVER_LOOP), &loop) && loop.key_number == 42);
    check_link(next_body(&bytes, HANDOVER_LINK));
    assert_true(handover_get_http(next_body(&bytes, HANDOVER_HTTP), &http) && http.served == 3 && http.flags == 1);
    assert_span(http.in, "GET /");
    assert_true(handover_get_store(next_body(&bytes, HANDOVER_STORE), &store) && store.id_next == 20);
    assert_true(handover_get_channel(next_body(&bytes, HANDOVER_CHANNEL), &channel) && channel.head == 6);
    assert_true(handover_get_message(next_body(&bytes, HANDOVER_MESSAGE), &message) && message.seq == 7);
    assert_span(message.collapse_key, "k");
    assert_true(handover_get_session(next_body(&bytes, HANDOVER_SESSION), &session) && session.generation == 3);
    assert_true(session.seen == 18 && session.flags == HANDOVER_IS_SEEN_DIRTY && session.from_back == 1);
    assert_span(session.device_class, "mobile");
    assert_true(handover_get_place(next_body(&bytes, HANDOVER_PLACE), &place) && place.seq == 40);
    assert_span(place.channel, "user:ann");
    assert_true(handover_get_presence(next_body(&bytes, HANDOVER_PRESENCE), &presence) && presence.is_over == 1);
    assert_true(handover_get_member(next_body(&bytes, HANDOVER_MEMBER), &member) && member.since == 44);
    assert_span(member.transport, "sse");
    buf_fini(&buf);
}

static void no_part_passes_for_the_whole(void **state)
{
    struct buf buf;
    size_t     sockets;

    (void)state;
    buf_init(&buf, 65536);
    put_sample(&buf);
    for (size_t len = 0; len < buf.len; len++) {
        char *part = malloc(len + 1);  /* so that a read behind it is found */
        memcpy(part, buf.at, len);
        assert_false(handover_check(span_of(part, len), &sockets));
        free(part);
    }
    buf_putc(&buf, 0);
    assert_false(handover_check(buf_span(&buf), &sockets));
    buf_fini(&buf);
}

/* Whatever byte changes: it is refused, or it is another state that is as whole. Nothing is read outside. */
static void a_changed_byte_hurts_nobody(void **state)
{
    struct buf buf;
    size_t     sockets, refused = 0;

    (void)state;
    buf_init(&buf, 65536);
    put_sample(&buf);
    for (size_t at = 0; at < buf.len; at++)
        for (int bit = 0; bit < 8; bit++) {
            buf.at[at] = (char)(buf.at[at] ^ 1 << bit);
            refused += !handover_check(buf_span(&buf), &sockets);
            buf.at[at] = (char)(buf.at[at] ^ 1 << bit);
        }
    assert_true(refused > buf.len);
    buf_fini(&buf);
}

static void one_count_too_many_is_refused(void **state)
{
    struct buf buf;
    size_t     sockets;

    (void)state;
    buf_init(&buf, 65536);
    handover_put_loop(&buf, &(struct handover_loop){ 1 });
    handover_put_end(&buf, 2);
    assert_false(handover_check(buf_span(&buf), &sockets));
    buf_fini(&buf);
}

static void put_link_with_key(struct buf *buf, uint64_t key)
{
    size_t at = buf->len;

    handover_put_link(buf, &(struct handover_link){ .key = key });
    handover_end_link(buf, at);
}

/* Links of two loops, too. */
static void a_key_is_of_one_link(void **state)
{
    static const struct { const char *name; uint64_t keys[3]; bool differ; } rows[] = {
        { "all differ", { 1, 2, 3 }, true }, { "twice in a loop", { 5, 5, 6 }, false },
        { "in two loops", { 7, 8, 7 }, false }, { "none", { 0, 1, 2 }, false },
    };
    struct buf bufs[2];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_init(&bufs[0], 4096);
        buf_init(&bufs[1], 4096);
        put_link_with_key(&bufs[0], rows[i].keys[0]);
        put_link_with_key(&bufs[0], rows[i].keys[1]);
        put_link_with_key(&bufs[1], rows[i].keys[2]);
        const struct span parts[] = { buf_span(&bufs[0]), buf_span(&bufs[1]) };
        if (handover_keys_differ(parts, 2) != rows[i].differ)
            fail_msg("%s", rows[i].name);
        buf_fini(&bufs[0]);
        buf_fini(&bufs[1]);
    }
    assert_true(handover_keys_differ(NULL, 0));
}

static void numbers_have_bounds(void **state)
{
    static const struct { const char *name; size_t at; char byte; } rows[] = {
        { "transport", 0, HANDOVER_TRANSPORTS }, { "flags", 2, (char)0x80 }, { "asked_at", 24, (char)0x80 },
        { "is_asked", 29, 2 }, { "beats", 30, 32 },
    };
    static struct handover_link link;
    struct buf                  buf;

    (void)state;
    buf_init(&buf, 65536);
    link = sample_link();
    handover_put_link(&buf, &link);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char       *byte   = buf.at + HANDOVER_RECORD_HEAD + rows[i].at;
        char        before = *byte;
        struct span body   = span_skip(buf_span(&buf), HANDOVER_RECORD_HEAD);
        *byte              = rows[i].byte;
        if (handover_get_link(&body, &link))
            fail_msg("%s", rows[i].name);
        *byte = before;
    }
    buf_fini(&buf);
}

/* Whoever speaks another version says so in a form that each version reads. */
static void a_hello_of_another_version_is_read_as_far_as_that(void **state)
{
    struct handover_hello hello = { HANDOVER_VERSION, 2, SPAN("0.1"), SPAN("data") }, got;
    struct buf            buf;

    (void)state;
    buf_init(&buf, 65536);
    handover_put_hello(&buf, &hello);
    struct span bytes = buf_span(&buf), body = next_body(&bytes, HANDOVER_HELLO);
    assert_true(handover_get_hello(body, &got) && got.loops == 2);
    assert_span(got.data, "data");
    buf.at[HANDOVER_RECORD_HEAD] = HANDOVER_VERSION + 1;
    assert_true(handover_get_hello(body, &got) && got.version == HANDOVER_VERSION + 1);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_comes_back),
        cmocka_unit_test(no_part_passes_for_the_whole),
        cmocka_unit_test(a_changed_byte_hurts_nobody),
        cmocka_unit_test(one_count_too_many_is_refused),
        cmocka_unit_test(a_key_is_of_one_link),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(a_hello_of_another_version_is_read_as_far_as_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
