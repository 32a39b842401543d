/* subscribe_query.c - the query of /v1/subscribe and /v1/ws. */
#include "base/known_words.h"
#include "base/must.h"
#include "codec/url/url.h"
#include "session/subscribe_reader.h"

enum { WAIT_S_MAX = 86400 };

static bool read_channel(struct subscribe_reader *reader, struct span value)
{
    struct subscribe_requests *requests = reader->requests;
    struct subscribe_request  *known    = subscribe_requests_find(requests, reader->worker, value);

    /* after=CHANNEL@SEQ may have named it before. */
    if ((known == NULL || known->listed_at != 0) &&
        !subscribe_requests_add(requests, reader->worker, value, (struct start){ .kind = START_NOW }, reader->identity))
        return false;
    if (known == NULL)
        known = &requests->at[requests->count - 1];
    known->listed_at    = ++reader->listed_count;
    reader->last_listed = (uint32_t)(known - requests->at) + 1;
    return true;
}

static bool set_place(struct subscribe_requests *requests, struct subscribe_request *request, struct start start,
                       enum place_kind kind)
{
    if (request->place != PLACE_NOT_SAID)
        return subscribe_requests_fault(requests, 400,
                                        "two places for one channel: give each its own, as in "
                                        "after=topic:a@0&after=topic:b@42");
    request->start = start;
    request->place = kind;
    return true;
}

/* The number alone: it belongs to the channel= before it. */
static bool read_place_behind(struct subscribe_reader *reader, struct start start)
{
    struct subscribe_requests *requests = reader->requests;

    if (reader->last_listed == 0)
        return subscribe_requests_fault(requests, 400,
                                        "after= and last= belong to the channel= before them; there is none. Name the "
                                        "channel, as in after=topic:a@0");
    return set_place(requests, &requests->at[reader->last_listed - 1], start, PLACE_BEHIND);
}

static bool read_place_named(struct subscribe_reader *reader, struct span channel, struct start start)
{
    struct subscribe_requests *requests = reader->requests;
    struct subscribe_request  *request  = subscribe_requests_find(requests, reader->worker, channel);

    if (request == NULL) {
        if (!subscribe_requests_add(requests, reader->worker, channel, (struct start){ .kind = START_NOW },
                                    reader->identity))
            return false;
        request = &requests->at[requests->count - 1];
    }
    return set_place(requests, request, start, PLACE_NAMED);
}

/* SEQ, or CHANNEL@SEQ: a channel's name may hold an @, so the last one counts. */
static bool read_place(struct subscribe_reader *reader, enum start_kind kind, struct span value)
{
    struct start start  = { .kind = kind };
    const char  *at     = memrchr(value.at, '@', value.len);
    size_t       before = at == NULL ? 0 : (size_t)(at - value.at);
    struct span  number = at == NULL ? value : span_skip(value, before + 1);

    if (!span_u64(number, &start.seq) || start.seq > UINT64_MAX / 2)
        return subscribe_requests_fault(reader->requests, 400,
                                        "after= and last= take a whole number, or CHANNEL@NUMBER, as in "
                                        "after=topic:a@0");
    return at == NULL ? read_place_behind(reader, start) : read_place_named(reader, span_head(value, before), start);
}

static bool read_after(struct subscribe_reader *reader, struct span value)
{
    return read_place(reader, START_AFTER, value);
}

static bool read_last(struct subscribe_reader *reader, struct span value)
{
    return read_place(reader, START_LAST, value);
}

bool subscribe_keep_wait(struct subscribe_reader *reader, uint64_t seconds)
{
    if (seconds > WAIT_S_MAX)
        return subscribe_requests_fault(reader->requests, 400, "wait takes seconds, 0 to %d", WAIT_S_MAX);
    reader->requests->wait_ms = (msec)seconds * 1000;
    return true;
}

bool subscribe_keep_session(struct subscribe_reader *reader, struct span value)
{
    reader->requests->wants_session = span_eq(value, SPAN("1"));
    return reader->requests->wants_session || span_eq(value, SPAN("0")) ||
           subscribe_requests_fault(reader->requests, 400, "session is 1 or 0");
}

static bool read_presence(struct subscribe_reader *reader, struct span value)
{
    reader->requests->wants_presence = span_eq(value, SPAN("1"));
    return reader->requests->wants_presence || span_eq(value, SPAN("0")) ||
           subscribe_requests_fault(reader->requests, 400, "presence is 1 or 0");
}

static bool keep_name(char *into, size_t bytes_max, struct span name)
{
    if (name.len > bytes_max || memchr(name.at, '\0', name.len) != NULL)
        return false;
    memcpy(into, name.at, name.len);
    into[name.len] = '\0';
    return true;
}

bool subscribe_keep_device(struct subscribe_reader *reader, struct span name)
{
    struct subscribe_requests *requests = reader->requests;

    return name.len == 0 ||
           (device_name_is_valid(name) && keep_name(requests->device, DEVICE_NAME_BYTES_MAX, name)) ||
           subscribe_requests_fault(requests, 400, USER_NAMES_ARE);
}

bool subscribe_keep_class(struct subscribe_reader *reader, struct span name)
{
    struct subscribe_requests *requests = reader->requests;

    return name.len == 0 || keep_name(requests->device_class, DEVICE_CLASS_BYTES_MAX, name) ||
           subscribe_requests_fault(requests, 400, "the class of a device is at most %d bytes", DEVICE_CLASS_BYTES_MAX);
}

bool subscribe_keep_mode(struct subscribe_reader *reader, struct span name)
{
    return delivery_mode_read(name, &reader->requests->mode) ||
           subscribe_requests_fault(reader->requests, 400, "%s", delivery_modes_are);
}

