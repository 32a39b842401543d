#include "wire_poster.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "model.h"
#include "wire_client.h"
#include "wire_node.h"

enum {
    POSTERS_MAX     = 3,
    ASKS_MAX        = 6,
    PARTS_MAX       = 4,   /* messages of a batch */
    PAUSE_MS_MAX    = 40,
    RETRY_MS_MAX    = 60,
    BIG_RETRY_MS_MAX = 600,
    STAY_MS_MAX     = 600,
    PATIENCE_MS     = 500,
    PADDING_MAX     = 200,
    BIG_BYTES       = 600000,
    BIG_ASKS_MAX    = 10,
    REQUEST_BYTES_MAX = 8 * 1024 * 1024,
};

enum ask_kind { ASK_POST, ASK_BATCH, ASK_RECALL, ASK_HISTORY, ASK_KIND_COUNT };

/* One request, until it is answered for good. */
struct ask {
    enum ask_kind  kind;
    bool           is_taken;
    bool           is_sent;
    unsigned       channel;
    unsigned       count;             /* messages that still wait for a good answer */
    struct intent *intents[PARTS_MAX];
    unsigned       waiting;           /* by WebSocket: a bit for each of them that is not answered */
    unsigned       tries;
    msec           at;                /* sent, or to be sent (again) */
    uint64_t       bound;             /* of history: after it … */
    uint64_t       acked_epoch, acked_head;  /* … and what was acknowledged when it was asked for */
};

enum poster_state { IS_AWAY, IS_UPGRADING, IS_OPEN };

struct poster {
    struct posters    *all;
    struct wire_world *wire;
    unsigned           no;
    struct client_link link;
    enum poster_state  state;
    bool               is_ws;
    bool               is_closing;      /* the server has said that no further answer comes */
    msec               at;              /* away: until then; else it goes then */
    msec               next_at;
    unsigned           sent[ASKS_MAX];  /* HTTP: asks under way, in the order of sending */
    unsigned           sent_count;
    struct ask         asks[ASKS_MAX];
};

struct posters {
    struct wire_world   *wire;
    unsigned             count;
    unsigned             big_count;
    bool                 are_leaving;
    struct object_reader objects;
    struct poster        at[POSTERS_MAX];
};

static const char *channel_text(const struct poster *poster, unsigned channel)
{
    return poster->wire->world.channels[channel]->text;
}

/* --- how it ends --- */

static void ask_drop_intent(struct ask *ask, unsigned part, enum intent_state state)
{
    if (state != INTENT_ACKED)
        ask->intents[part]->state = state;
    ask->intents[part] = NULL;
}

/* Closes up behind what is settled. */
static void ask_end_if_done(struct poster *poster, struct ask *ask)
{
    struct world *world = &poster->wire->world;
    uint64_t      pause = poster->wire->faults.big ? BIG_RETRY_MS_MAX : RETRY_MS_MAX;
    unsigned      count = 0;

    for (unsigned i = 0; i < ask->count; i++)
        if (ask->intents[i] != NULL)
            ask->intents[count++] = ask->intents[i];
    ask->count    = count;
    ask->is_sent  = false;
    ask->is_taken = count > 0;
    ask->at       = world->now + 1 + (msec)draw(world, OF_PUBLISHERS, pause);
}

/* Not written, or nobody knows. */
static void part_failed(struct ask *ask, unsigned part, bool is_certain)
{
    struct intent *intent = ask->intents[part];

    if (!intent->is_keyed)
        ask_drop_intent(ask, part, is_certain && ask->tries == 1 ? INTENT_REFUSED : INTENT_UNKNOWN);
}

