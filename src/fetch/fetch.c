#include "fetch/fetch.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"

enum { FIELDS_ROOM = 512 };

const char *fetch_outcome_text(enum fetch_outcome outcome)
{
    static const char *const texts[FETCH_OUTCOME_COUNT] = {
        [FETCH_ANSWERED] = "answered",     [FETCH_TIMEOUT] = "timeout",     [FETCH_UNREACHABLE] = "unreachable",
        [FETCH_GARBAGE] = "garbage",       [FETCH_TOO_LARGE] = "too_large", [FETCH_CANCELLED] = "cancelled",
        [FETCH_STOPPED] = "stopped",
    };
    must(outcome < FETCH_OUTCOME_COUNT);
    return texts[outcome];
}

/* --- calls --------------------------------------------------------------------------------------------------- */

struct fetch_call *fetch_call_new(const char *method, struct span url)
{
    struct fetch_call *call = calloc(1, sizeof *call);

    must(call != NULL);
    call->url    = strndup(url.at, url.len);
    call->method = method;
    must(call->url != NULL);
    buf_init(&call->fields, SIZE_MAX / 2);
    buf_init(&call->body, SIZE_MAX / 2);
    buf_init(&call->answer, SIZE_MAX / 2);  /* answer_bytes_max bounds it */
    buf_init(&call->head, FETCH_HEAD_BYTES_MAX);
    buf_init(&call->prepared, SIZE_MAX / 2);
    return call;
}

void fetch_call_renew(struct fetch_call *call, struct span address, struct span target)
{
    free(call->url);
    call->url = malloc(address.len + target.len + 1);
    must(call->url != NULL && call->handle == NULL && call->conn == NULL);
    memcpy(call->url, address.at, address.len);
    if (target.len > 0)
        memcpy(call->url + address.len, target.at, target.len);
    call->url[address.len + target.len] = '\0';
    buf_clear(&call->answer);
    for (size_t i = 0; i < call->wanted_count; i++)
        buf_clear(&call->wanted[i].value);
    call->status     = 0;
    call->stream     = call->stream_tries = 0;
    call->why[0]     = '\0';
    call->head_bytes = 0;
    call->is_sent = call->is_cut_off = call->is_too_large = call->has_head = call->is_multiplexed = call->looks_up = false;
    call->is_refused = false;
    atomic_store(&call->is_cancelled, false);
}

/* What was sent may hold secrets. */
static void wipe_free(void *at, size_t len)
{
    if (at != NULL)
        explicit_bzero(at, len);
    free(at);
}

static void wipe_buf(struct buf *buf)
{
    if (buf->at != NULL)
        explicit_bzero(buf->at, buf->len);
    buf_fini(buf);
}

void fetch_call_free(struct fetch_call *call)
{
    if (call == NULL)
        return;
    wipe_buf(&call->fields);
    wipe_buf(&call->body);
    buf_fini(&call->answer);
    buf_fini(&call->head);
    buf_fini(&call->prepared);
    for (size_t i = 0; i < call->wanted_count; i++)
        buf_fini(&call->wanted[i].value);
    wipe_free(call->url, strlen(call->url));
    free(call);
}

/* Of eight bytes none is below a space or 0x7f. False may be wrong. */
static bool has_no_control(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t       word;

    memcpy(&word, at, sizeof word);
    const uint64_t del = word ^ (ones * 0x7f);
    return (((word - ones * ' ') & ~word) & highs) == 0 && (((del - ones) & ~del) & highs) == 0;
}

/* Of eight bytes none is above ASCII, a space or a colon. False may be wrong. */
static bool has_no_mark(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t       word;

    memcpy(&word, at, sizeof word);
    const uint64_t space = word ^ (ones * ' '), colon = word ^ (ones * ':');
    return ((word | ((space - ones) & ~space) | ((colon - ones) & ~colon)) & highs) == 0;
}

static bool name_is_sendable(struct span name)
{
    const char *at = name.at, *end = at + name.len;

    while ((size_t)(end - at) >= sizeof(uint64_t) && has_no_control(at) && has_no_mark(at))
        at += sizeof(uint64_t);
    for (; at < end; at++)
        if (*at <= ' ' || *at == ':' || *at == 0x7f)
            return false;
    return name.len > 0;
}

