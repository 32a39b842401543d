#include "settings/section_backend.h"

#include <ctype.h>

#include "base/must.h"
#include "settings/url_list.h"

enum { TIMEOUT_S_DEFAULT = 10, TIMEOUT_S_MOST = 600, CONNECT_TIMEOUT_S_DEFAULT = 3 };
enum { CONNECTIONS_DEFAULT = 64, CONNECTIONS_MOST = 1024, REQUESTS_DEFAULT = 256, REQUESTS_MOST = 65536 };
enum { RETRIES_DEFAULT = 2, RETRIES_MOST = 15, BODY_BYTES_DEFAULT = 1024 * 1024, BODY_BYTES_MOST = 64 * 1024 * 1024 };

#define AT(member) offsetof(struct backend_draft, member)
const struct value_row backend_rows[BACKEND_ROW_COUNT] = {
    { "url", VALUE_TEXT, AT(url), .max = BACKEND_URLS_BYTES_MAX,
      .help = "Its address, https:// or http://, with a path before all others if it needs one; several with commas are machines that "
              "do the same, and calls go to them in turn. It must be there. Redirects are not followed." },
    { "protocol", VALUE_CHOICE, AT(protocol), .words = "auto|http1|h2c",
      .help = "auto: HTTP/2 if an https address offers it, else HTTP/1.1. http1: HTTP/1.1. h2c: HTTP/2 on http addresses, "
              "without asking; with a libcurl before 8.0 (Debian 12) each call then opens a connection of its own. Default auto." },
    { "timeout_s", VALUE_SECONDS, AT(timeout_s), .min = 1, .max = TIMEOUT_S_MOST,
      .help = "How long a whole call may take, waiting and retries included; above it the answer is 504. Default 10s." },
    { "connect_timeout_s", VALUE_SECONDS, AT(connect_timeout_s), .min = 1, .max = TIMEOUT_S_MOST,
      .help = "How long a connection to it may take to be opened; above it the next address is tried. Default 3s." },
    { "connections_max", VALUE_COUNT, AT(connections_max), .min = 1, .max = CONNECTIONS_MOST,
      .help = "Most connections to each address. Default 64." },
    { "requests_max", VALUE_COUNT, AT(requests_max), .min = 1, .max = REQUESTS_MOST,
      .help = "Most calls under way, all addresses together. As many wait beyond it, until their time is up; a further one "
              "is answered 503. Default 256." },
    { "retries", VALUE_COUNT, AT(retries), .max = RETRIES_MOST,
      .help = "How often a call is sent to another address, only while not a byte of it was sent. Default 2." },
};
#undef AT

#define AT(member) offsetof(struct uplink_draft, member)
const struct value_row uplink_rows[UPLINK_ROW_COUNT] = {
    { "methods", VALUE_TEXT, AT(methods), .max = 127,
      .help = "Methods with commas between, of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS. Default GET, POST, PUT, PATCH, "
              "DELETE." },
    { "path", VALUE_TEXT, AT(path), .max = UPLINK_PATH_BYTES_MAX,
      .help = "Paths that it takes: /orders/* has one segment for the star, /api/** all that follows. It must be there." },
    { "backend", VALUE_TEXT, AT(backend), .max = KEY_NAME_BYTES_MAX,
      .help = "The [backend] that is called, with the path as the client wrote it. It must be there." },
    { "delivery", VALUE_CHOICE, AT(delivery), .words = "at_most_once|at_least_once",
      .help = "What happens if the server dies between call and answer. at_most_once: the answer is 504 and says that the "
              "outcome is not known. at_least_once: the back end is called again, with the same Idempotency-Key. Default "
              "at_most_once." },
    { "allow", VALUE_CHOICE, AT(allow), .words = "nobody|key|grant|member|user|anyone",
      .help = "Who may: the words of a namespace's `publish`, but for member. Default user." },
    { "body_bytes_max", VALUE_BYTES, AT(body_bytes_max), .max = BODY_BYTES_MOST,
      .help = "Largest body of a request; above it 413. Default 1M." },
    { "headers", VALUE_TEXT, AT(headers), .max = UPLINK_HEADERS_BYTES_MAX,
      .help = "Headers of the request that are passed on beside Content-Type, with commas between. At most 16. Others are not." },
};
#undef AT

