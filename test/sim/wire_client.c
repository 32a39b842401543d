#include "wire_client.h"

#include <stdlib.h>

#include "base/must.h"
#include "model.h"
#include "wire_node.h"

enum {
    TOKEN_NAME_MAX = 233,
    IN_BYTES_MAX   = 16 * 1024 * 1024,
    SIP_BYTES_MAX  = 2000,
    LINK_MS_MAX    = 700,
    CUT_BYTES_MAX  = 4000,
    FRAME_HEAD_MAX = 14,
};

/* --- the link --- */

void client_link_init(struct client_link *link, struct wire_world *wire, enum purpose purpose)
{
    *link = (struct client_link){ .wire = wire, .purpose = purpose };
    buf_init(&link->in, IN_BYTES_MAX);
}

void client_link_fini(struct client_link *link)
{
    client_link_close(link);
    buf_fini(&link->in);
}

static void wire_draw_cuts(struct wire_world *wire, enum purpose purpose, struct sim_wire *ret)
{
    struct world *world = &wire->world;

    if (wire->faults.cuts && one_in(world, purpose, 3))
        ret->cut_in_at = 1 + draw(world, purpose, CUT_BYTES_MAX / 4);
    if (wire->faults.cuts && one_in(world, purpose, 2))
        ret->cut_out_at = 1 + draw(world, purpose, CUT_BYTES_MAX);
    ret->is_dead = wire->faults.dead && one_in(world, purpose, 12);
}

struct sim_wire wire_draw(struct wire_world *wire, enum purpose purpose)
{
    struct world   *world = &wire->world;
    struct sim_wire ret   = { .room_bytes = wire->faults.big ? 1 << 20 : 1 << 16 };

    ret.is_layered = wire->plant == WIRE_PLANT_NONE && one_in(world, purpose, 3);
    if (wire->faults.narrow && !wire->faults.big && one_in(world, purpose, 2))
        ret.room_bytes = 100 + draw(world, purpose, 4000);
    if (wire->faults.short_writes && one_in(world, purpose, 2))
        ret.write_bytes_max = wire->faults.big ? 100000 : 1 + draw(world, purpose, 500);
    if (wire->faults.short_reads && ret.is_layered && one_in(world, purpose, 2))
        ret.read_bytes_max = 1 + draw(world, purpose, wire->faults.big ? 50000 : 300);
    if (wire->faults.short_writes && one_in(world, purpose, 3))
        ret.rng = &world->chance[purpose];
    if (wire->faults.delays)
        ret.delay_ms = (msec)draw(world, purpose, 30);
    if (!world->is_healing)
        wire_draw_cuts(wire, purpose, &ret);
    return ret;
}

bool client_link_open(struct client_link *link, bool is_native)
{
    struct wire_world *wire  = link->wire;
    struct world      *world = &wire->world;
    struct sim_wire    made  = wire_draw(wire, link->purpose);

    must(link->link == NULL);
    link->loop = (unsigned)draw(world, link->purpose, world->loop_count);
    link->link = wire_node_connect(wire_node_at(wire, link->loop), link->loop % world->loops_a_node, &made, is_native);
    if (link->link == NULL)
        return false;
    buf_clear(&link->in);
    link->is_half_closed = false;
    link->heard_at       = world->now;
    link->reset_at       = 0;
    if (wire->faults.resets && !world->is_healing && one_in(world, link->purpose, 2))
        link->reset_at = world->now + 1 + (msec)draw(world, link->purpose, LINK_MS_MAX);
    link->sip_bytes = SIZE_MAX;
    if (wire->faults.slow && !wire->faults.big && one_in(world, link->purpose, 2))
        link->sip_bytes = 1 + draw(world, link->purpose, SIP_BYTES_MAX);
    link->is_slow = link->sip_bytes != SIZE_MAX || made.room_bytes < SIP_BYTES_MAX || made.write_bytes_max != 0;
    return true;
}

void client_link_close(struct client_link *link)
{
    if (link->link == NULL)
        return;
    sim_link_free(link->link);
    link->link = NULL;
    buf_clear(&link->in);
}