/* RFC 9110 5.1 and 5.5, a little stricter: nothing that could end the line, and no other control character. */
static bool field_is_sendable(struct span name, struct span value)
{
    if (!name_is_sendable(name))
        return false;
    const char *at = value.at, *end = at + value.len;
    while ((size_t)(end - at) >= sizeof(uint64_t) && has_no_control(at))
        at += sizeof(uint64_t);
    value = span_of(at, (size_t)(end - at));
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.at[i] < ' ' && value.at[i] != '\t') || value.at[i] == 0x7f)
            return false;
    return true;
}

static bool is_said_by_itself(struct span name)
{
    switch (name.len) {
    case 4:  return span_eq_nocase(name, SPAN("Host"));
    case 10: return span_eq_nocase(name, SPAN("Connection"));
    case 14: return span_eq_nocase(name, SPAN("Content-Length"));
    case 17: return span_eq_nocase(name, SPAN("Transfer-Encoding"));
    default: return false;
    }
}

/* Room for `more` bytes. A buffer that grows by itself would leave a copy of secrets behind. */
static void fields_make_room(struct buf *fields, size_t more)
{
    struct buf larger;

    if (fields->cap - fields->len >= more)
        return;
    buf_init(&larger, fields->max);
    must(buf_extend(&larger, 2 * fields->len + more + FIELDS_ROOM) != NULL);
    larger.len = 0;
    buf_put(&larger, buf_span(fields));
    wipe_buf(fields);
    *fields = larger;
}

bool fetch_call_add_field(struct fetch_call *call, struct span name, struct span value)
{
    value = span_trim(value);
    if (!field_is_sendable(name, value) || is_said_by_itself(name))
        return false;
    const struct span mark = value.len == 0 ? SPAN(":") : SPAN(": ");
    fields_make_room(&call->fields, name.len + value.len + 4);
    char *at = buf_extend(&call->fields, name.len + mark.len + value.len + 2);
    must(at != NULL);
    at = mempcpy(at, name.at, name.len);
    at = mempcpy(at, mark.at, mark.len);
    if (value.len > 0)
        at = mempcpy(at, value.at, value.len);
    memcpy(at, "\r\n", 2);
    return true;
}

void fetch_call_want(struct fetch_call *call, const char *name)
{
    must(call->wanted_count < FETCH_WANTED_MAX);
    call->wanted[call->wanted_count].name = name;
    buf_init(&call->wanted[call->wanted_count++].value, FETCH_HEAD_BYTES_MAX);
}

struct span fetch_call_field(const struct fetch_call *call, const char *name)
{
    for (size_t i = 0; i < call->wanted_count; i++)
        if (span_eq_nocase(span_str(call->wanted[i].name), span_str(name)))
            return buf_span(&call->wanted[i].value);
    return SPAN("");
}

void fetch_call_forget_head(struct fetch_call *call)
{
    for (size_t i = 0; i < call->wanted_count; i++)
        buf_clear(&call->wanted[i].value);
    buf_clear(&call->head);
}

void fetch_call_keep_field(struct fetch_call *call, struct span name, struct span value)
{
    for (size_t i = 0; i < call->wanted_count; i++) {
        struct fetch_field *field = &call->wanted[i];
        if (!span_eq_nocase(name, span_str(field->name)))
            continue;
        buf_clear(&field->value);
        buf_put(&field->value, value);
    }
    if (!call->keeps_head)
        return;
    char *at = buf_extend(&call->head, name.len + value.len + 3);
    if (at == NULL)
        return;
    at = mempcpy(at, name.at, name.len);
    at = mempcpy(at, ": ", 2);
    if (value.len > 0)
        at = mempcpy(at, value.at, value.len);
    *at = '\n';
}

/* --- the module ---------------------------------------------------------------------------------------------- */

static struct fetch *fetch_make(const struct fetch_limits *limits)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);

    must(fetch != NULL && limits->under_way_max > 0);
    fetch->limits = *limits;
    fetch->loop   = &fetch->own_loop;
    list_init(&fetch->waiting);
    list_init(&fetch->under_way);
    list_init(&fetch->ended);
    return fetch;
}

struct fetch *fetch_new(const struct fetch_limits *limits)
{
    struct fetch *fetch = fetch_make(limits);

    plain_book_init(&fetch->book);
    plain_init(fetch, &fetch->book);
    return fetch;
}

struct fetch *fetch_part_new(struct fetch *fetch, struct loop *loop)
{
    struct fetch *part = fetch_make(&fetch->limits);

