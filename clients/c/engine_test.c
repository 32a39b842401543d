/* engine_test.c - the client as a machine, against a server that the test plays: what it says, and what it is told. */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/laws.h"
#include "message/place_digest.h"

enum { EPOCH = 0xe1, OTHER_EPOCH = 0xe2 };

/* One client, and all that its callbacks were told, a line each. */
struct stage {
    struct inbox      inbox;
    struct engine     engine;
    struct buf        told;
    msec              now;
    struct lw_options options;
    char              said[64 * 1024];  /* what it sent, a line a frame */
};

/* --- what the application is told ---------------------------------------------------------------------------------- */

static void on_message(void *arg, const struct lw_message *message)
{
    struct stage *stage = arg;
    static const char *const kinds[] = { "message", "recall", "recalled" };

    assert_int_equal(((const char *)message->data)[message->data_len], 0);
    buf_putf(&stage->told, "%s %s %llu \"%.*s\" %s\n", kinds[message->kind], message->channel,
             (unsigned long long)message->seq, (int)message->data_len, (const char *)message->data,
             message->from == NULL ? "-" : message->from);
}

static void on_gap(void *arg, const struct lw_gap *gap)
{
    struct stage *stage = arg;

    buf_putf(&stage->told, "gap %s %llu-%llu why %d\n", gap->channel, (unsigned long long)gap->from,
             (unsigned long long)gap->to, (int)gap->why);
}

static void on_state(void *arg, const struct lw_status *status)
{
    struct stage *stage = arg;

    switch (status->state) {
    case LW_CONNECTING: buf_putf(&stage->told, "connecting %s\n", status->server); break;
    case LW_CONNECTED:
        buf_putf(&stage->told, "connected%s%s%s%s\n", status->is_unfenced ? " unfenced" : "", status->is_resumed ? " resumed" : "",
                 status->user ? " as " : "", status->user ? status->user : "");
        break;
    case LW_WAITING: buf_putf(&stage->told, "waiting %u %s\n", status->code, status->reason); break;
    case LW_ENDED: buf_putf(&stage->told, "ended %u %s\n", status->code, status->reason); break;
    }
}

static void on_subscription(void *arg, const struct lw_subscription *subscription)
{
    struct stage *stage = arg;

    if (subscription->is_followed)
        buf_putf(&stage->told, "followed %s %llu\n", subscription->channel, (unsigned long long)subscription->head);
    else
        buf_putf(&stage->told, "not followed %s %u %s\n", subscription->channel, subscription->code,
                 subscription->reason == NULL ? "-" : subscription->reason);
}

static void on_control(void *arg, const struct lw_control *control)
{
    struct stage *stage = arg;

    buf_putf(&stage->told, "control %s %s %d %llu\n", control->type, control->channel == NULL ? "-" : control->channel,
             control->has_joined, (unsigned long long)control->seq);
}

static void on_notify(void *arg, const char *channel, uint64_t epoch, uint64_t head)
{
    struct stage *stage = arg;

    assert_int_equal(epoch, EPOCH);
    buf_putf(&stage->told, "notify %s %llu\n", channel, (unsigned long long)head);
}

static void on_presence(void *arg, const struct lw_presence *presence)
{
    static const char *const kinds[] = { "joined", "left", "present" };
    struct stage            *stage   = arg;

    buf_putf(&stage->told, "%s %s %s/%s %llu\n", kinds[presence->kind], presence->channel,
             presence->user == NULL ? "-" : presence->user, presence->device == NULL ? "-" : presence->device,
             (unsigned long long)presence->count);
}

static void on_token(void *arg, unsigned in_s)
{
    buf_putf(&((struct stage *)arg)->told, "token wanted %u\n", in_s);
}

static void on_ticket(void *arg, const char *ticket)
{
    buf_putf(&((struct stage *)arg)->told, "ticket %s\n", ticket == NULL ? "-" : ticket);
}

static void on_snapshot(void *arg, const char *channel)
{
    buf_putf(&((struct stage *)arg)->told, "snapshot %s\n", channel);
}

static void on_published(void *arg, const struct lw_published *published)
{
    struct stage *stage = arg;

    buf_putf(&stage->told, "published %s %u %llu%s\n", published->channel, published->code,
             (unsigned long long)published->seq, published->is_replayed ? " replayed" : "");
}

static void expect_told(struct stage *stage, const char *want)
{
    buf_putc(&stage->told, '\0');
    assert_string_equal(stage->told.at, want);
    buf_clear(&stage->told);
}

/* --- what it sends ----------------------------------------------------------------------------------------------------- */

static size_t describe(const struct bin_frame *frame, char *at, size_t max)
{
    static const struct { enum bin_type type; const char *name; } names[] = {
        { BIN_CONNECT, "connect" }, { BIN_SUBSCRIBE, "subscribe" }, { BIN_UNSUBSCRIBE, "unsubscribe" },
        { BIN_PUBLISH, "publish" }, { BIN_ACK, "ack" }, { BIN_READ, "read" }, { BIN_PING, "ping" }, { BIN_PONG, "pong" },
        { BIN_REQUEST, "request" }, { BIN_CANCEL, "cancel" },
    };
    static const struct { enum bin_field field; const char *name; } texts[] = {
        { BIN_TOKEN, "token" }, { BIN_TICKET, "ticket" }, { BIN_USER, "user" }, { BIN_DEVICE, "device" }, { BIN_CLASS, "class" },
        { BIN_CHANNEL, "" }, { BIN_EVENT, "event" }, { BIN_COLLAPSE, "collapse" },
        { BIN_REQUEST_ID, "request" }, { BIN_METHOD, "method" }, { BIN_PATH, "path" },
    };
    static const struct { enum bin_field field; const char *name; } numbers[] = {
        { BIN_AFTER, "after" }, { BIN_EPOCH, "epoch" }, { BIN_LAST, "last" }, { BIN_SEQ, "seq" },
        { BIN_NEXT_MS, "next" }, { BIN_TTL, "ttl" }, { BIN_PRIORITY, "priority" }, { BIN_TIMEOUT_MS, "timeout" },
    };
    int len = 0;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].type == frame->type)
            len += snprintf(at, max, "%s", names[i].name);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (bin_has(frame, texts[i].field))
            len += snprintf(at + len, max - (size_t)len, " %s%s%.*s", texts[i].name, *texts[i].name ? "=" : "",
                            SPAN_ARG(bin_bytes(frame, texts[i].field)));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (bin_has(frame, numbers[i].field))
            len += snprintf(at + len, max - (size_t)len, " %s=%llu", numbers[i].name,
                            (unsigned long long)bin_number(frame, numbers[i].field));
    if (bin_number(frame, BIN_HEARTBEAT) > 0)
        len += snprintf(at + len, max - (size_t)len, " heartbeat=%llu", (unsigned long long)bin_number(frame, BIN_HEARTBEAT));
    if (frame->payload.len > 0)
        len += snprintf(at + len, max - (size_t)len, " \"%.*s\"", SPAN_ARG(frame->payload));
    if (bin_has(frame, BIN_HEADERS))
        len += snprintf(at + len, max - (size_t)len, " headers=%zu", bin_bytes(frame, BIN_HEADERS).len);
    if (bin_has(frame, BIN_PRESENCE))
        len += snprintf(at + len, max - (size_t)len, " presence");
    if (bin_has(frame, BIN_STANDING))
        len += snprintf(at + len, max - (size_t)len, " session");
    if (bin_has(frame, BIN_PLACES))
        len += snprintf(at + len, max - (size_t)len, " places");
    len += snprintf(at + len, max - (size_t)len, "\n");
    return (size_t)len;
}

/* The last frame that it sent; all of them are described in stage->said. */
static struct bin_frame take_sent(struct stage *stage)
{
    struct span      rest = buf_span(&stage->engine.out), bytes;
    struct bin_frame frame;
    struct bin_fault fault;
    const char      *reason;
    size_t           used, len = 0;

    stage->said[0] = '\0';
    bin_init(&frame, BIN_PONG);
    while (rest.len > 0) {
        assert_int_equal(bin_split(rest, UINT32_MAX, &bytes, &used, &fault), BIN_SPLIT_FRAME);
        assert_int_equal(bin_read(bytes, BIN_CLIENT, &frame, &reason), BIN_OK);
        len += describe(&frame, stage->said + len, sizeof stage->said - len);
        rest = span_skip(rest, used);
    }
    return frame;
}

static void sent(struct stage *stage)
{
    engine_sent(&stage->engine, stage->engine.out.len, stage->now);
}

/* Returns the ref of the last frame. */
static uint64_t expect_sent(struct stage *stage, const char *want)
{
    struct bin_frame frame = take_sent(stage);
    uint64_t         ref   = bin_number(&frame, BIN_REF);

    assert_string_equal(stage->said, want);
    sent(stage);
    return ref;
}

/* --- what the server says --------------------------------------------------------------------------------------------- */

/* NULL ends the fields: number pairs. */
struct set { enum bin_field field; uint64_t number; const char *text; };
#define FRAME(type, ...) frame_put(wire, type, "", (const struct set[]){ __VA_ARGS__, { 0 } })
static const struct set nothing[] = { { 0 } };
#define N(field, number) { field, number, NULL }
#define T(field, text) { field, 0, text }

static void frame_put(struct buf *wire, enum bin_type type, const char *payload, const struct set *set)
{
    struct bin_frame frame;

    bin_init(&frame, type);
    for (; set->field != 0; set++)
        if (set->text != NULL)
            bin_set_bytes(&frame, set->field, span_str(set->text));
        else
            bin_set_number(&frame, set->field, set->number);
    frame.payload = span_str(payload);
    bin_put(wire, BIN_SERVER, &frame);
}

static void message_put(struct buf *wire, const char *channel, uint64_t epoch, uint64_t seq, const char *data)
{
    frame_put(wire, BIN_FULL, data, (const struct set[]){
        T(BIN_CHANNEL, channel), N(BIN_EPOCH, epoch), N(BIN_SEQ, seq), N(BIN_ID, seq + 100), N(BIN_TIME, 5),
        T(BIN_FROM, "bob"), T(BIN_MEDIA, "text/plain"), { 0 } });
}

