/* A reader outlives its link: whatever byte a link is cut at, the next link goes on with the same reader, and the
 * client is given everything once and in order over both, in every format that streams (threats 34, 82). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/ws/ws.h"
#include "session/client.h"
#include "session/session_battery.h"
#include "session/serve.h"

#include <cmocka.h>

enum { HEAD = 6, TURNS_MAX = 400, ROOM_BYTES = 1 << 20, TEXT_BYTES_MAX = 1 << 16 };

#define BOUNDARY "b0undary"

/* One format, and how a client takes its bytes apart. */
struct wire_format {
    const char                 *name;
    const struct stream_format *stream;  /* NULL: a WebSocket with JSON */
    uint64_t                    set;     /* of several channels' tokens; 0: they name them */
    /* The first whole piece: its length, 0 if it is not whole yet; *ret_text is what it says. */
    size_t (*piece)(struct span bytes, struct span *ret_text);
};

/* The link under test; a WebSocket's is a client's. */
struct cut_link {
    struct client             client;
    const struct wire_format *format;
    struct sim_link          *far;
    bool                      is_lost;
};

struct cut_stage {
    struct stage    stage;
    struct reader   reader;
};

/* --- the client's side --- */

static size_t ws_piece_of(struct span bytes, struct span *ret_text)
{
    const unsigned char *at   = (const unsigned char *)bytes.at;
    size_t               head = 2, len;

    if (bytes.len < 2)
        return 0;
    len = at[1];
    must(len <= 126);
    if (len == 126) {
        head = 4;
        len  = bytes.len < 4 ? SIZE_MAX / 2 : (size_t)at[2] << 8 | at[3];
    }
    if (bytes.len < head + len)
        return 0;
    *ret_text = span_of(bytes.at + head, len);
    return head + len;
}

static size_t piece_until(struct span bytes, struct span end, struct span *ret_text)
{
    const char *at = memmem(bytes.at, bytes.len, end.at, end.len);

    if (at == NULL)
        return 0;
    *ret_text = span_of(bytes.at, (size_t)(at - bytes.at));
    return ret_text->len + end.len;
}

static size_t event_of(struct span bytes, struct span *ret_text)
{
    return piece_until(bytes, SPAN("\n\n"), ret_text);
}

static size_t line_of(struct span bytes, struct span *ret_text)
{
    return piece_until(bytes, SPAN("\n"), ret_text);
}

static size_t part_of(struct span bytes, struct span *ret_text)
{
    return piece_until(bytes, SPAN("--" BOUNDARY "\r\n"), ret_text);
}

static const struct wire_format formats[] = {
    { "websocket", NULL, 0, ws_piece_of },
    { "sse", &sse_format, 0, event_of },
    { "sse, tokens of a set", &sse_format, 7, event_of },
    { "ndjson", &ndjson_format, 0, line_of },
    { "multipart", &multipart_format, 0, part_of },
};

/* What stands behind `name` in the text, or NULL. */
static const char *behind(struct span text, const char *name)
{
    const char *at = memmem(text.at, text.len, name, strlen(name));
    return at == NULL ? NULL : at + strlen(name);
}

/* Notes what one piece gives to the channel: " 3" a message, " epoch" or " ahead" a gap. Other pieces say nothing. */
static void note_piece(struct span text, char channel, struct buf *into)
{
    char        in_json[] = "\"channel\":\"topic:x\"", in_head[] = "Longwire-Channel: topic:x\r\n";
    const char *seq = behind(text, "\"seq\":"), *why = behind(text, "\"why\":\"");

    in_json[sizeof in_json - 3] = in_head[sizeof in_head - 4] = channel;
    if (behind(text, in_json) == NULL && behind(text, in_head) == NULL)
        return;
    if (seq == NULL)
        seq = behind(text, "Longwire-Seq: ");
    if (why != NULL)
        buf_putf(into, " %.5s", why);
    else if (seq != NULL)
        buf_putf(into, " %llu", strtoull(seq, NULL, 10));
}

static void note_all(const struct wire_format *format, struct span bytes, char channel, struct buf *into)
{
    struct span text;
    size_t      len;

    while ((len = format->piece(bytes, &text)) > 0) {
        note_piece(text, channel, into);
        bytes = span_skip(bytes, len);
    }
}