    must(fetch->whole == NULL && fetch->part_count < FETCH_PARTS_MAX);
    part->whole                        = fetch;
    part->loop                         = loop;
    fetch->parts[fetch->part_count++] = part;
    plain_init(part, &fetch->book);
    return part;
}

void fetch_part_free(struct fetch *part)
{
    if (part == NULL)
        return;
    must(atomic_load(&part->is_stopping) && part->under_way_count == 0);
    for (uint32_t i = 0; i < part->whole->part_count; i++)
        if (part->whole->parts[i] == part)
            part->whole->parts[i] = part->whole->parts[--part->whole->part_count];
    plain_fini(part);
    free(part);
}

void fetch_free(struct fetch *fetch)
{
    if (fetch == NULL)
        return;
    must(!fetch->is_started && fetch->part_count == 0);
    plain_fini(fetch);
    plain_book_fini(&fetch->book);
    free(fetch->ca_file);
    free(fetch);
}

bool fetch_trust(struct fetch *fetch, const char *ca_file, struct buf *why)
{
    X509_STORE *store = X509_STORE_new();

    must(!fetch->is_started && store != NULL);
    bool is_good = X509_STORE_load_file(store, ca_file) == 1;
    X509_STORE_free(store);
    ERR_clear_error();
    if (!is_good) {
        buf_putf(why, "%s can't be read, or holds no certificate in PEM", ca_file);
        return false;
    }
    free(fetch->ca_file);
    fetch->ca_file = strdup(ca_file);
    must(fetch->ca_file != NULL);
    return true;
}

enum rc fetch_start(struct fetch *fetch)
{
    if (fetch->is_started)
        return RC_OK;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return RC_NOMEM;
    enum rc rc = loop_init(fetch->loop, &fetch_hooks, fetch);
    if (rc != RC_OK) {
        curl_global_cleanup();
        return rc;
    }
    atomic_store(&fetch->is_stopping, false);
    if (pthread_create(&fetch->thread, NULL, fetch_main, fetch) != 0) {
        loop_fini(fetch->loop);
        curl_global_cleanup();
        return RC_NOMEM;
    }
    fetch->is_started = true;
    return RC_OK;
}

bool fetch_is_started(const struct fetch *fetch)
{
    return fetch->is_started;
}

void fetch_stop(struct fetch *fetch)
{
    if (!fetch->is_started)
        return;
    atomic_store(&fetch->is_stopping, true);
    mailbox_ring(&fetch->loop->mailbox);
    must(pthread_join(fetch->thread, NULL) == 0);
    must(atomic_load(&fetch->out_count) == 0);
    loop_fini(fetch->loop);
    curl_global_cleanup();
    fetch->is_started = false;
}

bool fetch_send(struct fetch *fetch, struct fetch_call *call)
{
    struct bundle one = { NULL, NULL };

    must(call->done != NULL && call->timeout_ms > 0 && call->connect_timeout_ms > 0);
    if (!call->is_counted && atomic_fetch_add(&fetch->out_count, 1) >= fetch->limits.calls_max) {
        atomic_fetch_sub(&fetch->out_count, 1);
        return false;
    }
    atomic_store(&call->by, fetch);
    bundle_add(&one, &call->mail);
    mailbox_put(&fetch->loop->mailbox, &one);
    return true;
}

/* Whoever takes the call after `by` was read here sees that it is cancelled. */
void fetch_cancel(struct fetch_call *call)
{
    atomic_store(&call->is_cancelled, true);
    struct fetch *fetch = atomic_load(&call->by);
    if (fetch == NULL)
        return;  /* none has it yet */
    atomic_store(&fetch->has_cancelled, true);
    mailbox_ring(&fetch->loop->mailbox);
}

static void counters_add(struct fetch_counters *sum, const struct fetch_counters *more)
{
    counter_add(&sum->calls, counter_get(&more->calls));
    counter_add(&sum->under_way, counter_get(&more->under_way));
    counter_add(&sum->waiting, counter_get(&more->waiting));
    counter_add(&sum->took_ms_sum, counter_get(&more->took_ms_sum));
    for (int i = 0; i < FETCH_OUTCOME_COUNT; i++)
        counter_add(&sum->outcomes[i], counter_get(&more->outcomes[i]));
}

void fetch_read_counters(const struct fetch *fetch, struct fetch_counters *ret)
{
    *ret = (struct fetch_counters){ 0 };
    counters_add(ret, &fetch->counters);
    for (uint32_t i = 0; i < fetch->part_count; i++)
        counters_add(ret, &fetch->parts[i]->counters);
}
