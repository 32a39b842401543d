#include <stdio.h>

#include "wire_follower_priv.h"
#include "wire_node.h"

enum { POLL_BYTES = 1024 * 1024, POLL_OBJECTS = 1000 };  /* what a poll's answer ends with */

/* One event is a few lines and an empty one. */
static void hear_event(struct follower *follower, struct span event)
{
    struct span id = SPAN(""), line;

    while (span_cut(&event, '\n', &line)) {
        if (span_eq(line, SPAN("event: cursor"))) {
            follower_take_token(follower, id);
            return;
        }
        if (span_starts(line, SPAN("id: ")))
            id = span_skip(line, 4);
        else if (span_starts(line, SPAN("data: ")))
            follower_take_object(follower, follower_read(follower, span_skip(line, 6)));
        else
            promise(&follower->wire->world,
                    span_eq(line, SPAN("event: gap")),
                    "follower %u is sent the line \"%.*s\"", follower->no, SPAN_ARG(span_head(line, 80)));
    }
    if (id.len > 0)
        follower_take_token(follower, id);
}

static void hear_line(struct follower *follower, struct span line)
{
    const struct json_token *object = follower_read(follower, line);
    const struct json_token *cursor = json_member(&follower->all->objects.doc, object, SPAN("cursor"));
    bool                     is_ping = span_eq(object_text(&follower->all->objects, object, "type"), SPAN("ping"));
    struct span              token;

    promise(&follower->wire->world, is_ping || cursor != NULL, "follower %u is sent a line without a cursor",
            follower->no);
    if (!is_ping)
        follower_take_object(follower, object);
    if (json_string(cursor, &follower->all->objects.scratch, &token))
        follower_take_token(follower, token);
}

/* Takes a heartbeat or `retry:`, which are lines alone in front of an event. False: none stands here, or not whole. */
static bool hear_lone_line(struct follower *follower, struct span *rest)
{
    struct span after = *rest, line;

    if (memchr(rest->at, '\n', rest->len) == NULL || !span_cut(&after, '\n', &line))
        return false;
    bool is_retry = span_starts(line, SPAN("retry: "));
    if (!is_retry && !span_eq(line, SPAN(":")))
        return false;
    follower->retry_count += is_retry;
    *rest = after;
    return true;
}

/* Events end with an empty line, lines with LF. */
static void hear_text(struct follower *follower)
{
    bool        is_sse = follower->way == BY_SSE;
    struct span rest   = buf_span(&follower->text);
    const char *end;

    while (rest.len > 0) {
        if (is_sse && hear_lone_line(follower, &rest))
            continue;
        if ((end = memmem(rest.at, rest.len, "\n\n", is_sse ? 2 : 1)) == NULL)
            break;
        struct span one = span_head(rest, (size_t)(end - rest.at));
        rest            = span_skip(rest, one.len + (is_sse ? 2 : 1));
        if (is_sse)
            hear_event(follower, one);
        else
            hear_line(follower, one);
    }
    buf_drop(&follower->text, follower->text.len - rest.len);
}

static uint64_t part_number(struct follower *follower, struct span head, const char *name)
{
    uint64_t number = 0;

    promise(&follower->wire->world, span_u64(reply_field(head, span_str(name)), &number), "a part without %s", name);
    return number;
}

static void hear_part_message(struct follower *follower, struct span head, struct span body)
{
    struct world     *world = &follower->wire->world;
    struct span       recall = reply_field(head, SPAN("Longwire-Recall"));
    bool              is_recalled = reply_field(head, SPAN("Longwire-Recalled")).len > 0;
    enum message_kind kind = recall.len > 0 ? MESSAGE_RECALL : is_recalled ? MESSAGE_RECALLED : MESSAGE_PLAIN;
    struct heard      heard  = { .channel = channel_named(world, reply_field(head, SPAN("Longwire-Channel"))),
                                 .epoch   = epoch_read(reply_field(head, SPAN("Longwire-Epoch"))) };

    heard.message = message_new(world->channels[heard.channel], kind, body.at, (uint32_t)body.len, SPAN("text/plain"),
                                SPAN(""));
    heard.message->epoch  = heard.epoch;
    heard.message->seq    = part_number(follower, head, "Longwire-Seq");
    heard.message->time   = (msec)part_number(follower, head, "Longwire-Time");
    heard.message->target = recall.len > 0 ? part_number(follower, head, "Longwire-Recall") : 0;
    follower_take(follower, &heard);
}

static void hear_part(struct follower *follower, struct span head, struct span body)
{
    struct span media  = reply_field(head, SPAN("Content-Type"));
    struct span cursor = reply_field(head, SPAN("Longwire-Cursor"));

    if (span_eq(media, SPAN("application/vnd.longwire.gap+json")))
        follower_take_object(follower, follower_read(follower, body));
    else if (!span_eq(media, SPAN("application/vnd.longwire.ping+json")))
        hear_part_message(follower, head, body);
    if (cursor.len > 0)
        follower_take_token(follower, cursor);
}