/* --- the server's side --- */

static struct cut_link *cut_link_of(struct link *link)
{
    return container_of(container_of(link, struct client, link), struct cut_link, client);
}

static void cut_link_lost(struct link *link)
{
    struct cut_link *cut = cut_link_of(link);

    stream_close(link_stream(link));
    link_fini(link);
    cut->is_lost = true;
}

static struct frame *cut_link_encode(struct link *link, struct reader_sub *sub, const struct entry *entry)
{
    const struct wire_format *format = cut_link_of(link)->format;

    return stream_format_encode(format->stream, SPAN(BOUNDARY), format->set, link, sub, entry);
}

static void put_text(struct buf *words, struct span frame)
{
    ws_put_frame(words, WS_TEXT, frame);
}

static const struct client_kind ws_kind = {
    .link = { .encode = client_encode, .placed = client_placed, .lost = cut_link_lost, .leave = cut_link_lost },
    .dialect = &json_dialect, .transport = TRANSPORT_WS, .put_frame = put_text,
};

static const struct link_kind stream_kind = { .encode = cut_link_encode, .lost = cut_link_lost,
                                              .leave = cut_link_lost };

static void on_readable(struct stream *stream, void *owner)
{
    struct cut_link *cut = owner;

    if (!stream_drain(stream))
        cut_link_lost(&cut->client.link);
}

static void on_writable(struct stream *stream, void *owner)
{
    struct cut_link *cut = owner;

    (void)stream;
    link_on_writable(&cut->client.link);
}

static const struct stream_events cut_link_events = { .on_readable = on_readable, .on_writable = on_writable };

static void cut_link_open(struct cut_link *cut, struct cut_stage *cut_stage, const struct wire_format *format,
                          const struct sim_wire *wire)
{
    struct session_worker *worker = &cut_stage->stage.worker;
    struct link           *link   = &cut->client.link;

    *cut = (struct cut_link){ .format = format };
    if (format->stream == NULL)
        link_init(link, worker, &ws_kind.link, &cut_stage->reader, TRANSPORT_WS, ENCODING_WS_JSON, 0);
    else
        link_init(link, worker, &stream_kind, &cut_stage->reader, format->stream->transport,
                  cut_stage->reader.sub_count > 1 ? ENCODING_PRIVATE : format->stream->shared, 0);
    link->needs_all = format->stream != NULL;
    struct stream *stream;
    cut->far = sim_link_new(&cut_stage->stage.sim, wire, &stream);
    link_set_stream(link, stream);
    stream_start(link_stream(link), &cut_link_events, cut);
    link_mark(link);
}

/* Until it is lost or has had time for everything; then it is cut off in any case. What the client has got. */
static void cut_link_run(struct cut_link *cut, struct cut_stage *cut_stage, struct buf *got)
{
    for (int turn = 0; turn < TURNS_MAX && !cut->is_lost; turn++) {
        if (turn > 10 && reader_is_up_to_date(&cut_stage->reader) && link_waiting_bytes(&cut->client.link) == 0)
            break;
        stage_turn(&cut_stage->stage);
    }
    sim_take(cut->far, got, SIZE_MAX);
    if (!cut->is_lost)
        cut_link_lost(&cut->client.link);
    sim_link_free(cut->far);
    stage_turn(&cut_stage->stage);
}

/* --- the reader --- */

static void cut_stage_init(struct cut_stage *cut_stage, unsigned channels)
{
    static const struct { const char *channel; struct start start; } rows[] = {
        { "topic:a", { START_AFTER, 0, 0 } },
        { "topic:b", { START_AFTER, 3, 8 } },  /* its place is of another life of the log */
        { "topic:c", { START_AFTER, 9, 9 } },  /* … beyond the head */
    };

    stage_init(&cut_stage->stage, 1);
    reader_init(&cut_stage->reader);
    for (unsigned i = 0; i < channels; i++)
        reader_follow(&cut_stage->reader, &cut_stage->stage.worker.readers,
                      stage_log(&cut_stage->stage, rows[i].channel, 1, HEAD)->name, rows[i].start);
}

static void cut_stage_fini(struct cut_stage *cut_stage)
{
    reader_fini(&cut_stage->reader, &cut_stage->stage.worker.readers, 0);
    stage_fini(&cut_stage->stage);
}