/* --- opening ------------------------------------------------------------------------------------------------- */

const struct backend_section *settings_backend(const struct settings *settings, struct span name)
{
    for (size_t i = 0; i < settings->backend_count; i++)
        if (span_eq(span_str(settings->backends[i].name), name))
            return &settings->backends[i];
    return NULL;
}

bool backend_section_open(const struct settings *settings, struct span name, struct backend_draft *ret, struct buf *why)
{
    *ret = (struct backend_draft){
        .timeout_s       = TIMEOUT_S_DEFAULT,
        .connect_timeout_s = CONNECT_TIMEOUT_S_DEFAULT,
        .connections_max = CONNECTIONS_DEFAULT,
        .requests_max    = REQUESTS_DEFAULT,
        .retries         = RETRIES_DEFAULT,
    };
    if (settings_backend(settings, name) != NULL) {
        buf_put_lit(why, "this back end has a section already");
        return false;
    }
    if (settings->backend_count == BACKENDS_MAX)
        buf_putf(why, "there may be at most %d back ends", BACKENDS_MAX);
    return settings->backend_count < BACKENDS_MAX;
}

bool uplink_section_open(const struct settings *settings, struct span name, struct uplink_draft *ret, struct buf *why)
{
    *ret = (struct uplink_draft){
        .methods        = "GET, POST, PUT, PATCH, DELETE",
        .allow          = ALLOW_USER,
        .body_bytes_max = BODY_BYTES_DEFAULT,
    };
    for (size_t i = 0; i < settings->uplink_count; i++)
        if (span_eq(span_str(settings->uplinks[i].name), name)) {
            buf_put_lit(why, "this uplink has a section already");
            return false;
        }
    if (settings->uplink_count == UPLINKS_MAX)
        buf_putf(why, "there may be at most %d uplinks", UPLINKS_MAX);
    return settings->uplink_count < UPLINKS_MAX;
}

/* --- closing a back end -------------------------------------------------------------------------------------- */

/* A call's path follows it. Who is asked by user and password in it would be shown in logs. */
static bool backend_url_is_valid(struct span url)
{
    return url_is_http(url) && url.at[url.len - 1] != '/' && memchr(url.at, '@', url.len) == NULL &&
           memchr(url.at, '?', url.len) == NULL && memchr(url.at, '#', url.len) == NULL && memchr(url.at, ',', url.len) == NULL;
}

/* How many there are; 0: `why` says what is wrong. */
static size_t addresses_count(struct span list, enum backend_protocol protocol, struct buf *why)
{
    size_t      count = 0;
    struct span url;

    while (url_list_next(&list, &url)) {
        if (!backend_url_is_valid(url) || ++count > BACKEND_ADDRESSES_MAX) {
            buf_putf(why, "url must be 1 to %d addresses with commas between, each beginning with https:// or http:// and a host, "
                     "without a slash at its end and without @ ? #", BACKEND_ADDRESSES_MAX);
            return 0;
        }
        if (protocol == BACKEND_H2C && span_starts(url, SPAN("https://"))) {
            buf_put_lit(why, "protocol = h2c is HTTP/2 without TLS, and an address begins with https://; leave protocol out");
            return 0;
        }
    }
    if (count == 0)
        buf_put_lit(why, "url must be there, and begin with https:// or http:// and a host");
    return count;
}

bool backend_section_close(struct settings *settings, struct span name, const struct backend_draft *draft, struct buf *why)
{
    size_t count = addresses_count(span_str(draft->url), draft->protocol, why);

    must(name.len <= KEY_NAME_BYTES_MAX && settings->backend_count < BACKENDS_MAX);
    if (count == 0)
        return false;
    struct backend_section *backend = &settings->backends[settings->backend_count++];
    *backend = (struct backend_section){
        .url_count         = count,
        .protocol          = draft->protocol,
        .timeout_s         = draft->timeout_s,
        .connect_timeout_s = draft->connect_timeout_s,
        .connections_max   = draft->connections_max,
        .requests_max      = draft->requests_max,
        .retries           = draft->retries,
    };
    memcpy(backend->name, name.at, name.len);
    memcpy(backend->urls, draft->url, sizeof backend->urls);
    return true;
}