static void gap_put(struct buf *wire, uint64_t epoch, uint64_t from, uint64_t to, enum lw_gap_why why)
{
    FRAME(BIN_GAP, T(BIN_CHANNEL, "topic:a"), N(BIN_EPOCH, epoch), N(BIN_GAP_FROM, from), N(BIN_GAP_TO, to), N(BIN_WHY, why));
}

static void play(struct stage *stage, struct buf *wire)
{
    engine_feed(&stage->engine, buf_span(wire), stage->now);
    engine_turn(&stage->engine, stage->now);
    buf_fini(wire);
}

#define SERVER(stage, ...)                    \
    do {                                      \
        struct buf row, *wire = &row;         \
        buf_init(wire, SIZE_MAX / 2);         \
        __VA_ARGS__;                          \
        play(stage, wire);                    \
    } while (0)

/* --- orders -------------------------------------------------------------------------------------------------------------- */

static void order(struct stage *stage, struct order *order)
{
    struct list orders, *link;

    assert_int_equal(inbox_put(&stage->inbox, &order), LW_OK);
    inbox_take(&stage->inbox, &orders);
    while ((link = list_pop(&orders)) != NULL)
        engine_order(&stage->engine, container_of(link, struct order, link), stage->now);
    engine_turn(&stage->engine, stage->now);
}

static void subscribe(struct stage *stage, const char *channel, struct lw_subscribe how)
{
    struct order *new = order_new(ORDER_SUBSCRIBE, channel);

    new->subscribe = how;
    order(stage, new);
}

static void publish(struct stage *stage, const char *channel, const char *data)
{
    struct order *new = order_new(ORDER_PUBLISH, NULL);

    new->outgoing = outgoing_new(&(struct lw_publish){ .channel = channel, .data = data, .data_len = strlen(data) },
                                 "made", on_published, stage);
    assert_non_null(new->outgoing);
    order(stage, new);
}

static void mark(struct stage *stage, enum order_kind kind, const char *channel, uint64_t epoch, uint64_t seq)
{
    struct order *new = order_new(kind, channel);

    new->epoch = epoch;
    new->seq   = seq;
    order(stage, new);
}

static void pass(struct stage *stage, msec ms)
{
    stage->now += ms;
    engine_turn(&stage->engine, stage->now);
}

/* --- beginnings ------------------------------------------------------------------------------------------------------------- */

static const struct lw_callbacks callbacks = {
    .message = on_message, .gap = on_gap, .state = on_state, .subscription = on_subscription, .control = on_control,
    .notify = on_notify, .presence = on_presence, .ticket = on_ticket, .snapshot = on_snapshot,
};

static void stage_begin(struct stage *stage, struct lw_options options)
{
    stage->now     = 1000;
    options.on     = callbacks;
    options.arg    = stage;
    if (options.servers == NULL)
        options.servers = "tcp://a:1";
    buf_init(&stage->told, SIZE_MAX / 2);
    assert_true(inbox_init(&stage->inbox, 100, 1 << 20));
    assert_null(engine_init(&stage->engine, &options, &stage->inbox, 1));
}

static void stage_end(struct stage *stage)
{
    engine_fini(&stage->engine);
    inbox_fini(&stage->inbox);
    buf_fini(&stage->told);
}

/* The link is there, and `connect` is sent. */
static void open_link(struct stage *stage)
{
    engine_turn(&stage->engine, stage->now);
    assert_true(engine_wants_link(&stage->engine));
    engine_opened(&stage->engine, stage->now);
}

static void connected_put(struct buf *wire)
{
    FRAME(BIN_CONNECT, N(BIN_CONNECTION, 7), N(BIN_HEARTBEAT, 100), N(BIN_FRAME_BYTES, 100000), N(BIN_VERSION_NO, 1));
}

static void session_put(struct buf *wire, uint64_t generation, bool is_resumed)
{
    FRAME(BIN_CONNECT, N(BIN_CONNECTION, 7), N(BIN_HEARTBEAT, 100), N(BIN_GENERATION, generation), T(BIN_USER, "ann"),
          T(BIN_DEVICE, "phone"), T(BIN_TICKET, generation == 1 ? "t1" : "t2"), N(BIN_FRAME_BYTES, 100000),
          { is_resumed ? BIN_RESUMED : BIN_VERSION_NO, 1, NULL });
}

static void forget(struct stage *stage)
{
    buf_clear(&stage->told);
    sent(stage);
}

/* Connected, without a session. */
static void go_up(struct stage *stage)
{
    open_link(stage);
    sent(stage);
    SERVER(stage, connected_put(wire));
    forget(stage);
}

static void go_up_with_session(struct stage *stage, uint64_t generation)
{
    open_link(stage);
    sent(stage);
    SERVER(stage, session_put(wire, generation, generation > 1));
    forget(stage);
}

static void lose(struct stage *stage)
{
    engine_lost(&stage->engine, "cut", stage->now);
    forget(stage);
    pass(stage, 60 * 1000);
}

/* --- connecting --------------------------------------------------------------------------------------------------------------- */

static void test_connect_says_who_it_is(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){
        .token = "secret", .device = "phone", .device_class = "mobile", .has_session = true, .heartbeat_s = 240 });
    engine_turn(&stage.engine, stage.now);
    expect_told(&stage, "connecting tcp://a:1\n");
    engine_opened(&stage.engine, stage.now);
    assert_true(bin_has(&(struct bin_frame[]){ take_sent(&stage) }[0], BIN_HEARTBEAT));
    expect_sent(&stage, "connect token=secret device=phone class=mobile heartbeat=240 session\n");
    SERVER(&stage, session_put(wire, 1, false));
    expect_told(&stage, "ticket t1\nconnected as ann\n");
    stage_end(&stage);
}

static void test_a_ticket_comes_before_the_token(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .token = "secret", .ticket = "old", .has_session = true });
    open_link(&stage);
    expect_sent(&stage, "connect token=secret ticket=old session\n");  /* it may be another user's */
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 401), T(BIN_REASON, "stale"), N(BIN_REF, 7)));
    expect_told(&stage, "connecting tcp://a:1\nticket -\n");
    expect_sent(&stage, "connect token=secret session\n");
    SERVER(&stage, session_put(wire, 1, false));
    lose(&stage);
    open_link(&stage);
    expect_sent(&stage, "connect ticket=t1 session\n");
    stage_end(&stage);
}

/* It may be of another user. */
static void test_a_new_token_is_shown_beside_the_ticket(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .token = "secret", .has_session = true });
    go_up_with_session(&stage, 1);
    lose(&stage);
    order(&stage, order_new(ORDER_TOKEN, "fresh"));
    open_link(&stage);
    expect_sent(&stage, "connect token=fresh ticket=t1 session\n");
    SERVER(&stage, session_put(wire, 2, true));
    lose(&stage);
    open_link(&stage);
    expect_sent(&stage, "connect ticket=t2 session\n");
    stage_end(&stage);
}

static void test_a_refused_token_ends_or_asks(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .token = "secret" });
    open_link(&stage);
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 401), T(BIN_REASON, "no"), N(BIN_REF, 7)));
    expect_told(&stage, "connecting tcp://a:1\nended 401 no\n");
    assert_int_equal(inbox_put(&stage.inbox, &(struct order *){ NULL }), LW_CLOSED);
    stage_end(&stage);

    stage_begin(&stage, (struct lw_options){ .token = "secret" });
    stage.engine.on.token = on_token;
    open_link(&stage);
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 401), T(BIN_REASON, "no"), N(BIN_REF, 7)));
    expect_told(&stage, "connecting tcp://a:1\ntoken wanted 0\nwaiting 401 no\n");
    order(&stage, order_new(ORDER_TOKEN, "fresh"));
    pass(&stage, 60 * 1000);
    engine_opened(&stage.engine, stage.now);
    expect_sent(&stage, "connect token=fresh\n");
    stage_end(&stage);
}

static void test_a_token_is_renewed_on_the_link(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .token = "secret" });
    stage.engine.on.token = on_token;
    go_up(&stage);
    SERVER(&stage, FRAME(BIN_EXPIRING, N(BIN_IN, 30)));
    expect_told(&stage, "token wanted 30\n");
    order(&stage, order_new(ORDER_TOKEN, "fresh"));
    expect_sent(&stage, "connect token=fresh\n");
    SERVER(&stage, connected_put(wire));
    expect_told(&stage, "");
    stage_end(&stage);
}

/* What ends soon may be told before `connected`. */
static void test_a_token_that_ends_at_once(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .token = "secret", .has_session = true });
    stage.engine.on.token = on_token;
    open_link(&stage);
    expect_sent(&stage, "connect token=secret session\n");
    SERVER(&stage, FRAME(BIN_EXPIRING, N(BIN_IN, 3)));
    expect_told(&stage, "connecting tcp://a:1\ntoken wanted 3\n");
    order(&stage, order_new(ORDER_TOKEN, "fresh"));
    expect_sent(&stage, "");
    SERVER(&stage, session_put(wire, 1, false));
    expect_sent(&stage, "connect token=fresh\n");
    stage_end(&stage);
}

/* --- coming back --------------------------------------------------------------------------------------------------------------- */

static void test_back_off_is_as_the_server_says(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    open_link(&stage);
    SERVER(&stage, FRAME(BIN_CONNECT, N(BIN_CONNECTION, 7), N(BIN_BASE_MS, 1000), N(BIN_FACTOR, 300), N(BIN_CAP_MS, 5000),
                         N(BIN_JITTER, 0)));
    static const msec waits[] = { 1000, 3000, 5000, 5000 };
    for (size_t i = 0; i < 4; i++) {
        engine_lost(&stage.engine, "cut", stage.now);
        assert_int_equal(engine_deadline(&stage.engine), stage.now + waits[i]);
        pass(&stage, waits[i] - 1);
        assert_false(engine_wants_link(&stage.engine));
        pass(&stage, 1);
        assert_true(engine_wants_link(&stage.engine));
    }
    stage_end(&stage);
}