static void part_acked(struct poster *poster, struct ask *ask, unsigned part, const struct json_token *receipt,
                       bool is_replayed)
{
    struct world        *world   = &poster->wire->world;
    struct object_reader *objects = &poster->all->objects;
    struct intent       *intent  = ask->intents[part];
    struct append_answer answer  = { object_epoch(objects, receipt), object_number(objects, receipt, "seq"),
                                     object_number(objects, receipt, "id"),
                                     (msec)object_number(objects, receipt, "time") };

    tell(world, "poster %u: %u is in %s as %" PRIu64, poster->no, intent->no, channel_text(poster, intent->channel),
         answer.seq);
    promise(world, object_channel(objects, receipt) == intent->channel, "%u is answered for another channel",
            intent->no);
    promise(world, !is_replayed || (intent->is_keyed && ask->tries > 1), "%u is replayed, and was asked for once",
            intent->no);
    model_acked(world->model, intent, &answer);
    ask_drop_intent(ask, part, INTENT_ACKED);
}

static void check_refusal(const struct poster *poster, unsigned status)
{
    struct wire_world   *wire   = poster->wire;
    const struct faults *faults = &wire->world.faults;
    bool has_trouble = faults->broken || faults->away || faults->stuck || faults->read_io || faults->tight ||
                       wire->faults.stops;
    bool is_possible = (status == 429 && (faults->tight || wire->faults.big)) || (status == 507 && faults->full) ||
                       (status == 503 && has_trouble);

    promise(&wire->world, is_possible, "poster %u is answered %u, for no reason", poster->no, status);
}

/* A result for one message: `object` is its receipt, if it has one. */
static void part_answered(struct poster *poster, struct ask *ask, unsigned part, unsigned status,
                          const struct json_token *object, bool is_replayed)
{
    struct world *world = &poster->wire->world;

    if (status == 201 || status == 200) {
        promise(world, is_replayed == (status == 200) || ask->kind == ASK_RECALL, "replayed is 200, not %u", status);
        part_acked(poster, ask, part, object, is_replayed);
    } else if (status == 404 && ask->kind == ASK_RECALL) {
        model_check_no_target(world->model, ask->intents[part]);
        ask_drop_intent(ask, part, INTENT_REFUSED);
    } else {
        check_refusal(poster, status);
        tell(world, "poster %u: %u is refused with %u", poster->no, ask->intents[part]->no, status);
        part_failed(ask, part, status == 429 || status == 507);
    }
}

static void ask_failed(struct poster *poster, struct ask *ask)
{
    for (unsigned i = 0; i < ask->count; i++)
        if (ask->intents[i] != NULL)
            part_failed(ask, i, false);
    ask_end_if_done(poster, ask);
}

/* --- answers by HTTP --- */

static void batch_answered(struct poster *poster, struct ask *ask, const struct reply *reply)
{
    struct object_reader    *objects = &poster->all->objects;
    const struct json_token *root    = object_read(objects, reply->body);
    const struct json_token *list    = json_member(&objects->doc, root, SPAN("results")), *one;
    unsigned                 part    = 0;

    promise(objects->world, list != NULL && list->count == ask->count, "a batch of %u has other results", ask->count);
    for (one = json_first(&objects->doc, list); one != NULL; one = json_next(&objects->doc, list, one), part++)
        part_answered(poster, ask, part, (unsigned)object_number(objects, one, "status"), one,
                      object_has(objects, one, "replayed"));
}

static void history_answered(struct poster *poster, struct ask *ask, const struct reply *reply)
{
    struct object_reader    *objects = &poster->all->objects;
    struct world            *world   = objects->world;
    const struct json_token *root    = object_read(objects, reply->body);
    const struct json_token *list    = json_member(&objects->doc, root, SPAN("messages")), *one;
    uint64_t                 head    = object_number(objects, root, "head"), next = ask->bound + 1;

    promise(world, object_channel(objects, root) == ask->channel && list != NULL, "a page of another channel");
    promise(world, object_epoch(objects, root) != ask->acked_epoch || head >= ask->acked_head,
            "what is acknowledged can be read: %s has %" PRIu64 " messages, %" PRIu64 " were acknowledged",
            channel_text(poster, ask->channel), head, ask->acked_head);
    for (one = json_first(&objects->doc, list); one != NULL; one = json_next(&objects->doc, list, one)) {
        struct heard heard = object_heard(objects, one);
        promise(world, (heard.message != NULL ? heard.message->seq : heard.gap.from) == next,
                "a page of %s has a hole before %" PRIu64, channel_text(poster, ask->channel), next);
        next = (heard.message != NULL ? heard.message->seq : heard.gap.to) + 1;
        heard_check(world, &heard, ask->at);
    }
    promise(world, next <= head + 1 || list->count == 0, "a page of %s goes beyond its head",
            channel_text(poster, ask->channel));
    promise(world, list->count > 0 || ask->bound >= head, "a page of %s is empty", channel_text(poster, ask->channel));
}

