/* subscribe_body.c - the body of POST /v1/subscribe:
 *
 *   {"channels":["topic:a",{"channel":"topic:b","after":5,"epoch":"…"},{"channel":"topic:c","last":3}],
 *    "cursor":"…","wait":25}
 *
 * The same as a query, for those whose channels fit into no URL. */
#include "base/known_words.h"
#include "base/must.h"
#include "message/epoch.h"
#include "session/subscribe_reader.h"

static bool refuse_member(struct subscribe_reader *reader, const char *what, const struct json_token *name,
                          struct known_words known)
{
    char        text[UNKNOWN_WORD_BYTES];
    struct span word;

    if (!json_string(name, &reader->strings, &word))
        word = name->raw;
    return subscribe_requests_fault(reader->requests, 400, "%s", unknown_word_say(what, word, known, text));
}

static bool check_members(struct subscribe_reader *reader, const struct json_token *object, const char *what,
                          struct known_words known)
{
    const struct json_doc *doc = &reader->doc;

    for (const struct json_token *name = json_first(doc, object); name != NULL;
         name = json_next(doc, object, json_next(doc, object, name))) {
        struct span word;
        if (!json_string(name, &reader->strings, &word) || !known_words_have(known, word))
            return refuse_member(reader, what, name, known);
    }
    return true;
}

/* True without a value, too. */
static bool read_number(const struct json_token *value, bool *ret_is_there, uint64_t *ret)
{
    *ret_is_there = value != NULL;
    return value == NULL || (json_u64(value, ret) && *ret <= UINT64_MAX / 2);
}

static bool read_epoch(struct subscribe_reader *reader, const struct json_token *value, uint64_t *ret)
{
    struct span text;

    return value == NULL || (json_string(value, &reader->strings, &text) && epoch_get(text, ret));
}

static bool read_body_start(struct subscribe_reader *reader, const struct json_token *object, struct start *ret)
{
    const struct json_doc   *doc   = &reader->doc;
    const struct json_token *epoch = json_member(doc, object, SPAN("epoch"));
    bool                     has_after, has_last;
    uint64_t                 after = 0, last = 0;

    *ret = (struct start){ .kind = START_NOW };
    if (!read_number(json_member(doc, object, SPAN("after")), &has_after, &after) ||
        !read_number(json_member(doc, object, SPAN("last")), &has_last, &last) || (has_after && has_last) ||
        (epoch != NULL && !has_after))
        return false;
    if (has_last)
        *ret = (struct start){ .kind = START_LAST, .seq = last };
    if (has_after)
        *ret = (struct start){ .kind = START_AFTER, .seq = after };
    return read_epoch(reader, epoch, &ret->epoch);
}

static bool read_entry(struct subscribe_reader *reader, const struct json_token *entry)
{
    static const struct span known[] = { SPAN("channel"), SPAN("after"), SPAN("last"), SPAN("epoch") };
    const struct json_token *name    = entry;
    struct start             start   = { .kind = START_NOW };
    struct span              channel;

    if (entry->type == JSON_OBJECT) {
        if (!check_members(reader, entry, "member of a channel", KNOWN_WORDS(known)))
            return false;
        name = json_member(&reader->doc, entry, SPAN("channel"));
        if (!read_body_start(reader, entry, &start))
            return subscribe_requests_fault(reader->requests, 400,
                                            "a channel takes after, perhaps with epoch, or last: whole numbers, and an "
                                            "epoch as 16 hex digits");
    }
    if (!json_string(name, &reader->strings, &channel))
        return subscribe_requests_fault(reader->requests, 400,
                                        "channels are names, or objects with a member channel: "
                                        "[\"topic:a\",{\"channel\":\"topic:b\",\"after\":5}]");
    return subscribe_requests_add(reader->requests, reader->worker, channel, start, reader->identity);
}

static bool read_channels(struct subscribe_reader *reader, const struct json_token *channels)
{
    if (channels == NULL)
        return true;
    if (channels->type != JSON_ARRAY)
        return subscribe_requests_fault(reader->requests, 400, "channels is an array");
    for (const struct json_token *entry = json_first(&reader->doc, channels); entry != NULL;
         entry = json_next(&reader->doc, channels, entry))
        if (!read_entry(reader, entry))
            return false;
    return true;
}