static void test_reconnect_says_when_and_where(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    SERVER(&stage, FRAME(BIN_RECONNECT, N(BIN_AFTER_MS, 7777), T(BIN_WHERE, "tcp://b:2")));
    SERVER(&stage, FRAME(BIN_CLOSING, N(BIN_CODE, 1001), T(BIN_REASON, "stopping")));
    expect_told(&stage, "waiting 1001 stopping\n");
    assert_int_equal(engine_deadline(&stage.engine), stage.now + 7777);
    pass(&stage, 7777);
    expect_told(&stage, "connecting tcp://b:2\n");
    engine_lost(&stage.engine, "refused", stage.now);
    pass(&stage, 60 * 1000);
    expect_told(&stage, "waiting 0 refused\nconnecting tcp://a:1\n");
    stage_end(&stage);
}

static void test_the_next_server_is_tried(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .servers = "a:1, tls://b:2" });
    engine_turn(&stage.engine, stage.now);
    engine_lost(&stage.engine, "refused", stage.now);
    pass(&stage, 0);
    expect_told(&stage, "connecting tcp://a:1\nwaiting 0 refused\nconnecting tls://b:2\n");
    engine_lost(&stage.engine, "refused", stage.now);  /* none is left: now it waits */
    pass(&stage, 0);
    expect_told(&stage, "waiting 0 refused\n");
    pass(&stage, 60 * 1000);
    expect_told(&stage, "connecting tcp://a:1\n");
    stage_end(&stage);
}

/* A client with TLS is not sent where there is none, and one without to no server that needs it. */
static void test_reconnect_keeps_to_tls(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .servers = "tls://a:1" });
    go_up(&stage);
    SERVER(&stage, FRAME(BIN_RECONNECT, N(BIN_AFTER_MS, 1), T(BIN_WHERE, "http://b:1,tcp://b:2, tls://c:3")));
    SERVER(&stage, FRAME(BIN_CLOSING, N(BIN_CODE, 1001), T(BIN_REASON, "stopping")));
    pass(&stage, 1);
    expect_told(&stage, "waiting 1001 stopping\nconnecting tls://c:3\n");
    stage_end(&stage);

    stage_begin(&stage, (struct lw_options){ .servers = "tcp://a:1" });
    go_up(&stage);
    SERVER(&stage, FRAME(BIN_RECONNECT, N(BIN_AFTER_MS, 1), T(BIN_WHERE, "tls://c:3")));
    SERVER(&stage, FRAME(BIN_CLOSING, N(BIN_CODE, 1001), T(BIN_REASON, "stopping")));
    pass(&stage, 1);
    expect_told(&stage, "waiting 1001 stopping\nconnecting tcp://a:1\n");
    stage_end(&stage);
}

/* --- allocate ------------------------------------------------------------------------------------------------------------------ */

static void router_says(struct stage *stage, const char *body)
{
    struct buf answer;

    buf_init(&answer, 4096);
    buf_putf(&answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    engine_feed(&stage->engine, buf_span(&answer), stage->now);
    buf_fini(&answer);
}

static void test_a_router_says_where_to_connect(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .servers = "tcp://a:1", .allocate = "http://r:80", .user = "ann" });
    open_link(&stage);
    assert_true(span_starts(buf_span(&stage.engine.out), SPAN("GET /v1/allocate?user=ann HTTP/1.0\r\nHost: r:80\r\n\r\n")));
    router_says(&stage, "{\"nodes\":[{\"tcp\":\"tcp://b:2\"},{\"tcp\":\"tcp://c:3\"}]}");
    assert_false(engine_wants_link(&stage.engine));
    assert_int_equal(stage.engine.out.len, 0);
    pass(&stage, 0);
    expect_told(&stage, "connecting http://r:80\nconnecting tcp://b:2\n");
    engine_lost(&stage.engine, "refused", stage.now);
    pass(&stage, 60 * 1000);
    engine_lost(&stage.engine, "no route", stage.now);  /* the router is gone: the next one of the list */
    pass(&stage, 0);
    expect_told(&stage, "waiting 0 refused\nconnecting http://r:80\nconnecting tcp://c:3\n");
    stage_end(&stage);
}

static void test_a_router_gives_a_turn(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .servers = "tcp://a:1", .allocate = "http://r:80" });
    open_link(&stage);
    router_says(&stage, "{\"nodes\":[{\"tcp\":\"tcp://b:2\"}],\"wait_ms\":500}");
    assert_int_equal(engine_deadline(&stage.engine), stage.now + 500);
    pass(&stage, 500);
    expect_told(&stage, "connecting http://r:80\n"
                        "waiting 0 very many clients come, and the router has told when it is this one's turn\nconnecting tcp://b:2\n");
    stage_end(&stage);
}

static void test_a_router_that_is_no_router(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .servers = "tcp://a:1", .allocate = "https://r" });
    open_link(&stage);
    router_says(&stage, "<html>");
    pass(&stage, 0);
    expect_told(&stage, "connecting https://r:443\nconnecting tcp://a:1\n");
    stage_end(&stage);

    stage_begin(&stage, (struct lw_options){ .servers = "tcp://a:1", .allocate = "http://r:80" });
    open_link(&stage);
    pass(&stage, ENGINE_ASKING_MS);  /* it says nothing */
    assert_false(engine_wants_link(&stage.engine));
    pass(&stage, 0);
    expect_told(&stage, "connecting http://r:80\nconnecting tcp://a:1\n");
    stage_end(&stage);
}

static void test_a_router_alone(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .servers = "tcp://a:1", .allocate = "http://r:80" });
    stage.engine.servers.count = 0;  /* as without any named */
    open_link(&stage);
    engine_lost(&stage.engine, "refused", stage.now);
    pass(&stage, 60 * 1000);
    expect_told(&stage, "connecting http://r:80\nwaiting 0 the router named no server\nconnecting http://r:80\n");
    engine_opened(&stage.engine, stage.now);
    router_says(&stage, "{\"nodes\":[{\"tcp\":\"tcp://b:2\"}]}");
    pass(&stage, 0);
    expect_told(&stage, "connecting tcp://b:2\n");
    stage_end(&stage);
}

static void test_replaced_and_revoked_are_the_end(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    SERVER(&stage, frame_put(wire, BIN_REPLACED, "", nothing));
    expect_told(&stage, "ended 4001 another link of this device has replaced this one\n");
    stage_end(&stage);

    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    SERVER(&stage, FRAME(BIN_CLOSING, N(BIN_CODE, 4004), T(BIN_REASON, "revoked")));
    expect_told(&stage, "ended 4004 revoked\n");
    stage_end(&stage);
}

/* --- following ------------------------------------------------------------------------------------------------------------------ */

static void followed_put(struct buf *wire, const char *channel, uint64_t head, uint64_t ref)
{
    FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, channel), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, head), N(BIN_REF, ref));
}

/* topic:a is followed, its head is 10. */
static void follow_a(struct stage *stage)
{
    subscribe(stage, "topic:a", (struct lw_subscribe){ 0 });
    uint64_t ref = expect_sent(stage, "subscribe topic:a\n");
    SERVER(stage, followed_put(wire, "topic:a", 10, ref));
    expect_told(stage, "followed topic:a 10\n");
}

static void test_a_place_before_the_first_message(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    follow_a(&stage);
    lose(&stage);
    go_up(&stage);
    lose(&stage);
    engine_opened(&stage.engine, stage.now);
    sent(&stage);
    SERVER(&stage, connected_put(wire));
    expect_sent(&stage, "subscribe topic:a after=10 epoch=225\n");
    stage_end(&stage);
}

static void test_every_seq_once_and_in_order(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    follow_a(&stage);
    SERVER(&stage, message_put(wire, "topic:a", EPOCH, 11, "x"), message_put(wire, "topic:a", EPOCH, 12, "y"),
           message_put(wire, "topic:a", EPOCH, 12, "y"), message_put(wire, "topic:a", EPOCH, 11, "x"),
           message_put(wire, "topic:other", EPOCH, 1, "nobody asked"));
    expect_told(&stage, "message topic:a 11 \"x\" bob\nmessage topic:a 12 \"y\" bob\n");
    SERVER(&stage, message_put(wire, "topic:a", EPOCH, 14, "too early"));
    expect_told(&stage, "waiting 0 the server left out a message; asked again on a new link\n");
    stage_end(&stage);
}

/* The connection's own channel is told without having been asked for, also where there is no session; the next link has another. */
static void test_what_is_published_to_the_connection(void **state)
{
    struct stage stage;

    (void)state;
    for (int has_session = 0; has_session < 2; has_session++) {
        stage_begin(&stage, (struct lw_options){ .has_session = has_session });
        for (uint64_t generation = 1; generation < 3; generation++) {
            if (has_session)
                go_up_with_session(&stage, generation);
            else
                go_up(&stage);
            SERVER(&stage, message_put(wire, "conn:07", EPOCH, 3, "x"), message_put(wire, "conn:07", EPOCH, 4, "y"));
            expect_told(&stage, "message conn:07 3 \"x\" bob\nmessage conn:07 4 \"y\" bob\n");
            lose(&stage);
            assert_null(followed_find(&stage.engine.table, SPAN("conn:07")));
        }
        stage_end(&stage);
    }
}

