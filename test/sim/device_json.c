/* device_json.c - a phone that speaks JSON over a WebSocket. */
#include "base/must.h"
#include "device_phone.h"
#include "device_roam.h"

static struct world *world_of(const struct phone_link *link)
{
    return &link->phone->all->all->wire.world;
}

/* --- what it says --- */

static void json_say(struct phone_link *link, struct buf *text)
{
    ws_say(&link->link, 1, buf_span(text));
    buf_fini(text);
}

static void put_places(struct phone_link *link, struct buf *text)
{
    struct world *world = world_of(link);
    const char   *comma = "";

    buf_put_lit(text, ",\"resume\":{");
    for (unsigned i = 0; i < world->channel_count; i++) {
        if (!phone_names_place(link, i))
            continue;
        buf_putf(text, "%s\"%s\":{\"seq\":%" PRIu64 "}", comma, world->channels[i]->text, link->phone->has[i].seq);
        link->at_place[i].named = link->phone->has[i].seq;
        comma                   = ",";
    }
    buf_putc(text, '}');
}

static void json_connect(struct phone_link *link, bool by_ticket, bool names_places)
{
    char       token[PHONE_TOKEN_BYTES];
    struct buf text;

    buf_init(&text, 16384);
    phone_token_text(link->phone, &link->token, token);
    if (by_ticket)
        buf_putf(&text, "{\"type\":\"connect\",\"ticket\":\"%s\"", link->ticket.text);
    else
        buf_putf(&text, "{\"type\":\"connect\",\"token\":\"%s\",\"session\":true,\"device\":\"%s\"", token,
                 link->phone->name);
    if (names_places)
        put_places(link, &text);
    buf_putc(&text, '}');
    json_say(link, &text);
}

static void json_keep(struct phone_link *link, unsigned channel)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_putf(&text, "{\"type\":\"subscribe\",\"channel\":\"%s\",\"keep\":true}", world_of(link)->channels[channel]->text);
    json_say(link, &text);
}

static void json_ack(struct phone_link *link, unsigned channel, uint64_t seq, uint64_t ref)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_putf(&text, "{\"type\":\"ack\",\"channel\":\"%s\",\"seq\":%" PRIu64, world_of(link)->channels[channel]->text, seq);
    if (ref != 0)
        buf_putf(&text, ",\"ref\":%" PRIu64, ref);
    buf_putc(&text, '}');
    json_say(link, &text);
}

/* --- what it hears --- */

static bool object_is(struct object_reader *objects, const struct json_token *object, const char *name)
{
    const struct json_token *member = json_member(&objects->doc, object, span_str(name));

    return member != NULL && span_eq(member->raw, SPAN("true"));
}

static uint64_t hex_of(struct span text)
{
    uint64_t number = 0;

    for (size_t i = 0; i < text.len; i++)
        number = number * 16 + (uint64_t)(text.at[i] <= '9' ? text.at[i] - '0' : text.at[i] - 'a' + 10);
    return number;
}

static void hear_connected(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    struct phone_connected connected = {
        .connection = hex_of(object_text(objects, object, "connection")), .is_resumed = object_is(objects, object, "resumed"),
    };

    if (!object_has(objects, object, "session"))
        return;  /* unasked, at the beginning */
    connected.generation = object_number(objects, object, "generation");
    if (object_has(objects, object, "ticket"))
        connected.ticket = object_text(objects, object, "ticket");
    phone_take_connected(link, &connected);
}

static void hear_subscribed(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    phone_take_subscribed(link, object_channel(objects, object), object_epoch(objects, object),
                          object_number(objects, object, "head"));
}

static void hear_unsubscribed(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    (void)link, (void)objects, (void)object;
}

static void hear_message(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    bool is_control = !object_has(objects, object, "data");

    phone_take_message(link, object_channel(objects, object), object_epoch(objects, object),
                       object_number(objects, object, "seq"),
                       is_control ? SPAN("") : object_text(objects, object, "data"), is_control);
}