static void single_answered(struct poster *poster, struct ask *ask, const struct reply *reply)
{
    const struct json_token *object = object_read(&poster->all->objects, reply->body);

    part_answered(poster, ask, 0, reply->status, object, reply->is_replayed);
}

static void ask_answered(struct poster *poster, struct ask *ask, const struct reply *reply)
{
    bool is_good = reply->status == 200;

    switch (ask->kind) {
    case ASK_POST:
    case ASK_RECALL:
        single_answered(poster, ask, reply);
        break;
    case ASK_BATCH:
        if (is_good)
            batch_answered(poster, ask, reply);
        else
            check_refusal(poster, reply->status);
        break;
    case ASK_HISTORY:
        if (is_good)
            history_answered(poster, ask, reply);
        else
            check_refusal(poster, reply->status);
        break;
    case ASK_KIND_COUNT:
        break;
    }
    if (ask->kind == ASK_BATCH && !is_good)
        ask_failed(poster, ask);
    else
        ask_end_if_done(poster, ask);
}

/* The answer behind the first one, if it's whole. */
static bool second_reply(struct poster *poster, struct span in, const struct reply *first, struct reply *ret)
{
    return poster->sent_count > 1 && reply_read(&poster->wire->world, span_skip(in, first->used), ret);
}

static void take_answer(struct poster *poster, const struct reply *reply)
{
    struct ask *ask = &poster->asks[poster->sent[0]];

    promise(&poster->wire->world, poster->sent_count > 0, "poster %u gets an answer and has asked for nothing",
            poster->no);
    poster->sent_count--;
    memmove(poster->sent, poster->sent + 1, poster->sent_count * sizeof poster->sent[0]);
    poster->is_closing |= reply->is_last;
    ask_answered(poster, ask, reply);
}

static void hear_answers(struct poster *poster)
{
    struct buf  *in = &poster->link.in;
    struct reply reply, second;

    while (!poster->is_closing && reply_read(&poster->wire->world, buf_span(in), &reply)) {
        if (poster->wire->plant == WIRE_PLANT_OVERTAKE && second_reply(poster, buf_span(in), &reply, &second)) {
            take_answer(poster, &second);
            reply.used += second.used;
        }
        take_answer(poster, &reply);
        buf_drop(in, reply.used);
    }
}

/* --- answers by WebSocket --- */

/* "ref" is ASK * PARTS_MAX + PART, as it was when the frame was sent. */
static void frame_answered(struct poster *poster, const struct json_token *object, unsigned status, bool is_replayed)
{
    unsigned    ref  = (unsigned)object_number(&poster->all->objects, object, "ref"), part = ref % PARTS_MAX;
    struct ask *ask  = &poster->asks[ref / PARTS_MAX % ASKS_MAX];

    promise(&poster->wire->world, ask->is_sent && (ask->waiting & 1u << part) != 0,
            "poster %u gets an answer and has asked for nothing", poster->no);
    ask->waiting &= ~(1u << part);
    if (status == 0)
        part_acked(poster, ask, part, object, is_replayed);
    else
        part_answered(poster, ask, part, status, NULL, false);
    if (ask->waiting == 0)
        ask_end_if_done(poster, ask);
}

