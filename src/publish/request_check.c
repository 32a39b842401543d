#include "publish/request_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/must.h"
#include "base/span_keep.h"
#include "base/utf8.h"
#include "codec/request_head.h"
#include "codec/url/url.h"
#include "settings/settings.h"

/* --- routes ----------------------------------------------------------------------------------------------------- */

struct request_route {
    const struct uplink_section *section;
    struct span                  pattern;   /* the path without its `**` */
    bool                         has_rest;  /* it ended in `**` */
};

struct request_routes {
    size_t               count, body_bytes_max;
    struct request_route at[];
};

static struct request_route request_route_of(const struct uplink_section *section)
{
    struct span pattern = span_str(section->path);
    bool        has_rest = pattern.len >= 3 && memcmp(pattern.at + pattern.len - 3, "/**", 3) == 0;

    return (struct request_route){ section, has_rest ? span_head(pattern, pattern.len - 2) : pattern, has_rest };
}

struct request_routes *request_routes_new(const struct settings *settings)
{
    struct request_routes *routes = calloc(1, sizeof *routes + settings->uplink_count * sizeof routes->at[0]);

    must(routes != NULL);
    routes->count = settings->uplink_count;
    for (size_t i = 0; i < routes->count; i++) {
        routes->at[i] = request_route_of(&settings->uplinks[i]);
        if (settings->uplinks[i].body_bytes_max > routes->body_bytes_max)
            routes->body_bytes_max = settings->uplinks[i].body_bytes_max;
    }
    return routes;
}

void request_routes_free(struct request_routes *routes)
{
    free(routes);
}

size_t request_routes_body_bytes_max(const struct request_routes *routes)
{
    return routes == NULL ? 0 : routes->body_bytes_max;
}

/* Segment by segment; `*` is one that is not empty. What a `**` stands for may be empty. */
static bool request_route_fits(const struct request_route *route, struct span path)
{
    struct span pattern = route->pattern, wanted, segment;

    while (url_segment_next(&pattern, &wanted)) {
        if (!url_segment_next(&path, &segment))
            return false;
        if (route->has_rest && pattern.len == 0)
            return true;
        if (span_eq(wanted, SPAN("*")) ? segment.len == 0 : !span_eq(wanted, segment))
            return false;
    }
    return !url_segment_next(&path, &segment);
}

static const struct uplink_section *find_uplink(const struct request_routes *routes, enum request_method method, struct span path)
{
    for (size_t i = 0; routes != NULL && i < routes->count; i++)
        if ((routes->at[i].section->methods & (unsigned)method) != 0 && request_route_fits(&routes->at[i], path))
            return routes->at[i].section;
    return NULL;
}

/* --- path and query --------------------------------------------------------------------------------------------- */

static const char path_is[] = "`path` is the path and query of a URL, from its first slash on, in at most 8192 bytes of visible "
                              "ASCII; other characters are percent-encoded";

/* RFC 3986 3.3, 3.4: no fragment. A back end may take a backslash for a slash. */
static bool is_target_byte(char c)
{
    return c > ' ' && c < 0x7f && strchr("#\\\"<>^`{|}", c) == NULL;
}

/* A segment's parameters are left out: some back ends take `..;x` for `..`. */
static bool is_dots(struct span segment)
{
    struct span name = SPAN("");

    span_cut(&segment, ';', &name);
    return span_eq(name, SPAN(".")) || span_eq(name, SPAN(".."));
}

/* NULL: it is strict. `plain` is decoded. */
static const char *plain_path_fault(struct span plain)
{
    struct span rest = plain, segment;

    if (!utf8_is_valid(plain))
        return "the path is not UTF-8 once it is decoded";
    while (url_segment_next(&rest, &segment)) {
        if (is_dots(segment))
            return "the path has a segment `.` or `..`";
        if (segment.len == 0 && rest.len > 0)
            return "the path has an empty segment";
    }
    return NULL;
}