static bool read_body_cursor(struct subscribe_reader *reader, const struct json_token *cursor)
{
    struct span text;

    if (cursor == NULL || cursor->type == JSON_NULL)  /* a poll's answer may hold null */
        return true;
    if (!json_string(cursor, &reader->strings, &text))
        return subscribe_requests_fault(reader->requests, 400, "cursor is a string");
    subscribe_keep_token(reader, TOKEN_OF_CURSOR, text, false);
    return true;
}

static bool read_body_wait(struct subscribe_reader *reader, const struct json_token *wait)
{
    uint64_t seconds;

    return wait == NULL || subscribe_keep_wait(reader, json_u64(wait, &seconds) ? seconds : UINT64_MAX);
}

static bool read_body_format(struct subscribe_reader *reader, const struct json_token *format)
{
    struct span text = SPAN("");

    if (format == NULL)
        return true;
    json_string(format, &reader->strings, &text);  /* what is no string is refused as an empty one */
    return subscribe_keep_format(reader, text);
}

static bool read_body_flag(struct subscribe_reader *reader, const struct json_token *flag, bool *ret)
{
    if (flag == NULL)
        return true;
    if (flag->type != JSON_TRUE && flag->type != JSON_FALSE)
        return subscribe_requests_fault(reader->requests, 400, "session and presence are true or false");
    *ret = flag->type == JSON_TRUE;
    return true;
}

static bool read_body_name(struct subscribe_reader *reader, const struct json_token *name,
                           bool (*keep)(struct subscribe_reader *reader, struct span name))
{
    struct span text;

    if (name == NULL)
        return true;
    if (!json_string(name, &reader->strings, &text))
        return subscribe_requests_fault(reader->requests, 400, "device, class and mode are strings");
    return keep(reader, text);
}

static bool read_members(struct subscribe_reader *reader, const struct json_token *root)
{
    static const struct span known[] = { SPAN("channels"), SPAN("cursor"), SPAN("wait"), SPAN("format"),
                                           SPAN("session"), SPAN("device"), SPAN("class"),
                                           SPAN("presence"), SPAN("mode") };
    const struct json_doc   *doc     = &reader->doc;

    return check_members(reader, root, "member", KNOWN_WORDS(known)) &&
           read_channels(reader, json_member(doc, root, SPAN("channels"))) &&
           read_body_cursor(reader, json_member(doc, root, SPAN("cursor"))) &&
           read_body_wait(reader, json_member(doc, root, SPAN("wait"))) &&
           read_body_format(reader, json_member(doc, root, SPAN("format"))) &&
           read_body_flag(reader, json_member(doc, root, SPAN("session")), &reader->requests->wants_session) &&
           read_body_flag(reader, json_member(doc, root, SPAN("presence")), &reader->requests->wants_presence) &&
           read_body_name(reader, json_member(doc, root, SPAN("device")), subscribe_keep_device) &&
           read_body_name(reader, json_member(doc, root, SPAN("class")), subscribe_keep_class) &&
           read_body_name(reader, json_member(doc, root, SPAN("mode")), subscribe_keep_mode);
}

bool subscribe_read_body(struct subscribe_reader *reader, const struct http_request *request)
{
    static const struct json_limits limits = { .depth_kept = 3 };
    char                            detail[JSON_FAULT_BYTES];

    if (!json_is_media(request_field(request->head, SPAN("content-type"))))
        return subscribe_requests_fault(reader->requests, 415, "the body is JSON: send Content-Type: application/json");
    const struct span coding = request_field(request->head, SPAN("content-encoding"));
    if (coding.len > 0 && !span_eq_nocase(coding, SPAN("identity")))
        return subscribe_requests_fault(reader->requests, 415,
                                        "no Content-Encoding is undone here; send the body as it is");
    must(request->body.len <= SUBSCRIBE_BODY_BYTES_MAX);
    must(buf_extend(&reader->strings, 2 * request->body.len + 1) != NULL);  /* so that nothing moves there */
    buf_clear(&reader->strings);
    if (!json_parse(json_skip_mark(request->body), &limits, &reader->doc))
        return subscribe_requests_fault(reader->requests, 400, "%s",
                                        json_fault_say("the body is one JSON object", &reader->doc.fault, detail));
    if (json_root(&reader->doc)->type != JSON_OBJECT)
        return subscribe_requests_fault(reader->requests, 400, "the body is one JSON object");
    return read_members(reader, json_root(&reader->doc));
}