/* --- closing an uplink --------------------------------------------------------------------------------------- */

/* 0: `why` says what is wrong. */
static unsigned methods_read(struct span list, struct buf *why)
{
    struct span         word;
    enum request_method method;
    unsigned            methods = 0;

    while (span_cut(&list, ',', &word)) {
        if (!request_method_find(span_trim(word), &method)) {
            buf_put_lit(why, "methods must be some of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, with commas between");
            return 0;
        }
        methods |= (unsigned)method;
    }
    if (methods == 0)
        buf_put_lit(why, "methods is empty; leave it out, or name at least one");
    return methods;
}

bool backend_path_is_valid(struct span path)
{
    for (size_t i = 0; i < path.len; i++)
        if (!isgraph((unsigned char)path.at[i]) || path.at[i] == '?' || path.at[i] == '#')
            return false;
    return path.len > 0 && path.at[0] == '/';
}

/* A star is a whole segment; two are the last one. */
static bool pattern_is_valid(struct span pattern)
{
    struct span rest = span_skip(pattern, pattern.len > 0), segment;

    if (!backend_path_is_valid(pattern))
        return false;
    while (span_cut(&rest, '/', &segment)) {
        if (segment.len == 0 || memchr(segment.at, '*', segment.len) == NULL || span_eq(segment, SPAN("*")))
            continue;
        if (!span_eq(segment, SPAN("**")) || rest.len > 0)
            return false;
    }
    return true;
}

/* The server writes these itself, or a proxy does: a client's own would be believed (threat 58). */
static bool header_is_ours(struct span name)
{
    static const struct span names[] = {
        SPAN("idempotency-key"), SPAN("traceparent"), SPAN("forwarded"), SPAN("host"), SPAN("content-length"), SPAN("content-type"),
        SPAN("connection"), SPAN("keep-alive"), SPAN("transfer-encoding"), SPAN("te"), SPAN("trailer"), SPAN("upgrade"), SPAN("expect"),
        SPAN("proxy-connection"), SPAN("proxy-authenticate"), SPAN("proxy-authorization"), SPAN("via"),
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_eq_nocase(names[i], name))
            return true;
    return (name.len >= 9 && span_eq_nocase(span_head(name, 9), SPAN("longwire-"))) ||
           (name.len >= 12 && span_eq_nocase(span_head(name, 12), SPAN("x-forwarded-")));
}

static bool header_add(struct uplink_section *uplink, struct span name, size_t before, struct buf *why)
{
    size_t len = strlen(uplink->headers);

    if (!header_name_is_plain(name, UPLINK_HEADER_BYTES_MAX) || before == UPLINK_HEADERS_MAX) {
        buf_putf(why, "headers must be at most %d names of 1 to %d letters, digits, - and _, with commas between",
                 UPLINK_HEADERS_MAX, UPLINK_HEADER_BYTES_MAX);
        return false;
    }
    if (header_is_ours(name)) {
        buf_putf(why, "headers: %.*s is written by the server itself, or belongs to one connection; a client's own is never passed on",
                 SPAN_ARG(name));
        return false;
    }
    if (before > 0)
        uplink->headers[len++] = ',';
    for (size_t i = 0; i < name.len; i++)
        uplink->headers[len + i] = (char)tolower((unsigned char)name.at[i]);
    return true;
}

static bool uplink_headers_take(struct uplink_section *uplink, struct span list, struct buf *why)
{
    struct span name;

    for (size_t count = 0; span_cut(&list, ',', &name); count++)
        if (!header_add(uplink, span_trim(name), count, why))
            return false;
    return true;
}

static bool uplink_is_sound(const struct uplink_draft *draft, struct buf *why)
{
    if (!pattern_is_valid(span_str(draft->path)))
        buf_put_lit(why, "path must be there and begin with /; a star stands for a whole segment, ** for the rest at the end");
    else if (draft->backend[0] == '\0')
        buf_put_lit(why, "backend must be there, and name a [backend]");
    else if (draft->allow == ALLOW_MEMBER)
        buf_put_lit(why, "allow: a path has no members; take user, grant or another word");
    else
        return true;
    return false;
}