static void hear_frame(struct poster *poster, struct span text)
{
    struct object_reader    *objects = &poster->all->objects;
    const struct json_token *object  = object_read(objects, text);
    struct span              type    = object_text(objects, object, "type");

    if (span_eq(type, SPAN("published")))
        frame_answered(poster, object, 0, object_has(objects, object, "replayed"));
    else if (span_eq(type, SPAN("error")))
        frame_answered(poster, object, (unsigned)object_number(objects, object, "code"), false);
    else
        promise(objects->world, span_eq(type, SPAN("connected")) || span_eq(type, SPAN("reconnect")),
                "a publisher is sent a %.*s", SPAN_ARG(type));
}

static void hear_frames(struct poster *poster)
{
    struct ws_heard heard;

    while (!poster->is_closing && ws_hear(&poster->wire->world, buf_span(&poster->link.in), &heard)) {
        if (heard.opcode == 1)
            hear_frame(poster, heard.payload);
        else if (heard.opcode == 9)
            ws_say(&poster->link, 10, heard.payload);
        else if (heard.opcode == 8)
            poster->is_closing = true;
        buf_drop(&poster->link.in, heard.used);
    }
}

/* --- asking --- */

static void put_payload(const struct poster *poster, struct buf *buf, const struct intent *intent)
{
    int width = poster->wire->faults.big ? BIG_BYTES : (int)(intent->no * 37 % PADDING_MAX);

    buf_putf(buf, "%u and ", intent->no);
    memset(buf_extend(buf, (size_t)width), '.', (size_t)width);
}

static void put_fields(struct buf *buf, const struct poster *poster, const struct intent *intent)
{
    buf_putf(buf, "\"channel\":\"%s\",\"data\":\"", channel_text(poster, intent->channel));
    put_payload(poster, buf, intent);
    buf_putc(buf, '"');
    if (intent->is_keyed)
        buf_putf(buf, ",\"key\":\"key-%u\"", intent->no);
}

static void put_post(struct buf *request, const struct poster *poster, const struct intent *intent)
{
    struct buf body;

    buf_init(&body, REQUEST_BYTES_MAX);
    put_payload(poster, &body, intent);
    buf_putf(request, "POST /v1/channels/%s/messages HTTP/1.1\r\nHost: sim\r\nContent-Type: text/plain\r\n"
             "Content-Length: %zu\r\n", channel_text(poster, intent->channel), body.len);
    if (intent->is_keyed)
        buf_putf(request, "Idempotency-Key: key-%u\r\n", intent->no);
    buf_put_lit(request, "\r\n");
    buf_put(request, buf_span(&body));
    buf_fini(&body);
}

static void put_batch(struct buf *request, const struct poster *poster, const struct ask *ask)
{
    struct buf body;

    buf_init(&body, REQUEST_BYTES_MAX);
    for (unsigned i = 0; i < ask->count; i++) {
        buf_put(&body, i == 0 ? SPAN("{\"messages\":[{") : SPAN("},{"));
        put_fields(&body, poster, ask->intents[i]);
    }
    buf_put_lit(&body, "}]}");
    buf_putf(request, "POST /v1/messages HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n", body.len);
    buf_put(request, buf_span(&body));
    buf_fini(&body);
}

static void put_request(struct buf *request, const struct poster *poster, const struct ask *ask)
{
    switch (ask->kind) {
    case ASK_POST:
        put_post(request, poster, ask->intents[0]);
        break;
    case ASK_BATCH:
        put_batch(request, poster, ask);
        break;
    case ASK_RECALL:
        buf_putf(request, "DELETE /v1/channels/%s/messages/%" PRIu64 " HTTP/1.1\r\nHost: sim\r\n\r\n",
                 channel_text(poster, ask->channel), ask->intents[0]->target);
        break;
    case ASK_HISTORY:
        buf_putf(request, "GET /v1/channels/%s/messages?after=%" PRIu64 "&limit=20 HTTP/1.1\r\nHost: sim\r\n\r\n",
                 channel_text(poster, ask->channel), ask->bound);
        break;
    case ASK_KIND_COUNT:
        break;
    }
}