static void test_gaps(void **state)
{
    static const struct {
        const char     *name;
        uint64_t        epoch, from, to;
        enum lw_gap_why why;
        const char     *told;
        uint64_t        next_epoch, next;  /* the message that is taken afterwards */
    } rows[] = {
        { "trimmed", EPOCH, 11, 15, LW_GAP_TRIMMED, "gap topic:a 11-15 why 1\n", EPOCH, 16 },
        { "told in part before", EPOCH, 5, 15, LW_GAP_EXPIRED, "gap topic:a 11-15 why 0\n", EPOCH, 16 },
        { "told before", EPOCH, 5, 10, LW_GAP_EXPIRED, "", EPOCH, 11 },
        { "a new log", OTHER_EPOCH, 1, 0, LW_GAP_EPOCH, "gap topic:a 1-0 why 2\n", OTHER_EPOCH, 1 },
        { "a new log that is trimmed", OTHER_EPOCH, 1, 4, LW_GAP_EPOCH, "gap topic:a 1-4 why 2\n", OTHER_EPOCH, 5 },
        { "ahead", EPOCH, 8, 10, LW_GAP_AHEAD, "gap topic:a 8-10 why 3\n", EPOCH, 8 },
        { "a reason of later", EPOCH, 11, 11, 77, "gap topic:a 11-11 why 7\n", EPOCH, 12 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        stage_begin(&stage, (struct lw_options){ 0 });
        go_up(&stage);
        follow_a(&stage);
        SERVER(&stage, gap_put(wire, rows[i].epoch, rows[i].from, rows[i].to, rows[i].why));
        print_message("%s\n", rows[i].name);
        expect_told(&stage, rows[i].told);
        SERVER(&stage, message_put(wire, "topic:a", rows[i].next_epoch, rows[i].next, "x"));
        assert_int_equal(stage.engine.state, ENGINE_UP);
        assert_true(stage.told.len > 0);
        stage_end(&stage);
    }
}

static void test_refused_and_left(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .channel_count_max = 1 });
    go_up(&stage);
    follow_a(&stage);
    subscribe(&stage, "topic:a", (struct lw_subscribe){ 0 });
    subscribe(&stage, "topic:b", (struct lw_subscribe){ 0 });
    expect_told(&stage, "not followed topic:a 409 this channel is followed already\n"
                        "not followed topic:b 400 too many channels: channel_count_max are followed\n");
    mark(&stage, ORDER_UNSUBSCRIBE, "topic:a", 0, 0);
    uint64_t ref = expect_sent(&stage, "unsubscribe topic:a\n");
    SERVER(&stage, message_put(wire, "topic:a", EPOCH, 11, "on its way"));
    expect_told(&stage, "");
    subscribe(&stage, "topic:a", (struct lw_subscribe){ .place = LW_LAST, .seq = 1 });  /* followed again */
    uint64_t again = expect_sent(&stage, "subscribe topic:a last=1\n");
    SERVER(&stage, FRAME(BIN_UNSUBSCRIBE, T(BIN_CHANNEL, "topic:a"), N(BIN_REF, ref)), followed_put(wire, "topic:a", 11, again),
           message_put(wire, "topic:a", EPOCH, 11, "x"));
    expect_told(&stage, "followed topic:a 11\nmessage topic:a 11 \"x\" bob\n");
    mark(&stage, ORDER_UNSUBSCRIBE, "topic:a", 0, 0);
    ref = expect_sent(&stage, "unsubscribe topic:a\n");
    SERVER(&stage, FRAME(BIN_UNSUBSCRIBE, T(BIN_CHANNEL, "topic:a"), N(BIN_REF, ref)));
    expect_told(&stage, "not followed topic:a 0 -\n");
    subscribe(&stage, "topic:b", (struct lw_subscribe){ .place = LW_AFTER });
    ref = expect_sent(&stage, "subscribe topic:b after=0\n");
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 403), T(BIN_REASON, "not yours"), N(BIN_REF, ref)));
    expect_told(&stage, "not followed topic:b 403 not yours\n");
    stage_end(&stage);
}

static void test_a_snapshot_heals_a_gap(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    subscribe(&stage, "topic:a", (struct lw_subscribe){ .needs_snapshot = true });
    expect_told(&stage, "snapshot topic:a\n");
    expect_sent(&stage, "");
    mark(&stage, ORDER_SNAPSHOT_TAKEN, "topic:a", EPOCH, 5);
    uint64_t ref = expect_sent(&stage, "subscribe topic:a after=5 epoch=225\n");
    SERVER(&stage, followed_put(wire, "topic:a", 9, ref), message_put(wire, "topic:a", EPOCH, 6, "x"),
           gap_put(wire, EPOCH, 7, 8, LW_GAP_TRIMMED), message_put(wire, "topic:a", EPOCH, 9, "lies beyond the gap"));
    expect_told(&stage, "followed topic:a 9\nmessage topic:a 6 \"x\" bob\nsnapshot topic:a\n");
    ref = expect_sent(&stage, "unsubscribe topic:a\n");
    mark(&stage, ORDER_SNAPSHOT_TAKEN, "topic:a", EPOCH, 8);
    uint64_t again = expect_sent(&stage, "subscribe topic:a after=8 epoch=225\n");
    expect_told(&stage, "");
    SERVER(&stage, FRAME(BIN_UNSUBSCRIBE, T(BIN_CHANNEL, "topic:a"), N(BIN_REF, ref)), followed_put(wire, "topic:a", 9, again),
           message_put(wire, "topic:a", EPOCH, 9, "x"));
    expect_told(&stage, "followed topic:a 9\nmessage topic:a 9 \"x\" bob\n");
    /* A snapshot that is too old heals nothing. */
    SERVER(&stage, gap_put(wire, EPOCH, 10, 20, LW_GAP_TRIMMED));
    expect_told(&stage, "snapshot topic:a\n");
    sent(&stage);
    mark(&stage, ORDER_SNAPSHOT_TAKEN, "topic:a", EPOCH, 15);
    expect_told(&stage, "gap topic:a 10-20 why 1\n");
    expect_sent(&stage, "subscribe topic:a after=20 epoch=225\n");
    stage_end(&stage);
}

static void test_notify(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    follow_a(&stage);
    SERVER(&stage, FRAME(BIN_NOTIFY, T(BIN_CHANNEL, "topic:a"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, 12)));
    expect_told(&stage, "notify topic:a 12\n");
    stage_end(&stage);
}

static void test_presence(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    subscribe(&stage, "topic:a", (struct lw_subscribe){ .presence = true });
    uint64_t ref = expect_sent(&stage, "subscribe topic:a presence\n");
    SERVER(&stage, followed_put(wire, "topic:a", 10, ref));
    expect_told(&stage, "followed topic:a 10\n");
    SERVER(&stage, FRAME(BIN_JOIN, T(BIN_CHANNEL, "topic:a"), T(BIN_USER, "ann"), T(BIN_DEVICE, "phone"), N(BIN_COUNT, 2)),
           FRAME(BIN_LEAVE, T(BIN_CHANNEL, "topic:a"), T(BIN_USER, "bob"), T(BIN_DEVICE, "pad"), N(BIN_COUNT, 1)),
           FRAME(BIN_JOIN, T(BIN_CHANNEL, "topic:b"), T(BIN_USER, "eve"), T(BIN_DEVICE, "pad"), N(BIN_COUNT, 1)));
    expect_told(&stage, "joined topic:a ann/phone 2\nleft topic:a bob/pad 1\n");
    SERVER(&stage, FRAME(BIN_HERE, T(BIN_CHANNEL, "topic:a"), N(BIN_COUNT, 3)));
    expect_told(&stage, "present topic:a -/- 3\n");
    lose(&stage);
    open_link(&stage);
    sent(&stage);
    SERVER(&stage, connected_put(wire));
    expect_sent(&stage, "subscribe topic:a after=10 epoch=225 presence\n");  /* asked for on each link */
    stage_end(&stage);
}

/* --- sessions ------------------------------------------------------------------------------------------------------------------- */

static void test_a_session_follows_and_acknowledges(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    SERVER(&stage, FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, "user:ann"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, 3)),
           message_put(wire, "user:ann", EPOCH, 3, "x"));
    expect_told(&stage, "followed user:ann 3\nmessage user:ann 3 \"x\" bob\n");
    expect_sent(&stage, "ack user:ann epoch=225 seq=3\n");
    SERVER(&stage, message_put(wire, "user:ann", EPOCH, 4, "y"), message_put(wire, "user:ann", EPOCH, 5, "z"));
    expect_sent(&stage, "");
    assert_int_equal(engine_deadline(&stage.engine), stage.now + ENGINE_ACK_MS);
    pass(&stage, ENGINE_ACK_MS);
    expect_sent(&stage, "ack user:ann epoch=225 seq=5\n");
    forget(&stage);
    /* The server may not have stored the last one: it comes again, and so does the acknowledgement. */
    lose(&stage);
    go_up_with_session(&stage, 2);
    SERVER(&stage, message_put(wire, "user:ann", EPOCH, 5, "z"), message_put(wire, "user:ann", EPOCH, 6, "new"));
    expect_told(&stage, "message user:ann 6 \"new\" bob\n");
    pass(&stage, ENGINE_ACK_MS);
    expect_sent(&stage, "ack user:ann epoch=225 seq=6\n");
    stage_end(&stage);
}

/* What the session skipped is owned up to. */
static void test_a_session_that_began_anew(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    SERVER(&stage, message_put(wire, "user:ann", EPOCH, 3, "x"), message_put(wire, "group:a", EPOCH, 7, "x"));
    lose(&stage);
    go_up_with_session(&stage, 1);
    SERVER(&stage, message_put(wire, "user:ann", EPOCH, 9, "y"), message_put(wire, "group:a", OTHER_EPOCH, 2, "y"),
           message_put(wire, "user:ann", EPOCH, 10, "z"));
    expect_told(&stage, "gap user:ann 4-8 why 6\nmessage user:ann 9 \"y\" bob\n"
                        "gap group:a 1-1 why 2\nmessage group:a 2 \"y\" bob\nmessage user:ann 10 \"z\" bob\n");
    mark(&stage, ORDER_UNSUBSCRIBE, "user:ann", 0, 0);
    uint64_t ref = expect_sent(&stage, "unsubscribe user:ann\n");
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 409), T(BIN_REASON, "own"), N(BIN_REF, ref)),
           message_put(wire, "user:ann", EPOCH, 11, "still there"));
    expect_told(&stage, "followed user:ann 10\nmessage user:ann 11 \"still there\" bob\n");
    stage_end(&stage);
}

/* The ticket alone was believed: what the session has is known when the server has its database again. */
static void test_a_session_that_is_not_fenced_yet(void **state)
{
    for (int is_resumed = 0; is_resumed < 2; is_resumed++) {
        struct stage stage;

        (void)state;
        stage_begin(&stage, (struct lw_options){ .has_session = true });
        go_up_with_session(&stage, 1);
        SERVER(&stage, FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, "user:ann"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, 3)),
               message_put(wire, "user:ann", EPOCH, 3, "x"));
        lose(&stage);
        open_link(&stage);
        sent(&stage);
        SERVER(&stage, FRAME(BIN_CONNECT, N(BIN_CONNECTION, 8), N(BIN_HEARTBEAT, 100), N(BIN_GENERATION, 1), T(BIN_USER, "ann"),
                             T(BIN_DEVICE, "phone"), T(BIN_TICKET, "t1"), N(BIN_UNFENCED, 1)));
        assert_non_null(strstr(stage.told.at, "connected unfenced as ann\n"));
        forget(&stage);
        mark(&stage, ORDER_ACK, "user:ann", EPOCH, 3);
        pass(&stage, ENGINE_ACK_MS);
        take_sent(&stage);
        assert_null(strstr(stage.said, "ack"));
        sent(&stage);
        SERVER(&stage, session_put(wire, 2, is_resumed != 0));
        expect_told(&stage, is_resumed ? "ticket t2\nconnected resumed as ann\n" : "ticket t2\nconnected as ann\n");
        pass(&stage, ENGINE_ACK_MS);
        take_sent(&stage);
        assert_non_null(strstr(stage.said, "ack user:ann epoch=225 seq=3\n"));
        stage_end(&stage);
    }
}