static bool has_encoded(struct span path, const char *digits)
{
    for (size_t i = 0; i + 2 < path.len; i++)
        if (path.at[i] == '%' && span_eq_nocase(span_of(path.at + i + 1, 2), span_str(digits)))
            return true;
    return false;
}

/* NULL: *ret_plain is the decoded path, in `scratch` or in the target. */
static const char *read_request_path(struct span target, struct buf *scratch, struct span *ret_plain)
{
    struct span path = target, query;

    if (target.len == 0 || target.len > REQUEST_TARGET_BYTES_MAX || target.at[0] != '/')
        return path_is;
    for (size_t i = 0; i < target.len; i++)
        if (!is_target_byte(target.at[i]))
            return path_is;
    url_split(target, &path, &query);
    if (has_encoded(path, "2f") || has_encoded(path, "5c"))
        return "the path has an encoded slash or backslash";
    if (!url_decode(path, URL_PATH, scratch, ret_plain))
        return "the path has a percent sign without two hex digits, or an encoded NUL";
    return plain_path_fault(*ret_plain);
}

/* --- header fields ---------------------------------------------------------------------------------------------- */

static bool is_field_value(struct span value)
{
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.at[i] < ' ' && value.at[i] != '\t') || value.at[i] == 0x7f)
            return false;
    return true;
}

static bool is_named_twice(const struct request_asked *asked, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (span_eq_nocase(asked->fields[i].name, asked->fields[at].name))
            return true;
    return false;
}

static struct verdict refuse_request(unsigned status, const char *why)
{
    return (struct verdict){ .status = status, .reason = why };
}

static struct verdict check_request_fields(const struct request_asked *asked)
{
    size_t bytes = 0;

    for (size_t i = 0; i < asked->field_count; i++) {
        const struct request_field *field = &asked->fields[i];
        if (!request_is_token(field->name))
            return refuse_request(400, "the name of a header field is one word of letters, digits and -");
        if (!is_field_value(field->value))
            return refuse_request(400, "the value of a header field has a line break or another control character");
        if (is_named_twice(asked, i))
            return refuse_request(400, "a header field is named twice");
        bytes += field->name.len + field->value.len;
    }
    if (bytes > REQUEST_HEADERS_BYTES_MAX)
        return refuse_request(413, "the header fields have more than 8192 bytes");
    return (struct verdict){ 0 };
}

/* What the server itself says to the back end, and what belongs to one hop (RFC 9110 7.6.1): no route passes it on. */
static bool is_servers_field(struct span name)
{
    static const struct span names[] = {
        SPAN("host"), SPAN("content-length"), SPAN("transfer-encoding"), SPAN("connection"), SPAN("keep-alive"), SPAN("te"),
        SPAN("trailer"), SPAN("upgrade"), SPAN("proxy-connection"), SPAN("proxy-authenticate"), SPAN("proxy-authorization"),
        SPAN("expect"), SPAN("http2-settings"), SPAN("forwarded"), SPAN("x-forwarded-for"), SPAN("x-forwarded-host"),
        SPAN("x-forwarded-proto"), SPAN("x-real-ip"), SPAN("idempotency-key"), SPAN("traceparent"),
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_eq_nocase(name, names[i]))
            return true;
    return name.len >= 9 && span_eq_nocase(span_head(name, 9), SPAN("longwire-"));
}

static bool is_passed_on(const struct uplink_section *uplink, struct span name)
{
    struct span list = span_str(uplink->headers), one;

    if (is_servers_field(name))
        return false;
    if (span_eq_nocase(name, SPAN("content-type")))
        return true;
    while (span_cut(&list, ',', &one))
        if (span_eq_nocase(span_trim(one), name))
            return true;
    return false;
}

/* W3C Trace Context, version 00: 00-TRACE-PARENT-FLAGS in lower-case hex, neither id all zeros. */
static struct span traceparent_of(const struct request_asked *asked)
{
    static const char form[] = "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    struct span       value  = SPAN("");

