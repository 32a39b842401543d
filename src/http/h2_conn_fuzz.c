/* An HTTP/2 connection whose client sends anything, while its services answer, write, close and let go at any moment. Input is a
 * list of steps: a byte whose low half says what is done, and whose high half is a number; some steps take more bytes. Behind
 * it nothing may be left: no connection, no stream, no byte that counts as owed or gathered. */
#include <stdlib.h>

#include "base/must.h"
#include "http/h2_conn.h"
#include "reactor/loop_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { KEPT_MAX = 64 };

struct fuzz {
    struct loop_sim       sim;
    struct http_server    server;
    struct sim_link      *link;
    struct http_exchange *later[KEPT_MAX];    /* to be answered by a step */
    struct stream        *streams[KEPT_MAX];  /* taken over */
    void                 *senders[KEPT_MAX];  /* being identified */
    size_t                later_count, stream_count, sender_count;
    msec                  now;
    struct span           rest;               /* of the input */
    bool                  is_mute;            /* the client says nothing any more */
};

static char page[50000];

/* --- the service: the letter behind the slash says what becomes of a request ---------------------------------- */

static char kind_of(const struct http_request *request)
{
    return request->path.len > 1 ? request->path.at[1] : ' ';
}

static struct http_plan fuzz_plan(void *ctx, const struct http_request *request)
{
    (void)ctx;
    return (struct http_plan){
        .body_bytes_max = 1000, .is_heavy = kind_of(request) == 'b', .needs_caller = kind_of(request) == 'w',
        .is_alone = kind_of(request) == 's',
    };
}

static void fuzz_gone(void *owner)
{
    (void)owner;
}

static void on_readable(struct stream *stream, void *owner)
{
    struct fuzz *fuzz = owner;
    char         into[100];
    ssize_t      got;

    while ((got = stream_read(stream, into, sizeof into)) > 0)
        stream_write(stream, span_of(into, (size_t)got));
    if (got == STREAM_LATER)
        return;
    for (size_t i = 0; i < fuzz->stream_count; i++)
        if (fuzz->streams[i] == stream)
            fuzz->streams[i] = NULL;
    stream_close(stream);
}

static void on_writable(struct stream *stream, void *owner)
{
    (void)owner;
    stream_write(stream, SPAN("more"));
}

static const struct stream_events fuzz_events = { .on_readable = on_readable, .on_writable = on_writable };

static void fuzz_take_over(struct fuzz *fuzz, struct http_exchange *exchange)
{
    struct buf first;
    bool       is_chunked;

    buf_init(&first, 4096);
    struct stream *stream = http_open_stream(&fuzz->server, exchange, &(struct http_answer){ .status = 200 }, &first,
                                             &is_chunked);
    buf_fini(&first);
    fuzz->streams[fuzz->stream_count++] = stream;
    stream_hand_over(stream, &fuzz_events, fuzz);
    stream_write(stream, span_of(page, 3000));
}

static void fuzz_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct fuzz *fuzz = ctx;
    char         kind = kind_of(request);

    if (kind == 'l' && fuzz->later_count < KEPT_MAX) {
        exchange->gone                   = fuzz_gone;
        fuzz->later[fuzz->later_count++] = exchange;
    } else if (kind == 's' && fuzz->stream_count < KEPT_MAX) {
        fuzz_take_over(fuzz, exchange);
    } else {
        http_answer(&fuzz->server, exchange, &(struct http_answer){
            .status = kind == 'n' ? 204 : 200, .body = kind == 'b' ? span_of(page, sizeof page) : SPAN("hello"),
        });
    }
}

static void *fuzz_identify(void *ctx, struct http_sender *sender, const struct http_request *request,
                           struct http_caller *ret)
{
    struct fuzz *fuzz = ctx;

    (void)request, (void)ret;
    if (fuzz->sender_count == KEPT_MAX)
        return NULL;
    fuzz->senders[fuzz->sender_count] = sender;
    return &fuzz->senders[fuzz->sender_count++];
}

static void fuzz_cancel(void *ctx, void *identification)
{
    (void)ctx;
    *(void **)identification = NULL;
}

static enum http_origin fuzz_judge_origin(void *ctx, struct span origin, struct span host)
{
    (void)ctx, (void)host;
    return origin.len == 0 || origin.at[0] == 'n' ? HTTP_ORIGIN_REFUSED : origin.at[0] == 'o' ? HTTP_ORIGIN_OPEN : HTTP_ORIGIN_KNOWN;
}

static const struct http_service fuzz_service = {
    .plan = fuzz_plan, .serve = fuzz_serve, .identify = fuzz_identify, .cancel_identify = fuzz_cancel,
    .judge_origin = fuzz_judge_origin,
};

/* --- steps ---------------------------------------------------------------------------------------------------- */

static unsigned next_byte(struct fuzz *fuzz)
{
    if (fuzz->rest.len == 0)
        return 0;
    unsigned byte = (unsigned char)fuzz->rest.at[0];
    fuzz->rest    = span_skip(fuzz->rest, 1);
    return byte;
}

static void say(struct fuzz *fuzz, struct span bytes)
{
    if (!fuzz->is_mute && !sim_link_is_closed(fuzz->link))
        sim_send(fuzz->link, bytes);
}

static void say_rest(struct fuzz *fuzz, size_t len)
{
    struct span part = span_head(fuzz->rest, len);

    fuzz->rest = span_skip(fuzz->rest, part.len);
    say(fuzz, part);
}