/* A back end, or the connect hook, tells the link to follow a channel. */
static void test_what_a_link_follows_unasked_ends_with_it(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    SERVER(&stage, FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, "topic:a"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, 3)),
           message_put(wire, "topic:a", EPOCH, 4, "x"));
    expect_told(&stage, "followed topic:a 3\nmessage topic:a 4 \"x\" bob\n");
    expect_sent(&stage, "");  /* nothing is acknowledged */
    engine_lost(&stage.engine, "cut", stage.now);
    assert_non_null(strstr(stage.told.at, "not followed topic:a 0 "));
    forget(&stage);
    pass(&stage, 60 * 1000);
    open_link(&stage);
    sent(&stage);
    SERVER(&stage, connected_put(wire));
    expect_sent(&stage, "");  /* … and is not asked for */
    forget(&stage);
    SERVER(&stage, FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, "topic:a"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, 9)),
           message_put(wire, "topic:a", EPOCH, 10, "y"), FRAME(BIN_UNSUBSCRIBE, T(BIN_CHANNEL, "topic:a")));
    expect_told(&stage, "followed topic:a 9\nmessage topic:a 10 \"y\" bob\nnot followed topic:a 0 -\n");
    stage_end(&stage);
}

#define LEAVES_LOBBY FRAME(BIN_UNSUBSCRIBE, T(BIN_CHANNEL, "group:lobby"))

/* The last messages of a group come together with the word that it was left. They are acknowledged behind that, and if that was lost and
 * they come again, they are not told twice. */
static void test_what_was_told_of_a_group_that_was_left(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    SERVER(&stage, message_put(wire, "group:lobby", EPOCH, 7, "x"), message_put(wire, "group:lobby", EPOCH, 8, "y"), LEAVES_LOBBY);
    expect_told(&stage, "message group:lobby 7 \"x\" bob\nmessage group:lobby 8 \"y\" bob\nnot followed group:lobby 0 -\n");
    pass(&stage, ENGINE_ACK_MS);
    expect_sent(&stage, "ack group:lobby epoch=225 seq=8\n");
    for (uint64_t generation = 2; generation < 4; generation++) {
        lose(&stage);
        go_up_with_session(&stage, generation);
        SERVER(&stage, message_put(wire, "group:lobby", EPOCH, 7, "x"), message_put(wire, "group:lobby", EPOCH, 8, "y"), LEAVES_LOBBY);
        expect_told(&stage, "not followed group:lobby 0 -\n");
        pass(&stage, ENGINE_ACK_MS);
        expect_sent(&stage, "ack group:lobby epoch=225 seq=8\n");
    }
    SERVER(&stage, message_put(wire, "group:lobby", EPOCH, 12, "joined again"));
    expect_told(&stage, "message group:lobby 12 \"joined again\" bob\n");
    stage_end(&stage);
}

/* A device that was away learns of a leave and a join together, and then of the group's log without what lies between. */
static void test_a_group_that_was_left_and_joined_again_while_away(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    SERVER(&stage, message_put(wire, "group:lobby", EPOCH, 7, "x"), message_put(wire, "group:lobby", EPOCH, 9, "y"),
           message_put(wire, "group:lobby", EPOCH, 10, "z"),
           FRAME(BIN_GAP, T(BIN_CHANNEL, "group:lobby"), N(BIN_EPOCH, EPOCH), N(BIN_GAP_FROM, 13), N(BIN_GAP_TO, 14),
                 N(BIN_WHY, LW_GAP_EXPIRED)),
           message_put(wire, "group:lobby", EPOCH, 15, "w"));
    expect_told(&stage, "message group:lobby 7 \"x\" bob\ngap group:lobby 8-8 why 6\nmessage group:lobby 9 \"y\" bob\n"
                        "message group:lobby 10 \"z\" bob\ngap group:lobby 13-14 why 0\nmessage group:lobby 15 \"w\" bob\n");
    SERVER(&stage, message_put(wire, "user:ann", EPOCH, 3, "x"), message_put(wire, "user:ann", EPOCH, 5, "x"));
    expect_told(&stage, "message user:ann 3 \"x\" bob\nwaiting 0 the server left out a message; asked again on a new link\n");
    stage_end(&stage);
}

static void test_a_group_that_was_left_is_acknowledged_by_hand(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true, .ack_mode = LW_ACK_BY_HAND });
    go_up_with_session(&stage, 1);
    SERVER(&stage, message_put(wire, "group:lobby", EPOCH, 8, "x"), LEAVES_LOBBY);
    mark(&stage, ORDER_ACK, "group:lobby", 0, 8);
    pass(&stage, ENGINE_ACK_MS);
    expect_sent(&stage, "ack group:lobby epoch=225 seq=8\n");
    stage_end(&stage);
}

static void test_acknowledged_by_hand(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true, .ack_mode = LW_ACK_BY_HAND });
    go_up_with_session(&stage, 1);
    SERVER(&stage, message_put(wire, "user:ann", EPOCH, 3, "x"), message_put(wire, "user:ann", EPOCH, 4, "x"));
    pass(&stage, ENGINE_ACK_MS);
    expect_sent(&stage, "");
    mark(&stage, ORDER_ACK, "user:ann", 0, 3);
    expect_sent(&stage, "ack user:ann epoch=225 seq=3\n");
    mark(&stage, ORDER_ACK, "user:ann", 0, 2);  /* never back */
    mark(&stage, ORDER_ACK, "user:ann", 0, 9);  /* never beyond what was told */
    mark(&stage, ORDER_READ, "user:ann", 0, 4);
    pass(&stage, ENGINE_ACK_MS);
    expect_sent(&stage, "ack user:ann epoch=225 seq=4\nread user:ann epoch=225 seq=4\n");
    stage_end(&stage);
}

static void test_membership(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    SERVER(&stage,
           frame_put(wire, BIN_FULL, "{\"group\":\"lobby\",\"joined\":true}", (const struct set[]){
               T(BIN_CHANNEL, "user:ann"), N(BIN_EPOCH, EPOCH), N(BIN_SEQ, 1),
               T(BIN_MEDIA, "application/vnd.longwire.membership+json"), { 0 } }),
           message_put(wire, "group:lobby", EPOCH, 8, "x"),
           frame_put(wire, BIN_FULL, "{\"target_channel\":\"group:lobby\",\"target\":8}", (const struct set[]){
               T(BIN_CHANNEL, "user:ann"), N(BIN_EPOCH, EPOCH), N(BIN_SEQ, 2),
               T(BIN_MEDIA, "application/vnd.longwire.read+json"), { 0 } }),
           frame_put(wire, BIN_FULL, "{\"group\":\"lobby\",\"joined\":false}", (const struct set[]){
               T(BIN_CHANNEL, "user:ann"), N(BIN_EPOCH, EPOCH), N(BIN_SEQ, 3),
               T(BIN_MEDIA, "application/vnd.longwire.membership+json"), { 0 } }),
           FRAME(BIN_UNSUBSCRIBE, T(BIN_CHANNEL, "group:lobby")),
           message_put(wire, "group:lobby", EPOCH, 20, "joined again"));
    expect_told(&stage, "control membership group:lobby 1 0\nmessage group:lobby 8 \"x\" bob\n"
                        "control read group:lobby 0 8\ncontrol membership group:lobby 0 0\n"
                        "not followed group:lobby 0 -\nmessage group:lobby 20 \"joined again\" bob\n");
    stage_end(&stage);
}

/* --- publishing ------------------------------------------------------------------------------------------------------------------- */

static void test_a_publish_is_sent_again_with_its_key(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    publish(&stage, "topic:a", "early");  /* before there is a link */
    go_up(&stage);
    publish(&stage, "topic:a", "x");
    struct bin_frame frame = take_sent(&stage);
    uint64_t         ref   = bin_number(&frame, BIN_REF);
    assert_true(span_eq(bin_bytes(&frame, BIN_KEY), SPAN("made")));
    lose(&stage);
    engine_opened(&stage.engine, stage.now);
    sent(&stage);
    SERVER(&stage, connected_put(wire));
    assert_int_equal(expect_sent(&stage, "publish topic:a \"early\"\npublish topic:a \"x\"\n"), ref);
    buf_clear(&stage.told);
    SERVER(&stage, FRAME(BIN_PUBLISH, N(BIN_SEQ, 4), N(BIN_REPLAYED, 1), N(BIN_REF, ref)),
           FRAME(BIN_PUBLISH, N(BIN_SEQ, 4), N(BIN_REF, ref)));
    expect_told(&stage, "published topic:a 0 4\n");
    assert_int_equal(stage.inbox.publish_count, 1);
    stage_end(&stage);
}

static void test_all_words_of_a_publish(void **state)
{
    const struct lw_publish whole = {
        .channel = "topic:a", .data = "x", .data_len = 1, .event = "price", .key = "k", .ttl_s = 60, .collapse_key = "eur",
        .priority = LW_BEAT,
    };
    struct lw_publish bad = whole;
    struct stage      stage;
    char              long_key[COLLAPSE_KEY_BYTES + 2];

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    struct order *new = order_new(ORDER_PUBLISH, NULL);
    new->outgoing     = outgoing_new(&whole, "made", on_published, &stage);
    order(&stage, new);
    expect_sent(&stage, "publish topic:a event=price collapse=eur ttl=60 priority=1 \"x\"\n");
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    bad.collapse_key              = long_key;
    assert_null(outgoing_new(&bad, "made", on_published, &stage));
    bad.collapse_key = "";
    assert_null(outgoing_new(&bad, "made", on_published, &stage));
    bad          = whole;
    bad.priority = (enum lw_priority)2;
    assert_null(outgoing_new(&bad, "made", on_published, &stage));
    stage_end(&stage);
}