/* A part is its head, as many bytes as it says, and the delimiter that closes it. */
static void hear_parts(struct follower *follower)
{
    struct world *world = &follower->wire->world;
    struct span   mark  = span_str(follower->boundary), rest = buf_span(&follower->text);
    const char   *end;

    while (rest.len > 0) {
        size_t delimiter = 4 + mark.len + 2;
        if (!follower->is_begun) {
            if (rest.len < delimiter - 2)
                break;
            promise(world, memcmp(rest.at + 2, mark.at, mark.len) == 0, "a multipart stream begins with its delimiter");
            rest               = span_skip(rest, delimiter - 2);
            follower->is_begun = true;
        }
        if (rest.len == 0 || (end = memmem(rest.at, rest.len, "\r\n\r\n", 4)) == NULL)
            break;
        struct span head = span_head(rest, (size_t)(end - rest.at) + 2);
        uint64_t    len  = part_number(follower, head, "Content-Length");
        if (rest.len < head.len + 2 + len + delimiter)
            break;
        struct span body = span_head(span_skip(rest, head.len + 2), len);
        rest             = span_skip(rest, head.len + 2 + len);
        promise(world, span_starts(rest, SPAN("\r\n--")) && memcmp(rest.at + 4, mark.at, mark.len) == 0,
                "a part is as long as it says");
        follower->is_told |= rest.at[4 + mark.len] == '-';
        rest = span_skip(rest, delimiter);
        hear_part(follower, head, body);
    }
    buf_drop(&follower->text, follower->text.len - rest.len);
}

/* The server stops: in each format that has a word for it, it's said. */
static void check_stream_end(const struct follower *follower)
{
    struct world *world = &follower->wire->world;

    promise(world, follower->wire->nodes[0]->leave_by != 0, "follower %u by %s is ended, and the server does not stop",
            follower->no, follower_way_text(follower->way));
    promise(world, follower->way != BY_SSE || follower->retry_count == 2,
            "an event stream ends, and does not say when to come");
    promise(world, follower->way != BY_MULTIPART || follower->is_told,
            "a multipart stream ends without its last delimiter");
}

void follower_hear_stream(struct follower *follower)
{
    bool is_over = chunks_read(&follower->wire->world, &follower->link.in, &follower->text);

    if (follower->way == BY_MULTIPART)
        hear_parts(follower);
    else
        hear_text(follower);
    if (!is_over)
        return;
    check_stream_end(follower);
    follower_go(follower, "the stream has ended");
}

void follower_hear_stream_head(struct follower *follower, const struct reply *reply)
{
    struct world *world = &follower->wire->world;
    struct span   media = reply_field(reply->head, SPAN("Content-Type"));
    const char   *mark  = memmem(media.at, media.len, "boundary=", 9);

    promise(world, reply->status == 200 && reply->is_chunked, "follower %u by %s is answered %u", follower->no,
            follower_way_text(follower->way), reply->status);
    if (follower->way == BY_MULTIPART) {
        promise(world, mark != NULL, "a multipart stream names its boundary");
        struct span boundary = span_of(mark + 9, (size_t)(media.at + media.len - mark - 9));
        if (boundary.len > 1 && boundary.at[0] == '"')
            boundary = span_head(span_skip(boundary, 1), boundary.len - 2);
        snprintf(follower->boundary, sizeof follower->boundary, "%.*s", SPAN_ARG(boundary));
    }
    buf_drop(&follower->link.in, reply->used);
    follower->state = IS_HEARING;
    follower_hear_stream(follower);
}

/* --- long polls --- */

static void hear_poll_messages(struct follower *follower, const struct json_token *root, size_t body_len)
{
    const struct json_doc   *doc  = &follower->all->objects.doc;
    const struct json_token *list = json_member(doc, root, SPAN("messages")), *one;

    promise(&follower->wire->world, list != NULL && list->type == JSON_ARRAY, "a poll's answer is a list");
    bool     is_full = body_len >= POLL_BYTES || list->count >= POLL_OBJECTS;
    unsigned left    = list->count - (is_full && follower->wire->plant == WIRE_PLANT_POLL_STEPS);
    for (one = json_first(doc, list); one != NULL && left > 0; one = json_next(doc, list, one), left--)
        follower_take_object(follower, one);
}

void follower_hear_poll(struct follower *follower)
{
    struct world *world = &follower->wire->world;
    struct reply  reply;
    struct span   token;

    if (!reply_read(world, buf_span(&follower->link.in), &reply))
        return;
    if (reply.status == 503) {
        promise(world, follower->wire->nodes[0]->leave_by != 0 || follower->wire->born_at > follower->came_at,
                "a poll is answered 503, and the server does not stop");
        follower_go(follower, "503");
        return;
    }
    promise(world, reply.status == 200, "a poll is answered %u", reply.status);
    const struct json_token *root = follower_read(follower, reply.body);
    hear_poll_messages(follower, root, reply.body.len);
    const struct json_token *cursor = json_member(&follower->all->objects.doc, root, SPAN("cursor"));
    if (json_string(cursor, &follower->all->objects.scratch, &token))
        follower_take_token(follower, token);
    buf_drop(&follower->link.in, reply.used);
    if (reply.is_last)
        follower_go(follower, "the poll's connection closes");
    else if (follower->at <= world->now && !world->is_healing)
        follower_go(follower, "as it likes");
    else
        follower_ask_by_http(follower);
}