static void ask_send_frames(struct poster *poster, struct ask *ask)
{
    struct buf frame;

    buf_init(&frame, REQUEST_BYTES_MAX);
    ask->waiting = (1u << ask->count) - 1;
    for (unsigned i = 0; i < ask->count; i++) {
        buf_clear(&frame);
        buf_put_lit(&frame, "{\"type\":\"publish\",");
        put_fields(&frame, poster, ask->intents[i]);
        buf_putf(&frame, ",\"ref\":%u}", (unsigned)(ask - poster->asks) * PARTS_MAX + i);
        ws_say(&poster->link, 1, buf_span(&frame));
    }
    buf_fini(&frame);
}

static void ask_send(struct poster *poster, struct ask *ask)
{
    static const char *const texts[ASK_KIND_COUNT] = { "a publish", "a batch", "a recall", "a page" };
    struct world            *world = &poster->wire->world;
    struct buf               request;

    ask->is_sent = true;
    ask->tries++;
    ask->at = world->now;
    tell(world, "poster %u asks for %s over loop %u%s, %u at the %u. time", poster->no, texts[ask->kind],
         poster->link.loop, poster->is_ws ? " by WebSocket" : "", ask->count > 0 ? ask->intents[0]->no : 0, ask->tries);
    if (poster->is_ws) {
        ask_send_frames(poster, ask);
        return;
    }
    poster->sent[poster->sent_count++] = (unsigned)(ask - poster->asks);
    buf_init(&request, REQUEST_BYTES_MAX);
    put_request(&request, poster, ask);
    client_link_send(&poster->link, buf_span(&request));
    buf_fini(&request);
}

static struct intent *intent_draw(struct poster *poster, unsigned channel)
{
    struct world  *world  = &poster->wire->world;
    struct intent *intent = model_intent_new(world->model, channel);
    struct log_now log    = world_log(world, channel);

    if (intent == NULL)
        return NULL;
    intent->asked_epoch = log.epoch;
    intent->asked_head  = log.head;
    intent->is_keyed    = !one_in(world, OF_PUBLISHERS, 3);
    return intent;
}

static void ask_draw_messages(struct poster *poster, struct ask *ask)
{
    struct world *world = &poster->wire->world;
    unsigned      most  = poster->wire->faults.big ? 2 : PARTS_MAX;
    unsigned      count = ask->kind == ASK_BATCH ? 1 + (unsigned)draw(world, OF_PUBLISHERS, most) : 1;

    while (ask->count < count) {
        struct intent *intent = intent_draw(poster, (unsigned)draw(world, OF_PUBLISHERS, world->channel_count));
        if (intent == NULL)
            break;
        ask->intents[ask->count++] = intent;
    }
    ask->is_taken = ask->count > 0;
}

static void ask_draw_recall(struct poster *poster, struct ask *ask)
{
    struct world        *world  = &poster->wire->world;
    const struct intent *acked  = model_draw_acked(world->model, ask->channel);
    struct intent       *intent = acked == NULL ? NULL : intent_draw(poster, ask->channel);

    if (intent == NULL)
        return;
    intent->is_keyed  = false;
    intent->is_recall = true;
    intent->target    = acked->seq;
    model_recall_asked(world->model, ask->channel, intent->asked_epoch, intent->target);
    ask->intents[ask->count++] = intent;
    ask->is_taken              = true;
}

static void ask_draw_history(struct poster *poster, struct ask *ask)
{
    struct world  *world = &poster->wire->world;
    struct log_now log   = world_log(world, ask->channel);

    ask->bound       = draw(world, OF_PUBLISHERS, log.head + 1);
    ask->acked_epoch = log.epoch;
    ask->acked_head  = model_acked_head(world->model, ask->channel, log.epoch);
    ask->is_taken    = true;
}