static void test_refused_and_put_off_publishes(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    publish(&stage, "topic:a", "x");
    uint64_t ref = expect_sent(&stage, "publish topic:a \"x\"\n");
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 503), T(BIN_REASON, "busy"), N(BIN_REF, ref)));
    expect_told(&stage, "");
    expect_sent(&stage, "");
    msec at = engine_deadline(&stage.engine);
    assert_in_range(at - stage.now, 200, 1000);
    pass(&stage, at - stage.now);
    assert_int_equal(expect_sent(&stage, "publish topic:a \"x\"\n"), ref);
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 403), T(BIN_REASON, "not yours"), N(BIN_REF, ref)));
    expect_told(&stage, "published topic:a 403 0\n");

    char *large = calloc(1, 100001);
    memset(large, 'x', 100000);
    publish(&stage, "topic:a", large);
    free(large);
    expect_told(&stage, "published topic:a 413 0\n");
    stage_end(&stage);
}

/* The server says when; then it is asked as often as it answers, and the link stays. */
static void test_limits_of_publishes(void **state)
{
    struct stage stage;
    uint64_t     refs[4];

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    for (int i = 0; i < 4; i++) {
        publish(&stage, "topic:a", "x");
        refs[i] = expect_sent(&stage, "publish topic:a \"x\"\n");
    }
    for (int i = 0; i < 4; i++)
        SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 429), T(BIN_REASON, "too many"), N(BIN_AFTER_MS, 300), N(BIN_REF, refs[i])));
    expect_told(&stage, "");
    assert_int_equal(engine_deadline(&stage.engine) - stage.now, 300);
    pass(&stage, 299);
    expect_sent(&stage, "");
    pass(&stage, 1);
    assert_int_equal(expect_sent(&stage, "publish topic:a \"x\"\n"), refs[0]);
    SERVER(&stage, FRAME(BIN_PUBLISH, T(BIN_CHANNEL, "topic:a"), N(BIN_SEQ, 1), N(BIN_ID, 1), N(BIN_TIME, 1), N(BIN_REF, refs[0])));
    expect_told(&stage, "published topic:a 0 1\n");
    expect_sent(&stage, "");
    assert_int_equal(engine_deadline(&stage.engine) - stage.now, 300);
    pass(&stage, 300);
    assert_int_equal(expect_sent(&stage, "publish topic:a \"x\"\n"), refs[1]);
    stage_end(&stage);
}

static void test_limits_of_subscribes(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    subscribe(&stage, "topic:a", (struct lw_subscribe){ 0 });
    uint64_t a = expect_sent(&stage, "subscribe topic:a\n");
    subscribe(&stage, "topic:b", (struct lw_subscribe){ 0 });
    uint64_t b = expect_sent(&stage, "subscribe topic:b\n");
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 429), T(BIN_REASON, "too many"), N(BIN_AFTER_MS, 300), N(BIN_REF, a)),
           FRAME(BIN_ERROR, N(BIN_CODE, 429), T(BIN_REASON, "too many"), N(BIN_AFTER_MS, 300), N(BIN_REF, b)));
    expect_told(&stage, "");
    subscribe(&stage, "topic:c", (struct lw_subscribe){ 0 });
    expect_sent(&stage, "");
    pass(&stage, 300);
    a = expect_sent(&stage, "subscribe topic:a\n");
    SERVER(&stage, followed_put(wire, "topic:a", 10, a));
    expect_told(&stage, "followed topic:a 10\n");
    expect_sent(&stage, "");
    pass(&stage, 300);
    expect_sent(&stage, "subscribe topic:b\n");
    stage_end(&stage);
}

/* --- liveness --------------------------------------------------------------------------------------------------------------------- */

static void test_heartbeats(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    pass(&stage, engine_deadline(&stage.engine) - stage.now);
    assert_in_range(stage.now, 1000 + 90 * 1000, 1000 + 100 * 1000);
    expect_sent(&stage, "ping\n");
    SERVER(&stage, frame_put(wire, BIN_PONG, "", nothing));
    SERVER(&stage, frame_put(wire, BIN_PING, "", nothing));
    expect_sent(&stage, "pong\n");
    mark(&stage, ORDER_HEARTBEAT, NULL, 0, 600);
    expect_sent(&stage, "ping next=600000\n");
    SERVER(&stage, frame_put(wire, BIN_PONG, "", nothing));
    pass(&stage, 500 * 1000);
    expect_sent(&stage, "");
    order(&stage, order_new(ORDER_WAKE, NULL));
    expect_sent(&stage, "ping\n");
    pass(&stage, ENGINE_WAKE_MS);
    expect_told(&stage, "waiting 0 the server did not answer a heartbeat\n");
    stage_end(&stage);
}

/* --- places compared ---------------------------------------------------------------------------------------------------- */

static uint64_t term_of(const char *channel, uint64_t seq)
{
    return place_digest_term(span_str(channel), EPOCH, seq);
}

/* Waits for the next heartbeat; false: it has no digest. */
static bool beats(struct stage *stage, uint64_t *ret_digest)
{
    pass(stage, engine_deadline(&stage->engine) - stage->now);
    struct bin_frame frame = take_sent(stage);
    assert_string_equal(stage->said, "ping\n");
    sent(stage);
    *ret_digest = bin_number(&frame, BIN_DIGEST);
    return bin_has(&frame, BIN_DIGEST);
}

static void expect_digest(struct stage *stage, uint64_t want)
{
    uint64_t digest;

    assert_true(beats(stage, &digest));
    assert_int_equal(digest, want);
}

static void digest_put(struct buf *wire, uint64_t digest)
{
    FRAME(BIN_PONG, N(BIN_DIGEST, digest));
}

/* At most two. */
static void places_put(struct buf *wire, const char *channel, uint64_t seq, const char *other, uint64_t other_seq)
{
    struct bin_frame frame;
    struct buf       places;

    bin_init(&frame, BIN_PONG);
    buf_init(&places, 1000);
    bin_put_place(&places, &(struct bin_place){ span_str(channel), seq, EPOCH });
    if (other != NULL)
        bin_put_place(&places, &(struct bin_place){ span_str(other), other_seq, EPOCH });
    bin_set_bytes(&frame, BIN_RESUME, buf_span(&places));
    bin_put(wire, BIN_SERVER, &frame);
    buf_fini(&places);
}

static void left_put(struct buf *wire, const char *channel, uint64_t ref)
{
    FRAME(BIN_UNSUBSCRIBE, T(BIN_CHANNEL, channel), N(BIN_REF, ref));
}

/* What comes before the pong was under way, and is no difference. */
static void test_what_was_under_way_is_no_difference(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    follow_a(&stage);
    expect_digest(&stage, term_of("topic:a", 10));
    SERVER(&stage, message_put(wire, "topic:a", EPOCH, 11, "x"), digest_put(wire, term_of("topic:a", 11)));
    expect_told(&stage, "message topic:a 11 \"x\" bob\n");
    expect_sent(&stage, "");
    expect_digest(&stage, term_of("topic:a", 11));
    SERVER(&stage, gap_put(wire, EPOCH, 12, 14, LW_GAP_EXPIRED), digest_put(wire, term_of("topic:a", 14)));
    expect_sent(&stage, "");
    stage_end(&stage);
}

static void test_a_lost_message_is_asked_for(void **state)
{
    struct stage stage;
    uint64_t     digest;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    follow_a(&stage);
    expect_digest(&stage, term_of("topic:a", 10));
    SERVER(&stage, digest_put(wire, term_of("topic:a", 12)));
    expect_sent(&stage, "ping places\n");
    SERVER(&stage, places_put(wire, "topic:a", 12, NULL, 0));
    uint64_t ref = expect_sent(&stage, "unsubscribe topic:a\nsubscribe topic:a after=10 epoch=225\n");
    /* What the old subscription still brings is not told: it has a hole before it. */
    SERVER(&stage, message_put(wire, "topic:a", EPOCH, 13, "early"), left_put(wire, "topic:a", 0),
           followed_put(wire, "topic:a", 13, ref));
    buf_clear(&stage.told);
    SERVER(&stage, message_put(wire, "topic:a", EPOCH, 11, "x"), message_put(wire, "topic:a", EPOCH, 12, "y"),
           message_put(wire, "topic:a", EPOCH, 13, "z"));
    expect_told(&stage, "message topic:a 11 \"x\" bob\nmessage topic:a 12 \"y\" bob\nmessage topic:a 13 \"z\" bob\n");
    /* The next heartbeat compares nothing, the one behind it does. */
    assert_false(beats(&stage, &digest));
    SERVER(&stage, frame_put(wire, BIN_PONG, "", nothing));
    expect_digest(&stage, term_of("topic:a", 13));
    stage_end(&stage);
}

static void test_channels_that_only_one_side_has(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    follow_a(&stage);
    SERVER(&stage, places_put(wire, "topic:a", 10, "topic:b", 3));
    expect_sent(&stage, "unsubscribe topic:b\n");
    SERVER(&stage, digest_put(wire, 0));  /* that of no places */
    uint64_t ref = expect_sent(&stage, "subscribe topic:a after=10 epoch=225\n");
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 403), T(BIN_REASON, "no"), N(BIN_REF, ref)));
    expect_told(&stage, "not followed topic:a 403 no\n");
    stage_end(&stage);
}

/* What a session follows by itself can't be asked for again: the next link goes on from what was acknowledged. */
static void test_a_session_comes_again(void **state)
{
    struct stage stage;
    uint64_t     digest;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    SERVER(&stage, FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, "user:ann"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, 9), N(BIN_AFTER, 3)),
           message_put(wire, "conn:00", EPOCH, 1, "not in the digest"));
    forget(&stage);
    pass(&stage, 300);
    sent(&stage);
    expect_digest(&stage, term_of("user:ann", 3));
    SERVER(&stage, digest_put(wire, term_of("user:ann", 9)));
    expect_sent(&stage, "ping places\n");
    SERVER(&stage, places_put(wire, "user:ann", 9, NULL, 0));
    buf_putc(&stage.told, '\0');
    assert_non_null(strstr(stage.told.at, "waiting 0 a heartbeat showed that something was lost"));
    lose(&stage);
    go_up_with_session(&stage, 2);
    assert_false(beats(&stage, &digest));
    stage_end(&stage);
}