bool uplink_section_close(struct settings *settings, struct span name, const struct uplink_draft *draft, struct buf *why)
{
    struct uplink_section *uplink = &settings->uplinks[settings->uplink_count];

    must(name.len <= KEY_NAME_BYTES_MAX && settings->uplink_count < UPLINKS_MAX);
    *uplink = (struct uplink_section){
        .methods        = methods_read(span_str(draft->methods), why),
        .delivery       = draft->delivery,
        .allow          = draft->allow,
        .body_bytes_max = draft->body_bytes_max,
    };
    if (uplink->methods == 0 || !uplink_is_sound(draft, why) || !uplink_headers_take(uplink, span_str(draft->headers), why))
        return false;
    memcpy(uplink->name, name.at, name.len);
    memcpy(uplink->path, draft->path, sizeof uplink->path);
    memcpy(uplink->backend, draft->backend, sizeof uplink->backend);
    settings->uplink_count++;
    return true;
}

bool backends_are_there(const struct settings *settings, struct buf *why)
{
    for (size_t i = 0; i < settings->uplink_count; i++) {
        const struct uplink_section *uplink = &settings->uplinks[i];
        if (settings_backend(settings, span_str(uplink->backend)) != NULL)
            continue;
        buf_putf(why, "[uplink %s]: there is no [backend %s]", uplink->name, uplink->backend);
        return false;
    }
    for (size_t i = 0; i < settings->namespaces.count; i++) {
        const struct namespace *space = &settings->namespaces.at[i];
        struct span             name  = namespace_forward_backend(space);
        if (!namespace_forwards(space) || settings_backend(settings, name) != NULL)
            continue;
        buf_putf(why, "[namespace %s]: forward: there is no [backend %.*s]", space->name, SPAN_ARG(name));
        return false;
    }
    return true;
}

/* --- printing ------------------------------------------------------------------------------------------------ */

static void rows_print(const struct value_row *rows, size_t count, const void *draft, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        buf_putf(out, "%s = ", rows[i].name);
        value_put(&rows[i], draft, out);
        buf_putc(out, '\n');
    }
}

void backend_section_print(const struct backend_section *backend, struct buf *out)
{
    struct backend_draft draft = {
        .protocol          = backend->protocol,
        .timeout_s         = backend->timeout_s,
        .connect_timeout_s = backend->connect_timeout_s,
        .connections_max   = backend->connections_max,
        .requests_max      = backend->requests_max,
        .retries           = backend->retries,
    };
    memcpy(draft.url, backend->urls, sizeof draft.url);
    buf_putf(out, "\n[backend %s]\n", backend->name);
    rows_print(backend_rows, BACKEND_ROW_COUNT, &draft, out);
}

static void methods_put(unsigned methods, struct buf *out)
{
    const char *before = "";

    for (int i = 0; i < REQUEST_METHOD_COUNT; i++) {
        if ((methods & 1u << i) == 0)
            continue;
        buf_putf(out, "%s%s", before, request_method_name((enum request_method)(1 << i)));
        before = ", ";
    }
}

void uplink_section_print(const struct uplink_section *uplink, struct buf *out)
{
    struct uplink_draft draft = {
        .delivery = uplink->delivery, .allow = uplink->allow, .body_bytes_max = uplink->body_bytes_max,
    };
    struct buf methods;

    buf_init(&methods, sizeof draft.methods - 1);
    methods_put(uplink->methods, &methods);
    memcpy(draft.methods, methods.at, methods.len);
    buf_fini(&methods);
    memcpy(draft.path, uplink->path, sizeof draft.path);
    memcpy(draft.backend, uplink->backend, sizeof draft.backend);
    memcpy(draft.headers, uplink->headers, sizeof draft.headers);
    buf_putf(out, "\n[uplink %s]\n", uplink->name);
    rows_print(uplink_rows, UPLINK_ROW_COUNT, &draft, out);
}