void client_link_send(struct client_link *link, struct span bytes)
{
    must(link->link != NULL && !link->is_half_closed);
    if (!sim_link_wire(link->link)->is_dead)
        sim_send(link->link, bytes);
}

void client_link_half_close(struct client_link *link)
{
    if (link->is_half_closed || sim_link_wire(link->link)->is_dead)
        return;
    link->is_half_closed = true;
    sim_send_end(link->link);
}

static bool client_link_breaks(const struct client_link *link)
{
    return link->reset_at != 0 && link->reset_at <= link->wire->world.now;
}

/* It carries all from now on; if it is dead, it stays so. */
static void client_link_heal(struct client_link *link)
{
    struct sim_wire *wire = sim_link_wire(link->link);

    wire->room_bytes      = 1 << 20;
    wire->write_bytes_max = wire->read_bytes_max = 0;
    wire->cut_in_at = wire->cut_out_at = 0;
    wire->rng       = NULL;
    link->sip_bytes = SIZE_MAX;
    link->reset_at  = 0;
}

/* A link that is dead carries nothing; nobody hears of its end. */
enum sim_end client_link_read(struct client_link *link)
{
    struct world *world = &link->wire->world;

    if (world->is_healing)
        client_link_heal(link);
    if (client_link_breaks(link)) {
        sim_reset(link->link);
        return SIM_RESET;
    }
    if (sim_link_wire(link->link)->is_dead)
        return SIM_OPEN;
    if (sim_take(link->link, &link->in, link->sip_bytes) > 0)
        link->heard_at = world->now;
    promise(world, !buf_is_over(&link->in), "a client that reads is not sent so much that it can't understand");
    return sim_link_end(link->link);
}

/* --- HTTP --- */

static bool line_is_next(struct span *rest, struct span *ret_line)
{
    const char *end = rest->len == 0 ? NULL : memmem(rest->at, rest->len, "\r\n", 2);

    if (end == NULL)
        return false;
    *ret_line = span_head(*rest, (size_t)(end - rest->at));
    *rest     = span_skip(*rest, ret_line->len + 2);
    return true;
}

struct span reply_field(struct span head, struct span name)
{
    struct span line;

    while (line_is_next(&head, &line))
        if (line.len > name.len && line.at[name.len] == ':' && span_eq_nocase(span_head(line, name.len), name))
            return span_trim(span_skip(line, name.len + 1));
    return SPAN("");
}

bool reply_head_read(struct world *world, struct span in, struct reply *ret)
{
    const char *end = in.len == 0 ? NULL : memmem(in.at, in.len, "\r\n\r\n", 4);
    uint64_t    status;

    if (in.len >= 5)
        promise(world, span_starts(in, SPAN("HTTP/")), "not HTTP: \"%.*s\"", (int)(in.len < 60 ? in.len : 60), in.at);
    if (end == NULL)
        return false;
    *ret = (struct reply){ .head = span_head(in, (size_t)(end - in.at) + 2) };
    promise(world, span_starts(in, SPAN("HTTP/1.1 ")) && span_u64(span_head(span_skip(in, 9), 3), &status),
            "not HTTP: \"%.*s\"", 40, in.at);
    ret->status      = (unsigned)status;
    ret->used        = ret->head.len + 2;
    ret->is_chunked  = span_eq_nocase(reply_field(ret->head, SPAN("Transfer-Encoding")), SPAN("chunked"));
    ret->is_last     = span_eq_nocase(reply_field(ret->head, SPAN("Connection")), SPAN("close"));
    ret->is_replayed = span_eq(reply_field(ret->head, SPAN("Idempotency-Replayed")), SPAN("true"));
    return true;
}

bool reply_read(struct world *world, struct span in, struct reply *ret)
{
    struct reply reply;
    uint64_t     len;

    if (!reply_head_read(world, in, &reply))
        return false;
    promise(world, span_u64(reply_field(reply.head, SPAN("Content-Length")), &len), "an answer %u without a length",
            reply.status);
    if (in.len - reply.used < len)
        return false;
    reply.body = span_head(span_skip(in, reply.used), len);
    reply.used += len;
    *ret = reply;
    return true;
}