    for (size_t i = 0; i < asked->field_count; i++)
        if (span_eq_nocase(asked->fields[i].name, SPAN("traceparent")))
            value = asked->fields[i].value;
    if (value.len != sizeof form - 1)
        return SPAN("");
    for (size_t i = 0; i < value.len; i++)
        if (form[i] == 'h' ? value.at[i] == '\0' || strchr("0123456789abcdef", value.at[i]) == NULL : value.at[i] != form[i])
            return SPAN("");
    if (memcmp(value.at + 3, "00000000000000000000000000000000", 32) == 0 || memcmp(value.at + 36, "0000000000000000", 16) == 0)
        return SPAN("");
    return value;
}

/* --- the command ------------------------------------------------------------------------------------------------ */

/* A NUL behind it: none of what is hashed holds one, the body excepted, which is the last. */
static struct span put_hashed(char **at, struct span text)
{
    struct span word = span_keep(text, at);

    *(*at)++ = '\0';
    return word;
}

/* Stored in rows and compared by other nodes, so its definition never changes. Who finds two requests with one hash fools
 * nobody but himself, so the keys need not be secret. */
static void hash_request(struct span hashed, uint8_t ret[static 16])
{
    static const struct hash_key keys[2] = { { 0x6c6f6e6777697265, 1 }, { 0x6c6f6e6777697265, 2 } };

    for (int half = 0; half < 2; half++) {
        uint64_t hash = hash_bytes(&keys[half], hashed);
        for (int i = 0; i < 8; i++)
            ret[half * 8 + i] = (uint8_t)(hash >> (56 - 8 * i));
    }
}

static size_t request_text_bytes(const struct request_sender *sender, const struct request_asked *asked,
                                 const struct uplink_section *uplink, size_t *ret_field_count)
{
    size_t bytes = sender->user.len + sender->device.len + sender->address.len + asked->id.len + strlen(uplink->backend) +
                   traceparent_of(asked).len + asked->method.len + asked->target.len + asked->body.len + 2;

    *ret_field_count = 0;
    for (size_t i = 0; i < asked->field_count; i++) {
        if (!is_passed_on(uplink, asked->fields[i].name))
            continue;
        bytes += asked->fields[i].name.len + asked->fields[i].value.len + 2;
        ++*ret_field_count;
    }
    return bytes;
}