/* A link that is cut after `cut_at` bytes, news while there is none, then a link that stays. Returns how many bytes the
 * first one has sent. */
static size_t runs(const struct wire_format *format, unsigned channels, struct sim_wire wire, uint64_t cut_at,
                   bool lets_go)
{
    static const char *const want[] = { " 1 2 3 4 5 6 7", " epoch 1 2 3 4 5 6 7", " ahead 7" };
    struct cut_stage cut_stage;
    struct cut_link  link;
    struct buf       first, second, noted;

    cut_stage_init(&cut_stage, channels);
    if (lets_go)
        cut_stage.stage.worker.cuts.bytes_max = cut_stage.stage.worker.cuts.long_min = 0;
    buf_init(&first, TEXT_BYTES_MAX);
    buf_init(&second, TEXT_BYTES_MAX);
    buf_init(&noted, TEXT_BYTES_MAX);
    wire.cut_out_at = cut_at;
    cut_link_open(&link, &cut_stage, format, &wire);
    cut_link_run(&link, &cut_stage, &first);
    assert_int_equal(cut_stage.reader.sub_count, channels);
    for (unsigned i = 0; i < channels; i++)
        stage_publish(&cut_stage.stage, &cut_stage.stage.logs[i]);
    stage_turn(&cut_stage.stage);
    for (const struct reader_sub *sub = reader_subs(&cut_stage.reader); sub != NULL; sub = reader_sub_next(sub))
        assert_true(subscription_is_lean(&sub->sub));
    wire.cut_out_at = 0;
    cut_link_open(&link, &cut_stage, format, &wire);
    cut_link_run(&link, &cut_stage, &second);
    for (unsigned i = 0; i < channels; i++) {
        buf_clear(&noted);
        note_all(format, buf_span(&first), (char)('a' + i), &noted);
        note_all(format, buf_span(&second), (char)('a' + i), &noted);
        if (!span_eq(buf_span(&noted), span_str(want[i])))
            fail_msg("%s of %u channels, cut at %llu: %.*s", format->name, channels, (unsigned long long)cut_at,
                     SPAN_ARG(buf_span(&noted)));
    }
    size_t sent = first.len;
    assert_int_equal(counter_get(&cut_stage.stage.worker.cuts.bytes), 0);
    assert_int_equal(counter_get(&cut_stage.stage.worker.cuts.lost), 0);
    if (lets_go && wire.write_bytes_max > 0)
        assert_true(counter_get(&cut_stage.stage.worker.cuts.remade) > 0);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&noted);
    cut_stage_fini(&cut_stage);
    return sent;
}

/* Cuts at each `step`th byte, where several channels make more of them at each third of those. */
static void runs_cut_everywhere(struct sim_wire wire, size_t step, bool lets_go)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        for (unsigned channels = 1; channels <= 3; channels += 2) {
            size_t sent = runs(&formats[i], channels, wire, 0, lets_go);
            for (size_t cut_at = 1; cut_at <= sent; cut_at += step * channels)
                runs(&formats[i], channels, wire, cut_at, lets_go);
        }
}

/* The stream takes everything at once, until it breaks. */
static void a_link_may_be_cut_at_any_byte(void **state)
{
    (void)state;
    runs_cut_everywhere((struct sim_wire){ .room_bytes = ROOM_BYTES }, 1, false);
}

/* Each write takes a little, so that a frame waits, half sent, when the link breaks. */
static void a_link_may_be_cut_in_a_frame_that_waits(void **state)
{
    (void)state;
    runs_cut_everywhere((struct sim_wire){ .room_bytes = ROOM_BYTES, .write_bytes_max = 70 }, 7, false);
}

/* The same, and no frame that was cut is held: each is made again from the log, to the byte, with the token of its
 * moment and the gap that it tells. */
static void a_frame_that_was_let_go_is_made_again(void **state)
{
    (void)state;
    runs_cut_everywhere((struct sim_wire){ .room_bytes = ROOM_BYTES, .write_bytes_max = 170 }, 31, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_may_be_cut_at_any_byte),
        cmocka_unit_test(a_link_may_be_cut_in_a_frame_that_waits),
        cmocka_unit_test(a_frame_that_was_let_go_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