static size_t hex_read(struct world *world, struct span text)
{
    size_t number = 0;

    promise(world, text.len > 0 && text.len < 9, "a chunk's length is \"%.*s\"", SPAN_ARG(text));
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = text.at[i] == '\0' ? NULL : strchr("0123456789abcdef", text.at[i] | 0x20);
        promise(world, digit != NULL, "a chunk's length is \"%.*s\"", SPAN_ARG(text));
        number = number * 16 + (size_t)(digit - "0123456789abcdef");
    }
    return number;
}

bool chunks_read(struct world *world, struct buf *in, struct buf *out)
{
    struct span rest = buf_span(in), line;
    bool        is_last = false;

    while (!is_last) {
        struct span from = rest;
        if (!line_is_next(&rest, &line)) {
            promise(world, rest.len < 20, "a chunk has no length: \"%.*s\"", 20, rest.at);
            break;
        }
        size_t len = hex_read(world, line);
        if (rest.len < len + 2) {
            rest = from;
            break;
        }
        promise(world, memcmp(rest.at + len, "\r\n", 2) == 0, "a chunk is longer than it says");
        buf_put(out, span_head(rest, len));
        rest    = span_skip(rest, len + 2);
        is_last = len == 0;
    }
    buf_drop(in, in->len - rest.len);
    return is_last;
}

/* --- WebSocket --- */

static uint64_t big_endian(const char *at, size_t count)
{
    uint64_t number = 0;

    for (size_t i = 0; i < count; i++)
        number = number << 8 | (unsigned char)at[i];
    return number;
}

bool ws_hear(struct world *world, struct span in, struct ws_heard *ret)
{
    if (in.len < 2)
        return false;
    unsigned first = (unsigned char)in.at[0], second = (unsigned char)in.at[1];
    size_t   more  = second == 126 ? 2 : second == 127 ? 8 : 0;

    promise(world, (first & 0xf0) == 0x80 && second < 128, "a server's frame is whole, bare and not masked: %02x %02x",
            first, second);
    promise(world, (first & 15) == 1 || ((first & 15) >= 8 && (first & 15) <= 10 && more == 0),
            "no frame begins with %02x", first);
    if (in.len < 2 + more)
        return false;
    uint64_t len = more == 0 ? second : big_endian(in.at + 2, more);
    promise(world, len <= IN_BYTES_MAX, "a frame of %" PRIu64 " bytes", len);
    if (in.len < 2 + more + len)
        return false;
    *ret = (struct ws_heard){ first & 15, span_head(span_skip(in, 2 + more), len), 2 + more + len };
    return true;
}

static void ws_say_piece(struct client_link *link, unsigned opcode, bool is_last, struct span payload)
{
    struct world *world = &link->wire->world;
    uint64_t      word  = draw(world, link->purpose, UINT64_C(1) << 32);
    char          mask[4];
    struct buf    frame;

    memcpy(mask, &word, sizeof mask);
    buf_init(&frame, payload.len + FRAME_HEAD_MAX);
    buf_putc(&frame, (char)((is_last ? 0x80 : 0) | opcode));
    size_t more = payload.len < 126 ? 0 : payload.len < 65536 ? 2 : 8;
    buf_putc(&frame, (char)(0x80 | (more == 0 ? payload.len : more == 2 ? 126 : 127)));
    for (size_t i = more; i-- > 0;)
        buf_putc(&frame, (char)(payload.len >> (8 * i)));
    buf_put(&frame, span_of(mask, sizeof mask));
    char *masked = buf_extend(&frame, payload.len);
    for (size_t i = 0; i < payload.len; i++)
        masked[i] = (char)(payload.at[i] ^ mask[i % 4]);
    client_link_send(link, buf_span(&frame));
    buf_fini(&frame);
}

void ws_say(struct client_link *link, unsigned opcode, struct span payload)
{
    struct world *world = &link->wire->world;

    if (opcode < 8 && payload.len > 1 && one_in(world, link->purpose, 5)) {
        size_t cut = 1 + draw(world, link->purpose, payload.len - 1);
        ws_say_piece(link, opcode, false, span_head(payload, cut));
        ws_say_piece(link, 0, true, span_skip(payload, cut));
    } else {
        ws_say_piece(link, opcode, true, payload);
    }
}