static void ask_draw(struct poster *poster, struct ask *ask)
{
    static const enum ask_kind kinds[] = { ASK_POST, ASK_POST, ASK_BATCH, ASK_RECALL, ASK_HISTORY };
    struct world              *world   = &poster->wire->world;

    *ask = (struct ask){
        .kind    = poster->is_ws ? (enum ask_kind)draw(world, OF_PUBLISHERS, 2)
                                 : kinds[draw(world, OF_PUBLISHERS, sizeof kinds / sizeof kinds[0])],
        .channel = (unsigned)draw(world, OF_PUBLISHERS, world->channel_count),
    };
    if (ask->kind == ASK_HISTORY)
        ask_draw_history(poster, ask);
    else if (ask->kind == ASK_RECALL && world->faults.recalls)
        ask_draw_recall(poster, ask);
    else if (ask->kind != ASK_RECALL && (!poster->wire->faults.big || poster->all->big_count++ < BIG_ASKS_MAX))
        ask_draw_messages(poster, ask);
}

/* What a publisher by WebSocket can't ask for waits until it comes by HTTP again. */
static bool ask_can_go(const struct poster *poster, const struct ask *ask)
{
    return ask->is_taken && !ask->is_sent && ask->at <= poster->wire->world.now &&
           (!poster->is_ws || ask->kind == ASK_POST || ask->kind == ASK_BATCH);
}

static void poster_ask(struct poster *poster)
{
    struct world *world = &poster->wire->world;
    bool          is_due = poster->next_at <= world->now && !world->is_healing;

    if (poster->link.is_half_closed)
        return;
    if (is_due)
        poster->next_at = world->now + (msec)draw(world, OF_PUBLISHERS, PAUSE_MS_MAX);
    for (unsigned i = 0; i < ASKS_MAX; i++) {
        struct ask *ask = &poster->asks[i];
        if (!ask->is_taken && is_due && one_in(world, OF_PUBLISHERS, 3))
            ask_draw(poster, ask);
        if (ask_can_go(poster, ask))
            ask_send(poster, ask);
    }
    if (!poster->is_ws && poster->wire->faults.half_closes && poster->sent_count > 0 && one_in(world, OF_PUBLISHERS, 8))
        client_link_half_close(&poster->link);
}

/* --- a turn --- */

static void poster_go(struct poster *poster, const char *why)
{
    struct world *world = &poster->wire->world;

    tell(world, "poster %u goes: %s", poster->no, why);
    client_link_close(&poster->link);
    poster->state      = IS_AWAY;
    poster->sent_count = 0;
    poster->at         = world->now + (msec)draw(world, OF_PUBLISHERS, PAUSE_MS_MAX);
    for (unsigned i = 0; i < ASKS_MAX; i++)
        if (poster->asks[i].is_sent)
            ask_failed(poster, &poster->asks[i]);
}

static void poster_come(struct poster *poster)
{
    struct world *world = &poster->wire->world;

    if (!client_link_open(&poster->link, false)) {
        poster->at = world->now + 1 + (msec)draw(world, OF_PUBLISHERS, PAUSE_MS_MAX);
        return;
    }
    poster->is_ws      = one_in(world, OF_PUBLISHERS, 3);
    poster->is_closing = false;
    poster->state      = poster->is_ws ? IS_UPGRADING : IS_OPEN;
    poster->at         = world->now + 1 + (msec)draw(world, OF_PUBLISHERS, STAY_MS_MAX);
    if (poster->is_ws)
        ws_ask_upgrade(&poster->link, "");
}