/* A difference that healing doesn't mend is looked at less and less often. */
static void test_a_difference_that_stays_is_no_load(void **state)
{
    struct stage stage;
    uint64_t     digest;
    unsigned     waits[7] = { 0 };

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    follow_a(&stage);
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        SERVER(&stage, places_put(wire, "topic:a", 10, "topic:b", 3));
        expect_sent(&stage, "unsubscribe topic:b\n");
        do {
            waits[i]++;
            SERVER(&stage, frame_put(wire, BIN_PONG, "", nothing));
        } while (!beats(&stage, &digest));
    }
    static const unsigned want[] = { 2, 4, 8, 16, 32, 64, 64 };
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++)
        assert_int_equal(waits[i], want[i]);
    stage_end(&stage);
}

static void test_leaving_in_order(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    publish(&stage, "topic:a", "x");
    uint64_t ref = expect_sent(&stage, "publish topic:a \"x\"\n");
    SERVER(&stage, message_put(wire, "user:ann", EPOCH, 3, "x"));
    sent(&stage);
    SERVER(&stage, message_put(wire, "user:ann", EPOCH, 4, "y"));
    order(&stage, order_new(ORDER_CLOSE, NULL));
    expect_sent(&stage, "ack user:ann epoch=225 seq=4\n");
    buf_clear(&stage.told);
    SERVER(&stage, FRAME(BIN_PUBLISH, N(BIN_SEQ, 4), N(BIN_REF, ref)));
    expect_sent(&stage, "ping\n");
    expect_told(&stage, "published topic:a 0 4\n");
    SERVER(&stage, frame_put(wire, BIN_PONG, "", nothing));
    expect_told(&stage, "ended 0 lw_close() was called\n");
    stage_end(&stage);
}

/* --- laws ------------------------------------------------------------------------------------------------------------------------- */

static void tell_all(struct cuts *cuts, void *context, struct buf *transcript)
{
    struct stage stage;
    struct span  piece;

    (void)context;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    subscribe(&stage, "topic:a", (struct lw_subscribe){ 0 });
    publish(&stage, "topic:a", "x");
    open_link(&stage);
    while (cuts_next(cuts, 0, &piece))
        engine_feed(&stage.engine, piece, stage.now);
    engine_turn(&stage.engine, stage.now);
    buf_put(transcript, buf_span(&stage.told));
    take_sent(&stage);
    buf_put(transcript, span_str(stage.said));
    stage_end(&stage);
}

static void whole_dialogue_put(struct buf *wire)
{
    session_put(wire, 1, false);
    followed_put(wire, "user:ann", 3, 0);
    FRAME(BIN_ALIAS, N(BIN_ALIAS_NO, 3), T(BIN_CHANNEL, "user:ann"), N(BIN_EPOCH, EPOCH), N(BIN_SEQ, 1), N(BIN_ID, 1),
          N(BIN_TIME, 1), T(BIN_MEDIA, "text/plain"));
    frame_put(wire, BIN_MESSAGE, "hello", (const struct set[]){
        N(BIN_ALIAS_NO, 3), N(BIN_SEQ, 3), N(BIN_ID, 2), N(BIN_TIME, 9), { 0 } });
    message_put(wire, "user:ann", EPOCH, 5, "x");
    gap_put(wire, EPOCH, 3, 4, LW_GAP_TRIMMED);
    digest_put(wire, 7);
    places_put(wire, "user:ann", 5, NULL, 0);
    FRAME(BIN_ERROR, N(BIN_CODE, 400), T(BIN_REASON, "nobody's"));
    FRAME(BIN_RECONNECT, N(BIN_AFTER_MS, 5));
    FRAME(BIN_CLOSING, N(BIN_CODE, 1001), T(BIN_REASON, "stopping"));
    message_put(wire, "user:ann", EPOCH, 6, "behind the end");
}

/* No cut of the bytes changes what the application is told. */
static void test_any_cut_tells_the_same(void **state)
{
    struct buf row, *wire = &row, transcript;

    (void)state;
    buf_init(wire, SIZE_MAX / 2);
    whole_dialogue_put(wire);
    if (!laws_hold(buf_span(wire), tell_all, NULL, 200, &transcript))
        fail_msg("%.*s", SPAN_ARG(buf_span(&transcript)));
    buf_putc(&transcript, '\0');
    print_message("%s", transcript.at);
    assert_non_null(strstr(transcript.at, "message user:ann 4 \"hello\" -"));
    buf_fini(&transcript);
    buf_fini(wire);
}

/* Threat 97: no flipped bit of the server's bytes does harm. */
static void test_any_flipped_bit_is_survived(void **state)
{
    struct buf row, *wire = &row, ignored;

    (void)state;
    buf_init(wire, SIZE_MAX / 2);
    whole_dialogue_put(wire);
    for (size_t bit = 0; bit < wire->len * 8; bit++) {
        wire->at[bit / 8] ^= (char)(1 << bit % 8);
        buf_init(&ignored, SIZE_MAX / 2);
        laws_tell(buf_span(wire), tell_all, NULL, &ignored);
        buf_fini(&ignored);
        wire->at[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_fini(wire);
}

/* --- requests ---------------------------------------------------------------------------------------------------------------- */

static void on_response(void *arg, const struct lw_response *response)
{
    struct stage *stage = arg;

    if (response->status == 0) {
        buf_putf(&stage->told, "no response %s %u %s\n", response->id, response->code, response->reason);
        return;
    }
    assert_int_equal(((const char *)response->body)[response->body_len], 0);
    buf_putf(&stage->told, "response %s %u \"%.*s\"%s", response->id, response->status, (int)response->body_len,
             (const char *)response->body, response->is_replayed ? " replayed" : "");
    for (size_t i = 0; i < response->header_count; i++)
        buf_putf(&stage->told, " %s=%s", response->headers[i].name, response->headers[i].value);
    buf_putc(&stage->told, '\n');
}

static void ask(struct stage *stage, struct lw_request how)
{
    struct order *new = order_new(ORDER_REQUEST, NULL);

    new->request = request_new(&how, "made", on_response, stage);
    assert_non_null(new->request);
    order(stage, new);
}

static void accepted_put(struct buf *wire, const char *id)
{
    FRAME(BIN_REQUEST, T(BIN_REQUEST_ID, id));
}

static void response_put(struct buf *wire, const char *channel, uint64_t seq, bool is_replayed, const char *object)
{
    frame_put(wire, BIN_FULL, object, (const struct set[]){
        T(BIN_CHANNEL, channel), N(BIN_EPOCH, EPOCH), N(BIN_SEQ, seq), N(BIN_ID, 1), N(BIN_TIME, 5),
        T(BIN_MEDIA, "application/vnd.longwire.response+json"), { is_replayed ? BIN_REPLAYED : BIN_ID, 1, NULL }, { 0 } });
}

static void own_log_put(struct buf *wire, uint64_t head)
{
    FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, "device:ann/phone"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, head));
}

#define RESPONSE_R1 "{\"request\":\"r1\",\"status\":200,\"headers\":{\"X-A\":\"1\\n\"},\"body\":\"h\\u0069\"}"

static void test_a_request_has_its_response(void **state)
{
    static const struct lw_header headers[] = { { "Content-Type", "a/b" }, { "X-A", "" } };
    struct stage                  stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    SERVER(&stage, own_log_put(wire, 4));
    forget(&stage);
    ask(&stage, (struct lw_request){ .path = "/a?b", .id = "r1" });
    expect_sent(&stage, "request request=r1 method=GET path=/a?b\n");
    ask(&stage, (struct lw_request){ .path = "/b", .body = "x", .body_len = 1, .headers = headers, .header_count = 2, .timeout_ms = 9000 });
    expect_sent(&stage, "request request=made method=POST path=/b timeout=9000 \"x\" headers=22\n");
    SERVER(&stage, accepted_put(wire, "r1"); accepted_put(wire, "made"); response_put(wire, "device:ann/phone", 5, false, RESPONSE_R1));
    expect_told(&stage, "response r1 200 \"hi\" X-A=1\n\n");
    SERVER(&stage, response_put(wire, "device:ann/phone", 6, false, "{\"request\":\"made\",\"status\":503,\"body_base64\":\"aGk=\"}"));
    expect_told(&stage, "response made 503 \"hi\"\n");
    static const char json_string[] = "{\"request\":\"r3\",\"status\":200,\"headers\":{\"content-type\":\"application/json\"},\"body\":\"x\"}";
    ask(&stage, (struct lw_request){ .path = "/c", .id = "r3" });
    sent(&stage);
    SERVER(&stage, response_put(wire, "device:ann/phone", 6, true, json_string));
    expect_told(&stage, "response r3 200 \"\"x\"\" replayed content-type=application/json\n");
    pass(&stage, ENGINE_ACK_MS);
    expect_sent(&stage, "ack device:ann/phone epoch=225 seq=6\n");
    SERVER(&stage, response_put(wire, "device:ann/phone", 7, false, "{\"request\":\"of another run\",\"status\":200}"));
    expect_told(&stage, "control response - 0 0\n");
    stage_end(&stage);
}

static void test_a_request_outlives_its_link(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    ask(&stage, (struct lw_request){ .path = "/a", .id = "r1" });
    SERVER(&stage, accepted_put(wire, "r1"));
    lose(&stage);
    go_up_with_session(&stage, 2);
    SERVER(&stage, own_log_put(wire, 4));
    stage.engine.heard_at = stage.now;
    /* It was sent again with its id before anything else was heard, and the answer to that is a replay. */
    SERVER(&stage, response_put(wire, "device:ann/phone", 3, true, RESPONSE_R1));
    expect_told(&stage, "followed device:ann/phone 4\nresponse r1 200 \"hi\" replayed X-A=1\n\n");
    /* The message itself comes, too, and is told no second time. */
    SERVER(&stage, FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, "device:ann/tablet"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, 2));
           response_put(wire, "device:ann/tablet", 3, false, RESPONSE_R1));
    expect_told(&stage, "followed device:ann/tablet 2\n");
    SERVER(&stage, response_put(wire, "device:ann/phone", 5, false, RESPONSE_R1));
    expect_told(&stage, "control response - 0 0\n");
    stage_end(&stage);
}