static struct request_command *request_command_of(const struct request_sender *sender, const struct request_asked *asked,
                                                  const struct uplink_section *uplink)
{
    size_t                  count, bytes = request_text_bytes(sender, asked, uplink, &count);
    struct request_command *request = request_command_new(REQUEST_SEND, count, bytes);
    struct request_field   *fields  = (struct request_field *)(void *)request->words;
    char                   *at      = request->words + count * sizeof fields[0];

    request->channel          = channel_name_ref(sender->channel);
    request->key              = sender->key;
    request->is_at_least_once = uplink->delivery == AT_LEAST_ONCE;
    request->timeout_ms       = (msec)asked->timeout_ms;
    request->user             = span_keep(sender->user, &at);
    request->device           = span_keep(sender->device, &at);
    request->address          = span_keep(sender->address, &at);
    request->id               = span_keep(asked->id, &at);
    request->backend          = span_keep(span_str(uplink->backend), &at);
    request->traceparent      = span_keep(traceparent_of(asked), &at);
    const char *hashed = at;
    request->method           = put_hashed(&at, asked->method);
    request->target           = put_hashed(&at, asked->target);
    for (size_t i = 0; i < asked->field_count; i++) {
        if (!is_passed_on(uplink, asked->fields[i].name))
            continue;
        fields->name  = put_hashed(&at, asked->fields[i].name);
        fields->value = put_hashed(&at, asked->fields[i].value);
        fields++;
    }
    request->body = span_keep(asked->body, &at);
    hash_request(span_of(hashed, (size_t)(at - hashed)), request->hash);
    return request;
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static bool is_request_id(struct span id)
{
    return id.len > 0 && id.len <= REQUEST_ID_BYTES_MAX && !span_has_control(id) && utf8_is_valid(id);
}

static struct verdict refuse_body(const struct uplink_section *uplink, size_t bytes, char scratch[REQUEST_WHY_BYTES])
{
    snprintf(scratch, REQUEST_WHY_BYTES, "the body has %zu bytes; this request takes %llu at most (body_bytes_max of its [uplink])",
             bytes, (unsigned long long)uplink->body_bytes_max);
    return refuse_request(413, scratch);
}

static struct verdict check_by_route(const struct request_routes *routes, const struct request_sender *sender,
                                     const struct request_asked *asked, struct span plain_path, char scratch[REQUEST_WHY_BYTES],
                                     const struct uplink_section **ret)
{
    enum request_method method;

    if (!request_method_find(asked->method, &method))
        return refuse_request(400, "`method` is GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in capitals");
    *ret = find_uplink(routes, method, plain_path);
    if (*ret == NULL)
        return refuse_request(404, "no [uplink] of the configuration takes this method and path");
    struct verdict verdict = may_request(sender->identity, (*ret)->allow, (*ret)->name);
    if (verdict.status == 0 && asked->body.len > (*ret)->body_bytes_max)
        return refuse_body(*ret, asked->body.len, scratch);
    if (verdict.status == 0 && (*ret)->delivery == AT_LEAST_ONCE && asked->body.len > REQUEST_KEPT_BODY_MAX)
        return refuse_request(413, "a request with `delivery = at_least_once` is kept until it was answered, so its body has at "
                                   "most 2097152 bytes");
    return verdict;
}

struct verdict request_check(const struct request_routes *routes, const struct request_sender *sender,
                             const struct request_asked *asked, char scratch[REQUEST_WHY_BYTES], struct request_command **ret)
{
    const struct uplink_section *uplink = NULL;
    struct buf                   decoded;
    struct span                  plain = SPAN("");
    struct verdict               verdict;

    if (!is_request_id(asked->id))
        return refuse_request(400, "`id` is 1 to 128 bytes of UTF-8 without control characters");
    if (sender->device.len > 0 && sender->channel->space->durability != DURABLE)
        return refuse_request(503, "the namespace `device` is configured not to be durable, so no response could be kept");
    if (asked->timeout_ms > REQUEST_TIMEOUT_MS_MAX)
        return refuse_request(400, "`timeout_ms` is at most 600000");
    buf_init(&decoded, REQUEST_TARGET_BYTES_MAX);
    const char *fault = read_request_path(asked->target, &decoded, &plain);
    verdict           = fault != NULL ? refuse_request(400, fault) : check_request_fields(asked);
    if (verdict.status == 0)
        verdict = check_by_route(routes, sender, asked, plain, scratch, &uplink);
    if (verdict.status == 0)
        *ret = request_command_of(sender, asked, uplink);
    buf_fini(&decoded);
    return verdict;
}

const char *request_explain(enum request_outcome outcome, unsigned *ret_status)
{
    static const struct { unsigned status; const char *why; } rows[REQUEST_OUTCOME_COUNT] = {
        [REQUEST_CONFLICT] = { 422, "this id was used with another request; take a new one" },
        [REQUEST_GONE]     = { 410, "this id was answered, and the answer is no longer kept (responses_bytes_max, and what the "
                                    "log of the device keeps)" },
        [REQUEST_NO_SPACE] = { 507, "the disk is full; the request was not sent" },
        [REQUEST_BUSY]     = { 429, "too many requests are under way; send it again a little later" },
        [REQUEST_TOO_OFTEN] = { 429, "this user sends more requests than requests_per_user_per_s allows; send it again a second "
                                     "later" },
        [REQUEST_AWAY]     = { 503, "whether this id was used can't be asked now; send the same request again a little later" },
    };

    *ret_status = rows[outcome].status;
    return rows[outcome].why;
}