static void hear_error(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    phone_take_error(link, object_number(objects, object, "code"), object_text(objects, object, "reason"));
}

static void hear_replaced(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    (void)objects, (void)object;
    phone_take_replaced(link);
}

static void hear_reconnect(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    (void)objects, (void)object;
    link->is_told = true;
}

static void hear_expiring(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    (void)objects, (void)object;
    phone_take_expiring(link);
}

static void hear_closing(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    phone_take_closing(link, object_number(objects, object, "code"));
}

static void hear_ack(struct phone_link *link, struct object_reader *objects, const struct json_token *object)
{
    phone_take_ack(link, object_channel(objects, object), object_number(objects, object, "seq"),
                   object_number(objects, object, "ref"));
}

static void hear_object(struct phone_link *link, struct span text)
{
    static const struct {
        const char *type;
        void (*hear)(struct phone_link *, struct object_reader *, const struct json_token *);
    } rows[] = {
        { "connected", hear_connected }, { "subscribed", hear_subscribed }, { "unsubscribed", hear_unsubscribed },
        { "message", hear_message }, { "membership", hear_message }, { "error", hear_error }, { "replaced", hear_replaced },
        { "reconnect", hear_reconnect }, { "expiring", hear_expiring }, { "closing", hear_closing }, { "ack", hear_ack },
    };
    struct object_reader    *objects = &link->phone->all->objects;
    const struct json_token *object  = object_read(objects, text);
    struct span              type    = object_text(objects, object, "type");

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (span_eq(type, span_str(rows[i].type))) {
            rows[i].hear(link, objects, object);
            return;
        }
    promise_broken(world_of(link), "phone %s of user %u is sent %.*s", link->phone->name, link->phone->user,
                   SPAN_ARG(span_head(text, 120)));
}

static void hear_close(struct phone_link *link, struct span payload)
{
    unsigned code = payload.len < 2 ? 1005 : (unsigned)((unsigned char)payload.at[0] << 8 | (unsigned char)payload.at[1]);

    phone_take_closing(link, code);
    if (link->state == LINK_AWAY)
        return;
    ws_say(&link->link, 8, payload);
    phone_link_go(link, "the server has closed it");
}

/* A node that was paused finds half a head, and that its time is up. */
static bool its_node_may_stand(const struct phone_link *link)
{
    const struct roam *roam = link->phone->all->all->roam;

    return roam != NULL && roam->faults.pauses;
}

static bool json_hear_head(struct phone_link *link)
{
    struct reply reply;

    if (!reply_head_read(world_of(link), buf_span(&link->link.in), &reply))
        return false;
    if (reply.status == 503 || (reply.status == 408 && its_node_may_stand(link))) {
        phone_link_go(link, "503, or half a head when its node was paused");
        return false;
    }
    ws_check_upgrade(world_of(link), &reply);
    buf_drop(&link->link.in, reply.used);
    return true;
}

static void json_hear(struct phone_link *link)
{
    struct ws_heard heard;
    struct buf      text;

    if (link->state == LINK_UPGRADING) {
        if (json_hear_head(link))
            link->state = LINK_OPENING;
        return;
    }
    buf_init(&text, 1 << 20);
    while (link->state != LINK_AWAY && ws_hear(world_of(link), buf_span(&link->link.in), &heard)) {
        buf_clear(&text);
        buf_put(&text, heard.payload);
        buf_drop(&link->link.in, heard.used);
        if (heard.opcode == 1)
            hear_object(link, buf_span(&text));
        else if (heard.opcode == 9)
            ws_say(&link->link, 10, buf_span(&text));
        else if (heard.opcode == 8)
            hear_close(link, buf_span(&text));
    }
    buf_fini(&text);
}

const struct phone_says phone_json = { .connect = json_connect, .keep = json_keep, .ack = json_ack, .hear = json_hear };