static void test_what_is_lost_with_a_link_is_told(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ 0 });
    go_up(&stage);
    ask(&stage, (struct lw_request){ .path = "/a", .id = "accepted" });
    ask(&stage, (struct lw_request){ .path = "/a", .id = "not" });
    SERVER(&stage, accepted_put(wire, "accepted"));
    engine_lost(&stage.engine, "cut", stage.now);
    buf_putc(&stage.told, '\0');
    assert_non_null(strstr(stage.told.at, "no response accepted 0 the link was lost"));
    forget(&stage);
    pass(&stage, 60 * 1000);
    go_up(&stage);
    assert_int_equal(list_is_empty(&stage.engine.requests), false);
    SERVER(&stage, response_put(wire, "conn:0000000000000007", 1, false, "{\"request\":\"not\",\"status\":204}"));
    expect_told(&stage, "response not 204 \"\"\n");
    stage_end(&stage);
}

static void test_a_device_without_a_session_keeps_its_log(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .token = "t" });
    go_up(&stage);
    ask(&stage, (struct lw_request){ .path = "/a", .id = "r1" });
    SERVER(&stage, own_log_put(wire, 4); accepted_put(wire, "r1"));
    lose(&stage);
    open_link(&stage);
    sent(&stage);
    SERVER(&stage, connected_put(wire));
    expect_sent(&stage, "subscribe device:ann/phone after=4 epoch=225\nrequest request=r1 method=GET path=/a\n");
    forget(&stage);
    SERVER(&stage, FRAME(BIN_SUBSCRIBE, T(BIN_CHANNEL, "device:ann/phone"), N(BIN_EPOCH, EPOCH), N(BIN_HEAD, 5),
                         N(BIN_REF, stage.engine.table.all.next == &stage.engine.table.all ? 0 :
                                        container_of(stage.engine.table.all.next, struct followed, link)->ref));
           response_put(wire, "device:ann/phone", 5, false, RESPONSE_R1); response_put(wire, "device:ann/phone", 5, true, RESPONSE_R1));
    expect_told(&stage, "followed device:ann/phone 5\nresponse r1 200 \"hi\" X-A=1\n\n");
    stage_end(&stage);
}

static void test_requests_are_refused_put_off_and_late(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    ask(&stage, (struct lw_request){ .path = "/a", .id = "r1" });
    uint64_t ref = expect_sent(&stage, "request request=r1 method=GET path=/a\n");
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 503), T(BIN_REASON, "away"), T(BIN_REQUEST_ID, "r1"), N(BIN_REF, ref)));
    expect_told(&stage, "");
    expect_sent(&stage, "");
    stage.now = engine_deadline(&stage.engine);
    pass(&stage, 0);
    ref = expect_sent(&stage, "request request=r1 method=GET path=/a\n");
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 404), T(BIN_REASON, "no route"), T(BIN_REQUEST_ID, "r1"), N(BIN_REF, ref)));
    expect_told(&stage, "no response r1 404 no route\n");
    ask(&stage, (struct lw_request){ .path = "/a", .id = "r2", .timeout_ms = 500 });
    ask(&stage, (struct lw_request){ .path = "/b", .id = "r2" });
    expect_told(&stage, "no response r2 409 a request with this id waits for its response already\n");
    expect_sent(&stage, "request request=r2 method=GET path=/a timeout=500\n");
    assert_int_equal(engine_deadline(&stage.engine), stage.now + 500);
    pass(&stage, 500);
    expect_told(&stage, "no response r2 0 no response within timeout_ms; the same id asks for it again\n");
    expect_sent(&stage, "cancel request=r2\n");
    assert_int_equal(stage.inbox.publish_count, 0);
    stage_end(&stage);
}

static void test_a_request_is_cancelled(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    ask(&stage, (struct lw_request){ .path = "/a", .id = "r0" });
    order(&stage, order_new(ORDER_CANCEL, "r0"));
    buf_putc(&stage.told, '\0');
    assert_non_null(strstr(stage.told.at, "no response r0 499 cancelled before it was sent\n"));
    buf_clear(&stage.told);
    go_up_with_session(&stage, 1);
    ask(&stage, (struct lw_request){ .path = "/a", .id = "r1" });
    order(&stage, order_new(ORDER_CANCEL, "r1"));
    order(&stage, order_new(ORDER_CANCEL, "r9"));
    expect_sent(&stage, "request request=r1 method=GET path=/a\ncancel request=r1\n");
    lose(&stage);
    open_link(&stage);
    sent(&stage);
    SERVER(&stage, session_put(wire, 2, true));
    expect_sent(&stage, "request request=r1 method=GET path=/a\ncancel request=r1\n");
    forget(&stage);
    SERVER(&stage, own_log_put(wire, 4);
           response_put(wire, "device:ann/phone", 5, false, "{\"request\":\"r1\",\"status\":499}"));
    expect_told(&stage, "followed device:ann/phone 4\nresponse r1 499 \"\"\n");
    stage_end(&stage);
}

/* The server was busy, or could not store it, and perhaps has it all the same: when it is asked again it is told again. */
static void test_a_cancelled_request_that_is_put_off_is_cancelled_again(void **state)
{
    struct stage stage;

    (void)state;
    stage_begin(&stage, (struct lw_options){ .has_session = true });
    go_up_with_session(&stage, 1);
    ask(&stage, (struct lw_request){ .path = "/a", .id = "r1" });
    uint64_t ref = expect_sent(&stage, "request request=r1 method=GET path=/a\n");
    order(&stage, order_new(ORDER_CANCEL, "r1"));
    expect_sent(&stage, "cancel request=r1\n");
    SERVER(&stage, FRAME(BIN_ERROR, N(BIN_CODE, 503), T(BIN_REASON, "away"), T(BIN_REQUEST_ID, "r1"), N(BIN_REF, ref)));
    expect_sent(&stage, "");
    stage.now = engine_deadline(&stage.engine);
    pass(&stage, 0);
    expect_sent(&stage, "request request=r1 method=GET path=/a\ncancel request=r1\n");
    stage_end(&stage);
}

static void test_what_can_not_be_asked(void **state)
{
    static const struct lw_header many[REQUEST_FIELDS + 1] = { { "a", "b" } };
    const struct lw_request       rows[] = {
        { .path = NULL }, { .path = "a" }, { .path = "/a\n" }, { .path = "/", .id = "" }, { .path = "/", .method = "" },
        { .path = "/", .body_len = 1 }, { .path = "/", .timeout_ms = -1 }, { .path = "/", .headers = many, .header_count = REQUEST_FIELDS + 1 },
        { .path = "/", .headers = &(struct lw_header){ "a", "b\r\nc" }, .header_count = 1 },
        { .path = "/", .headers = &(struct lw_header){ "", "b" }, .header_count = 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_null(request_new(&rows[i], "made", NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_says_who_it_is),
        cmocka_unit_test(test_a_ticket_comes_before_the_token),
        cmocka_unit_test(test_a_new_token_is_shown_beside_the_ticket),
        cmocka_unit_test(test_a_refused_token_ends_or_asks),
        cmocka_unit_test(test_a_token_is_renewed_on_the_link),
        cmocka_unit_test(test_a_token_that_ends_at_once),
        cmocka_unit_test(test_back_off_is_as_the_server_says),
        cmocka_unit_test(test_reconnect_says_when_and_where),
        cmocka_unit_test(test_the_next_server_is_tried),
        cmocka_unit_test(test_reconnect_keeps_to_tls),
        cmocka_unit_test(test_a_router_says_where_to_connect),
        cmocka_unit_test(test_a_router_gives_a_turn),
        cmocka_unit_test(test_a_router_that_is_no_router),
        cmocka_unit_test(test_a_router_alone),
        cmocka_unit_test(test_replaced_and_revoked_are_the_end),
        cmocka_unit_test(test_a_place_before_the_first_message),
        cmocka_unit_test(test_every_seq_once_and_in_order),
        cmocka_unit_test(test_what_is_published_to_the_connection),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_refused_and_left),
        cmocka_unit_test(test_a_snapshot_heals_a_gap),
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_presence),
        cmocka_unit_test(test_a_session_follows_and_acknowledges),
        cmocka_unit_test(test_a_session_that_began_anew),
        cmocka_unit_test(test_a_session_that_is_not_fenced_yet),
        cmocka_unit_test(test_what_a_link_follows_unasked_ends_with_it),
        cmocka_unit_test(test_what_was_told_of_a_group_that_was_left),
        cmocka_unit_test(test_a_group_that_was_left_and_joined_again_while_away),
        cmocka_unit_test(test_a_group_that_was_left_is_acknowledged_by_hand),
        cmocka_unit_test(test_acknowledged_by_hand),
        cmocka_unit_test(test_membership),
        cmocka_unit_test(test_a_publish_is_sent_again_with_its_key),
        cmocka_unit_test(test_all_words_of_a_publish),
        cmocka_unit_test(test_refused_and_put_off_publishes),
        cmocka_unit_test(test_limits_of_publishes),
        cmocka_unit_test(test_limits_of_subscribes),
        cmocka_unit_test(test_heartbeats),
        cmocka_unit_test(test_what_was_under_way_is_no_difference),
        cmocka_unit_test(test_a_lost_message_is_asked_for),
        cmocka_unit_test(test_channels_that_only_one_side_has),
        cmocka_unit_test(test_a_session_comes_again),
        cmocka_unit_test(test_a_difference_that_stays_is_no_load),
        cmocka_unit_test(test_leaving_in_order),
        cmocka_unit_test(test_any_cut_tells_the_same),
        cmocka_unit_test(test_any_flipped_bit_is_survived),
        cmocka_unit_test(test_a_request_has_its_response),
        cmocka_unit_test(test_a_request_outlives_its_link),
        cmocka_unit_test(test_what_is_lost_with_a_link_is_told),
        cmocka_unit_test(test_a_device_without_a_session_keeps_its_log),
        cmocka_unit_test(test_requests_are_refused_put_off_and_late),
        cmocka_unit_test(test_a_request_is_cancelled),
        cmocka_unit_test(test_a_cancelled_request_that_is_put_off_is_cancelled_again),
        cmocka_unit_test(test_what_can_not_be_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