static bool read_wait(struct subscribe_reader *reader, struct span value)
{
    uint64_t seconds;

    return subscribe_keep_wait(reader, span_u64(value, &seconds) ? seconds : UINT64_MAX);
}

bool subscribe_keep_format(struct subscribe_reader *reader, struct span name)
{
    reader->requests->is_raw = span_eq(name, SPAN("raw"));
    return reader->requests->is_raw || span_eq(name, SPAN("json")) ||
           subscribe_requests_fault(reader->requests, 400, "format is json or raw");
}

static bool read_cursor_word(struct subscribe_reader *reader, struct span value)
{
    (void)value;
    subscribe_keep_token(reader, TOKEN_OF_CURSOR, reader->raw, true);
    return true;
}

static bool read_event_id(struct subscribe_reader *reader, struct span value)
{
    (void)value;
    subscribe_keep_token(reader, TOKEN_OF_EVENT_ID, reader->raw, true);
    return true;
}

static bool read_elsewhere(struct subscribe_reader *reader, struct span value)
{
    (void)reader;
    (void)value;
    return true;
}

/* The words that a query may use. Those that others invented for ours stand behind them. */
static const struct query_word {
    struct span name;
    bool      (*read)(struct subscribe_reader *reader, struct span value);
    bool        is_alias;
    bool        is_place;  /* a cursor stands for it */
} query_words[] = {
    { SPAN("channel"), read_channel, false, true },
    { SPAN("after"), read_after, false, true },
    { SPAN("last"), read_last, false, true },
    { SPAN("cursor"), read_cursor_word, false, true },
    { SPAN("last_event_id"), read_event_id, false, true },
    { SPAN("wait"), read_wait, false, false },
    { SPAN("format"), subscribe_keep_format, false, false },
    { SPAN("access_token"), read_elsewhere, false, false },    /* this and the next one: auth/credential.c */
    { SPAN("user"), read_elsewhere, false, false },
    { SPAN("device"), subscribe_keep_device, false, false },
    { SPAN("session"), subscribe_keep_session, false, false },
    { SPAN("class"), subscribe_keep_class, false, false },
    { SPAN("presence"), read_presence, false, false },
    { SPAN("mode"), subscribe_keep_mode, false, false },
    { SPAN("lastEventId"), read_event_id, true, true },      /* event-source-polyfill */
    { SPAN("lastEventID"), read_event_id, true, true },
    { SPAN("Last-Event-ID"), read_event_id, true, true },
    { SPAN("last-event-id"), read_event_id, true, true },
};

enum { QUERY_WORD_COUNT = sizeof query_words / sizeof query_words[0] };

/* NULL: none of ours. */
static const struct query_word *find_word(struct span name)
{
    for (size_t i = 0; i < QUERY_WORD_COUNT; i++)
        if (span_eq(name, query_words[i].name))
            return &query_words[i];
    return NULL;
}

static bool refuse_word(struct subscribe_reader *reader, struct span name)
{
    struct span known[QUERY_WORD_COUNT];
    size_t      count = 0;
    char        text[UNKNOWN_WORD_BYTES];

    for (size_t i = 0; i < QUERY_WORD_COUNT; i++)
        if (!query_words[i].is_alias)
            known[count++] = query_words[i].name;
    return subscribe_requests_fault(reader->requests, 400, "%s",
                                    unknown_word_say("parameter", name, (struct known_words){ known, count }, text));
}

static bool read_parameter(struct subscribe_reader *reader, struct span encoded_name, struct span encoded_value)
{
    struct span name, value;

    if (!url_decode(encoded_name, URL_QUERY, &reader->name_scratch, &name) ||
        !url_decode(encoded_value, URL_QUERY, &reader->scratch, &value))
        return subscribe_requests_fault(reader->requests, 400, "a parameter is not properly percent-encoded");
    reader->raw                 = encoded_value;
    const struct query_word *word = find_word(name);
    if (word != NULL)
        return word->read(reader, value);
    return span_starts(name, SPAN("_")) || refuse_word(reader, name);  /* _ begins what is there to get past caches */
}

bool subscribe_read_query(struct subscribe_reader *reader, struct span query)
{
    struct span name, value;

    while (url_query_next(&query, &name, &value))
        if (!read_parameter(reader, name, value))
            return false;
    return true;
}

/* channel=a&channel=b&after=0: was b meant, or both? Not a question if a token has a place for a. */
bool subscribe_check_places(const struct subscribe_reader *reader)
{
    struct subscribe_requests *requests    = reader->requests;
    uint32_t                   last_behind = 0, first_without = UINT32_MAX;

    for (size_t i = 0; i < requests->count; i++) {
        const struct subscribe_request *request = &requests->at[i];
        if (request->place == PLACE_BEHIND && request->listed_at > last_behind)
            last_behind = request->listed_at;
        if (request->place == PLACE_NOT_SAID && request->listed_at != 0 && request->listed_at < first_without)
            first_without = request->listed_at;
    }
    return first_without > last_behind ||
           subscribe_requests_fault(requests, 400,
                                    "after= or last= stands behind several channel=s, and it can't be told which are "
                                    "meant: name them, as in after=topic:a@0&after=topic:b@0");
}

size_t subscribe_kept_query_bytes(struct span query)
{
    struct span name, value;
    size_t      bytes = 0;

    while (url_query_next(&query, &name, &value)) {
        const struct query_word *word = find_word(name);
        if (word == NULL || !word->is_place)
            bytes += sizeof "&=" - 1 + name.len + value.len;
    }
    return bytes;
}