void ws_ask_upgrade(struct client_link *link, const char *query)
{
    struct buf request;

    buf_init(&request, 16384);
    buf_putf(&request, "GET /v1/ws%s%s HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             *query == '\0' ? "" : "?", query);
    client_link_send(link, buf_span(&request));
    buf_fini(&request);
}

/* RFC 6455 1.3 has this pair of key and answer. */
void ws_check_upgrade(struct world *world, const struct reply *reply)
{
    promise(world, reply->status == 101, "a proper upgrade is answered %u", reply->status);
    promise(world,
            span_eq(reply_field(reply->head, SPAN("Sec-WebSocket-Accept")), SPAN("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
            "an upgrade is accepted for another key");
}

/* --- objects --- */

void object_reader_init(struct object_reader *reader, struct world *world)
{
    reader->world = world;
    json_doc_init(&reader->doc);
    buf_init(&reader->scratch, IN_BYTES_MAX);
}

void object_reader_fini(struct object_reader *reader)
{
    json_doc_fini(&reader->doc);
    buf_fini(&reader->scratch);
}

const struct json_token *object_read(struct object_reader *reader, struct span text)
{
    static const struct json_limits limits = { .depth_kept = 4 };

    buf_clear(&reader->scratch);
    promise(reader->world, json_parse(text, &limits, &reader->doc), "a client is sent what is not JSON: %.*s",
            SPAN_ARG(span_head(text, 120)));
    return json_root(&reader->doc);
}

bool object_has(const struct object_reader *reader, const struct json_token *object, const char *name)
{
    return json_member(&reader->doc, object, span_str(name)) != NULL;
}

struct span object_text(struct object_reader *reader, const struct json_token *object, const char *name)
{
    struct span text = SPAN("");

    promise(reader->world, json_string(json_member(&reader->doc, object, span_str(name)), &reader->scratch, &text),
            "no %s in %.*s", name, SPAN_ARG(span_head(object->raw, 150)));
    return text;
}

uint64_t object_number(struct object_reader *reader, const struct json_token *object, const char *name)
{
    uint64_t number = 0;

    promise(reader->world, json_u64(json_member(&reader->doc, object, span_str(name)), &number), "no %s in %.*s", name,
            SPAN_ARG(span_head(object->raw, 150)));
    return number;
}

uint64_t object_epoch(struct object_reader *reader, const struct json_token *object)
{
    return epoch_read(object_text(reader, object, "epoch"));
}

unsigned channel_named(struct world *world, struct span name)
{
    unsigned channel = 0;

    while (channel < world->channel_count && !span_eq(span_str(world->channels[channel]->text), name))
        channel++;
    promise(world, channel < world->channel_count, "nobody asked for the channel %.*s", SPAN_ARG(name));
    return channel;
}

unsigned object_channel(struct object_reader *reader, const struct json_token *object)
{
    return channel_named(reader->world, object_text(reader, object, "channel"));
}

static enum gap_why why_named(struct world *world, struct span text)
{
    for (enum gap_why why = GAP_EXPIRED; why <= GAP_COLLAPSED; why++)
        if (span_eq(span_str(gap_why_text(why)), text))
            return why;
    promise_broken(world, "no gap is %.*s", SPAN_ARG(text));
}

static struct message *object_message(struct object_reader *reader, const struct json_token *object, unsigned channel)
{
    bool              is_recall   = span_eq(object_text(reader, object, "type"), SPAN("recall"));
    bool              is_recalled = object_has(reader, object, "recalled");
    struct span       data = is_recall || is_recalled ? SPAN("") : object_text(reader, object, "data");
    enum message_kind kind = is_recall ? MESSAGE_RECALL : is_recalled ? MESSAGE_RECALLED : MESSAGE_PLAIN;

    struct message *message = message_new(reader->world->channels[channel], kind, data.at, (uint32_t)data.len,
                                          SPAN("text/plain"), SPAN(""));
    message->epoch  = object_epoch(reader, object);
    message->seq    = object_number(reader, object, "seq");
    message->time   = (msec)object_number(reader, object, "time");
    message->target = is_recall ? object_number(reader, object, "target") : 0;
    return message;
}

struct heard object_heard(struct object_reader *reader, const struct json_token *object)
{
    struct span  type  = object_text(reader, object, "type");
    struct heard heard = { .channel = object_channel(reader, object), .epoch = object_epoch(reader, object) };

    promise(reader->world,
            span_eq(type, SPAN("gap")) || span_eq(type, SPAN("recall")) || span_eq(type, SPAN("message")),
            "a client is sent a %.*s", SPAN_ARG(type));
    if (span_eq(type, SPAN("gap")))
        heard.gap = (struct gap){ object_number(reader, object, "from"), object_number(reader, object, "to"),
                                  why_named(reader->world, object_text(reader, object, "why")) };
    else
        heard.message = object_message(reader, object, heard.channel);
    return heard;
}

void heard_check(struct world *world, struct heard *heard, msec since)
{
    struct log_now log = world_log(world, heard->channel);

    if (heard->message == NULL && log.epoch == heard->epoch)
        model_check_gap(world->model, heard->channel, &heard->gap, &log);
    if (heard->message == NULL)
        return;
    /* Clients are not told by which recall something was taken back. */
    if (heard->message->kind != MESSAGE_RECALLED)
        model_saw(world->model, heard->channel, heard->message, since);
    message_unref(heard->message);
    heard->message = NULL;
}

/* --- tokens --- */

static size_t base64url_read(struct world *world, struct span text, unsigned char *ret, size_t room)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t          bits = 0;
    size_t            len = 0, have = 0;

    for (size_t i = 0; i < text.len; i++) {
        const char *digit = text.at[i] == '\0' ? NULL : strchr(digits, text.at[i]);
        promise(world, digit != NULL && len < room, "not a token: %.*s", SPAN_ARG(text));
        bits = bits << 6 | (uint32_t)(digit - digits);
        have += 6;
        if (have >= 8)
            ret[len++] = (unsigned char)(bits >> (have -= 8));
    }
    return len;
}

static uint64_t varint_read(const unsigned char **at)
{
    uint64_t number = 0;

    for (int shift = 0; shift < 64; shift += 7) {
        unsigned char byte = *(*at)++;
        number |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            break;
    }
    return number;
}

/* One name: what it shares with the name before, and the rest. Returns its length. */
static size_t token_name_read(const unsigned char **at, char *name, size_t before_len)
{
    size_t shared = before_len == 0 ? 0 : *(*at)++, len = *(*at)++;

    must(shared <= before_len && shared + len <= TOKEN_NAME_MAX);
    memcpy(name + shared, *at, len);
    *at += len;
    return shared + len;
}

/* Form 2 of codec/token/token.h, read without its code. So few channels never come as a set. */
void token_read(struct world *world, struct span token, struct kept_place ret_places[CHANNELS_MAX])
{
    unsigned char        bytes[512 + 16] = { 0 };
    char                 name[TOKEN_NAME_MAX];
    size_t               len      = base64url_read(world, token, bytes, 512), name_len = 0;
    const unsigned char *at       = bytes + 1;
    uint64_t             count    = varint_read(&at), epoch_count = varint_read(&at);
    const unsigned char *epochs   = at;

    promise(world, len > 6 && bytes[0] == 2, "not a token: %.*s", SPAN_ARG(token));
    for (at += 8 * epoch_count; count > 0; count--) {
        promise(world, at < bytes + len - 4, "a token is cut: %.*s", SPAN_ARG(token));
        name_len       = token_name_read(&at, name, name_len);
        uint64_t index = epoch_count > 1 ? varint_read(&at) : 0;
        promise(world, index < epoch_count, "a token names an epoch that it has not: %.*s", SPAN_ARG(token));
        ret_places[channel_named(world, span_of(name, name_len))] =
            (struct kept_place){ big_endian((const char *)epochs + 8 * index, 8), varint_read(&at), true, true };
    }
}

uint64_t epoch_read(struct span text)
{
    char copy[17] = { 0 };

    must(text.len == 16);
    memcpy(copy, text.at, 16);
    return strtoull(copy, NULL, 16);
}