/* A frame with a true length; its type, flags and stream are bytes of the input. */
static void say_frame(struct fuzz *fuzz, size_t len, bool is_head)
{
    char head[9] = { 0 };

    head[3] = is_head ? H2_HEADERS : (char)(next_byte(fuzz) % 11);
    head[4] = (char)(next_byte(fuzz) | (is_head ? H2_END_HEADERS : 0));
    head[8] = (char)(next_byte(fuzz) % 40);
    len     = len < fuzz->rest.len ? len : fuzz->rest.len;
    head[1] = (char)(len >> 8);
    head[2] = (char)len;
    say(fuzz, span_of(head, sizeof head));
    say_rest(fuzz, len);
}

static void step_later(struct fuzz *fuzz, unsigned at)
{
    struct http_exchange *exchange = fuzz->later[at];

    fuzz->later[at] = NULL;
    if (exchange != NULL)
        http_answer(&fuzz->server, exchange, &(struct http_answer){ .status = 200, .body = SPAN("later") });
}

static void step_stream(struct fuzz *fuzz, unsigned at)
{
    struct stream *stream = fuzz->streams[at];
    unsigned       what   = next_byte(fuzz);

    if (stream == NULL)
        return;
    if (what & 1)
        stream_shut(stream);
    if (what & 2)
        stream_forget(stream);
    if (what & (2 | 4)) {
        fuzz->streams[at] = NULL;
        stream_close(stream);
    } else {
        stream_write(stream, span_of(page, what));
    }
}

static void step_sender(struct fuzz *fuzz, unsigned at)
{
    struct http_sender *sender = fuzz->senders[at];

    fuzz->senders[at] = NULL;
    if (sender != NULL)
        http_identified(sender, &(struct http_caller){ .status = 0 });
}

static void step_end(struct fuzz *fuzz, unsigned what)
{
    if (what == 15)
        http_server_stop(&fuzz->server);
    else if (what == 14 && !fuzz->is_mute)
        sim_send_end(fuzz->link);
    else if (what == 13 && !fuzz->is_mute)
        sim_reset(fuzz->link);
    fuzz->is_mute |= what == 14 || what == 13;
}

static void take_all(struct fuzz *fuzz)
{
    struct buf taken;

    buf_init(&taken, SIZE_MAX / 2);
    sim_take(fuzz->link, &taken, SIZE_MAX);
    buf_fini(&taken);
}

static void fuzz_step(struct fuzz *fuzz)
{
    unsigned step = next_byte(fuzz), number = step >> 4;

    switch (step & 15) {
    case 0: fuzz->now += (msec)number * 1000; break;
    case 1: take_all(fuzz); break;
    case 2: step_later(fuzz, number); break;
    case 3: step_stream(fuzz, number); break;
    case 4: step_sender(fuzz, number); break;
    case 5: http_server_tick(&fuzz->server); break;
    case 6: step_end(fuzz, number); break;
    case 7: say_rest(fuzz, next_byte(fuzz)); break;
    case 8: case 10: case 11: say_frame(fuzz, number, false); break;
    case 9: say_frame(fuzz, 16 * number, false); break;
    default: say_frame(fuzz, 4 * number, true); break;
    }
    loop_sim_turn(&fuzz->sim, fuzz->now);
}

/* --- the whole ------------------------------------------------------------------------------------------------- */

static void fuzz_turn_end(void *ctx)
{
    struct fuzz *fuzz = ctx;
    http_server_turn_end(&fuzz->server);
}

static const struct loop_hooks fuzz_hooks = { .turn_end = fuzz_turn_end };

static const struct http_limits fuzz_limits = {
    .h1 = { .target_bytes_max = 100, .head_bytes_max = 2000 }, .streams_max = 20, .pipeline_max = 4,
    .answer_bytes_max = 1 << 16, .owed_bytes_max = 1 << 20, .ease_bytes_max = 60000, .stuck_ms = 2000,
    .request_timeout_ms = 20000, .head_timeout_ms = 10000, .keepalive_timeout_ms = 60000, .body_bytes_per_s_min = 1,
    .taken_bytes_min = 100, .body_bytes_max = 1500, .linger_ms = 2000,
};

static struct fuzz *fuzz_new(void)
{
    struct fuzz   *fuzz = calloc(1, sizeof *fuzz);
    struct stream *stream;

    must(fuzz != NULL);
    fuzz->now = 1000;
    loop_sim_init(&fuzz->sim, &fuzz_hooks, fuzz, fuzz->now, 1700000000000);
    http_server_init(&fuzz->server, &fuzz->sim.loop, &fuzz_limits, &fuzz_service, fuzz);
    fuzz->link = sim_link_new(&fuzz->sim, &(struct sim_wire){ .room_bytes = 30000 }, &stream);
    http_server_open(&fuzz->server, stream);
    say(fuzz, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
    return fuzz;
}

static void fuzz_free(struct fuzz *fuzz)
{
    http_server_fini(&fuzz->server);
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        step_later(fuzz, i);
        stream_close(fuzz->streams[i]);
    }
    must(counter_get(&fuzz->server.counters.conns) == 0 && counter_get(&fuzz->server.counters.h2_streams) == 0);
    must(fuzz->server.owed_bytes == 0 && fuzz->server.body_bytes == 0);
    sim_link_free(fuzz->link);
    loop_sim_turn(&fuzz->sim, fuzz->now);
    loop_sim_fini(&fuzz->sim);
    http_server_end(&fuzz->server);
    free(fuzz);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct fuzz *fuzz = fuzz_new();

    fuzz->rest = span_of(bytes, len < 1000 ? len : 1000);
    while (fuzz->rest.len > 0)
        fuzz_step(fuzz);
    loop_sim_turn(&fuzz->sim, fuzz->now += 500);
    fuzz_free(fuzz);
    return 0;
}