static void poster_hear(struct poster *poster)
{
    struct world *world = &poster->wire->world;
    struct reply  reply;

    if (poster->state == IS_UPGRADING && reply_head_read(world, buf_span(&poster->link.in), &reply)) {
        if (reply.status == 503) {
            poster->is_closing = true;
            return;
        }
        ws_check_upgrade(world, &reply);
        buf_drop(&poster->link.in, reply.used);
        poster->state = IS_OPEN;
    }
    if (poster->state == IS_OPEN && poster->is_ws)
        hear_frames(poster);
    else if (poster->state == IS_OPEN)
        hear_answers(poster);
}

/* A server that has read a request answers it before it ends the link, whether the client has closed its direction or
 * not. Closed with a request unread, the link is reset instead. */
static void poster_check_end(const struct poster *poster, enum sim_end end)
{
    promise(&poster->wire->world, end != SIM_ENDED || poster->sent_count == 0 || poster->wire->nodes[0]->leave_by != 0,
            "poster %u%s misses %u answers", poster->no,
            poster->link.is_half_closed ? " has closed its direction and" : "", poster->sent_count);
}

static bool poster_waits_too_long(const struct poster *poster)
{
    for (unsigned i = 0; i < ASKS_MAX; i++)
        if (poster->asks[i].is_sent && poster->asks[i].at + PATIENCE_MS < poster->wire->world.now)
            return true;
    return false;
}

static void poster_turn(struct poster *poster)
{
    struct world *world = &poster->wire->world;

    if (poster->state == IS_AWAY) {
        if (poster->at <= world->now && !poster->all->are_leaving)
            poster_come(poster);
        return;
    }
    enum sim_end end = client_link_read(&poster->link);
    poster_hear(poster);
    if (!poster->is_closing)
        poster_check_end(poster, end);
    if (poster->is_closing || end != SIM_OPEN)
        poster_go(poster, end == SIM_RESET ? "the link broke" : "the link ended");
    else if (poster_waits_too_long(poster) || (poster->state == IS_UPGRADING && poster->at <= world->now))
        poster_go(poster, "no answer comes");
    else if (poster->at <= world->now && (poster->is_ws || !world->is_healing))
        poster_go(poster, "as it likes");
    else if (poster->state == IS_OPEN)
        poster_ask(poster);
}

void posters_turn(struct posters *posters)
{
    for (unsigned i = 0; i < posters->count; i++)
        poster_turn(&posters->at[i]);
}

/* A recall names a seq, and a seq may mean another message in the next life of a log. */
void posters_cut(struct posters *posters)
{
    for (unsigned i = 0; i < posters->count; i++) {
        struct poster *poster = &posters->at[i];
        if (poster->state != IS_AWAY)
            poster_go(poster, "the node is gone");
        for (unsigned j = 0; j < ASKS_MAX; j++)
            if (poster->asks[j].is_taken && poster->asks[j].kind == ASK_RECALL)
                ask_failed(poster, &poster->asks[j]);
    }
}

void posters_leave(struct posters *posters)
{
    posters->are_leaving = true;
    posters_cut(posters);
}

bool posters_are_done(const struct posters *posters)
{
    for (unsigned i = 0; i < posters->count; i++)
        for (unsigned j = 0; j < ASKS_MAX; j++)
            if (posters->at[i].asks[j].is_taken)
                return false;
    return true;
}

struct posters *posters_new(struct wire_world *wire)
{
    struct posters *posters = calloc(1, sizeof *posters);

    must(posters != NULL);
    posters->wire  = wire;
    posters->count = 1 + (unsigned)draw(&wire->world, OF_PLAN, POSTERS_MAX);
    object_reader_init(&posters->objects, &wire->world);
    for (unsigned i = 0; i < posters->count; i++) {
        posters->at[i] = (struct poster){ .all = posters, .wire = wire, .no = i };
        client_link_init(&posters->at[i].link, wire, OF_PUBLISHERS);
    }
    return posters;
}

void posters_free(struct posters *posters)
{
    for (unsigned i = 0; i < posters->count; i++)
        client_link_fini(&posters->at[i].link);
    object_reader_fini(&posters->objects);
    free(posters);
}
