/* Subscribers by long poll on a kept connection: Longwire and nchan. Each answer names the place from which the next
 * poll goes on, so what is published between two polls is not missed. */
#include <stdio.h>

#include "bench/dialect.h"
#include "bench/http_head.h"

/* An answer is heard in pieces: its head, each message in the body, then the rest of the body. client->left counts the
 * bytes of the body that are still to come. */
enum poll_stage { POLL_HEAD_OF_FIRST, POLL_HEAD, POLL_BODY };

static void longwire_get(struct client *client, unsigned wait_s, struct span place)
{
    buf_putf(&client->out, "GET /v1/subscribe?%.*s&wait=%u HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n\r\n",
             SPAN_ARG(place), wait_s, client->target->host);
}

/* The first poll returns at once; its cursor is the subscription. */
static void longwire_greet(struct client *client)
{
    char channel[256];
    snprintf(channel, sizeof channel, "channel=%s%u", client->target->prefix, client->channel);
    longwire_get(client, 0, span_str(channel));
}

static bool poll_hear_head(struct client *client, struct span bytes, struct http_head *ret_head, struct note *ret_note)
{
    switch (http_head_read(bytes, ret_head)) {
    case HTTP_HEAD_PART:
        return false;
    case HTTP_HEAD_BAD:
        dialect_fault(bytes, "the answer to a poll isn't HTTP/1.1", ret_note);
        return false;
    case HTTP_HEAD_WHOLE:
        break;
    }
    if (ret_head->status != 200) {
        *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = bytes };
        return false;
    }
    client->left     = ret_head->body_bytes;
    ret_note->heard = HEARD_NOISE;
    return true;
}

/* The messages of the body one by one; 0 when there is none (any more) in what is left of it. */
static size_t poll_hear_message(struct client *client, struct span bytes, struct note *ret_note)
{
    struct span body = span_head(bytes, client->left);
    const char *at   = payload_find(body);
    if (at == NULL || (size_t)(body.at + body.len - at) < PAYLOAD_BYTES)
        return 0;
    *ret_note   = (struct note){ HEARD_PAYLOAD, span_of(at, PAYLOAD_BYTES), 1 };
    size_t used = (size_t)(at - body.at) + PAYLOAD_BYTES;
    client->left -= used;
    return used;
}

/* {"messages":[…],"cursor":"…"}: the cursor is a token that may stand in a URL as it is. */
static bool longwire_cursor(struct span rest, struct span *ret_cursor)
{
    static const char name[] = "\"cursor\":\"";
    const char       *at     = memmem(rest.at, rest.len, name, sizeof name - 1);
    if (at == NULL)
        return false;
    struct span value = span_skip(rest, (size_t)(at - rest.at) + sizeof name - 1);
    return span_cut(&value, '"', ret_cursor) && ret_cursor->len > 0 && value.len > 0;
}

static size_t longwire_hear_rest(struct client *client, struct span bytes, struct note *ret_note)
{
    if (bytes.len < client->left)
        return 0;
    struct span rest = span_head(bytes, client->left), cursor;
    char        place[1024];
    if (memmem(rest.at, rest.len, "\"gap\"", 5) != NULL)
        return dialect_fault(bytes, "the server told of a gap", ret_note);
    if (!longwire_cursor(rest, &cursor) || cursor.len > sizeof place - sizeof "cursor=")
        return dialect_fault(bytes, "an answer to a poll without a usable cursor behind its messages", ret_note);
    int len = snprintf(place, sizeof place, "cursor=%.*s", SPAN_ARG(cursor));
    longwire_get(client, 30, span_of(place, (size_t)len));
    client->stage = POLL_HEAD;
    return rest.len;
}

static size_t longwire_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    if (client->stage != POLL_BODY) {
        struct http_head head;
        bool             is_first = client->stage == POLL_HEAD_OF_FIRST;
        if (!poll_hear_head(client, bytes, &head, ret_note))
            return ret_note->heard == HEARD_FAULT ? bytes.len : 0;
        client->stage    = POLL_BODY;
        ret_note->heard = is_first ? HEARD_READY : HEARD_NOISE;
        return head.text.len;
    }
    size_t used = poll_hear_message(client, bytes, ret_note);
    if (used > 0)
        return used;
    used = longwire_hear_rest(client, bytes, ret_note);
    if (used > 0 && ret_note->heard != HEARD_FAULT)
        ret_note->heard = HEARD_NOISE;
    return used;
}

static void nchan_get(struct client *client)
{
    buf_putf(&client->out, "GET /poll/%s%u HTTP/1.1\r\nHost: %s\r\n", client->target->prefix, client->channel,
             client->target->host);
}

static void nchan_greet(struct client *client)
{
    nchan_get(client);
    buf_put_lit(&client->out, "\r\n");
}

/* nchan's place is its Last-Modified and Etag, handed back as conditions. One message an answer. */
static bool nchan_get_next(struct client *client, const struct http_head *head)
{
    struct span modified, etag;
    if (!http_head_field(head, SPAN("last-modified"), &modified) || !http_head_field(head, SPAN("etag"), &etag))
        return false;
    nchan_get(client);
    buf_putf(&client->out, "If-Modified-Since: %.*s\r\nIf-None-Match: %.*s\r\n\r\n", SPAN_ARG(modified),
             SPAN_ARG(etag));
    return true;
}

static size_t nchan_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    if (client->stage == POLL_BODY) {
        size_t used = poll_hear_message(client, bytes, ret_note);
        if (used > 0 && client->left == 0)
            client->stage = POLL_HEAD;
        return used;
    }
    struct http_head head;
    if (!poll_hear_head(client, bytes, &head, ret_note))
        return ret_note->heard == HEARD_FAULT ? bytes.len : 0;
    if (!nchan_get_next(client, &head))
        return dialect_fault(bytes, "an answer to a poll without Last-Modified and Etag", ret_note);
    client->stage = POLL_BODY;
    return head.text.len;
}

const struct dialect poll_dialects[] = {
    { "longwire", "poll", false, longwire_greet, longwire_hear, NULL },
    { "nchan", "poll", true, nchan_greet, nchan_hear, NULL },
    { 0 },
};
