/* fetch_easy.c - one call as libcurl has it: what is asked, what is taken of the answer, and what its end means. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"

/* An option that libcurl refuses is a mistake of ours, or a libcurl that we don't know. */
#define EASY_SET(easy, option, value) must(curl_easy_setopt(easy, option, value) == CURLE_OK)

/* --- what is taken of the answer --- */

static size_t on_answer_bytes(char *at, size_t one, size_t count, void *ctx)
{
    struct fetch_call *call = ctx;
    size_t             len  = one * count;

    if (call->answer.len + len > call->answer_bytes_max) {
        call->is_too_large = true;
        return 0;
    }
    buf_put(&call->answer, span_of(at, len));
    return len;
}

static struct span without_line_end(struct span line)
{
    while (line.len > 0 && (line.at[line.len - 1] == '\n' || line.at[line.len - 1] == '\r'))
        line.len--;
    return line;
}

/* Each head begins with a status line; the fields of the last one count. */
static void take_head_line(struct fetch_call *call, struct span line)
{
    struct span name;

    if (span_starts(line, SPAN("HTTP/")))
        fetch_call_forget_head(call);
    else if (span_cut(&line, ':', &name))
        fetch_call_keep_field(call, name, span_trim(line));
}

/* libcurl gives one whole line a call, the lines of 1xx answers too. */
static size_t on_head_line(char *at, size_t one, size_t count, void *ctx)
{
    struct fetch_call *call = ctx;
    struct span        line = span_of(at, one * count);

    call->head_bytes += line.len;
    if (call->head_bytes > FETCH_HEAD_BYTES_MAX) {
        call->is_too_large = true;
        return 0;
    }
    struct span text = without_line_end(line);
    /* The head of an answer 1xx is followed by another one; what else comes behind a head is trailers, which are dropped. */
    bool is_trailer = call->has_head && !span_starts(text, SPAN("HTTP/"));
    call->has_head  = text.len == 0 || is_trailer;
    if (!is_trailer)
        take_head_line(call, text);
    return line.len;
}

/* --- what is asked --- */

static struct curl_slist *slist_add(struct curl_slist *list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(list, line);
    must(longer != NULL);
    return longer;
}

/* `line` has no end. libcurl takes "Name;" for a field without a value: "Name:" would remove one of its own. */
static struct curl_slist *slist_add_field(struct curl_slist *list, struct span line)
{
    char *text = strndup(line.at, line.len);

    must(text != NULL);
    if (memchr(line.at, ':', line.len) == line.at + line.len - 1)
        text[line.len - 1] = ';';
    list = slist_add(list, text);
    explicit_bzero(text, line.len);
    free(text);
    return list;
}

/* Without a wait for 100 Continue, which costs a round trip; and the body's type is what the call says, or nothing. */
static struct curl_slist *fields_of(const struct fetch_call *call)
{
    struct curl_slist *list = slist_add(NULL, "Expect:");

    list = slist_add(list, "Accept:");
    list = slist_add(list, "Content-Type:");
    for (struct span rest = buf_span(&call->fields), line; span_cut(&rest, '\n', &line);)
        list = slist_add_field(list, span_head(line, line.len - 1));
    return list;
}

/* A handle has served other calls: HTTPGET takes away what they have left of a method or a body. */
static void set_method(CURL *easy, const struct fetch_call *call)
{
    EASY_SET(easy, CURLOPT_HTTPGET, 1L);
    EASY_SET(easy, CURLOPT_CUSTOMREQUEST, NULL);
    if (strcmp(call->method, "HEAD") == 0) {
        EASY_SET(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    EASY_SET(easy, CURLOPT_CUSTOMREQUEST, call->method);
    if (call->body.len == 0 && strcmp(call->method, "GET") == 0)
        return;
    EASY_SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    EASY_SET(easy, CURLOPT_POSTFIELDS, call->body.at == NULL ? "" : call->body.at);
}

static void set_times(CURL *easy, const struct fetch_call *call, msec left_ms)
{
    msec connect = call->connect_timeout_ms < left_ms ? call->connect_timeout_ms : left_ms;

    EASY_SET(easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    EASY_SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
}

/* libcurl 7.88 sends the second request on an HTTP/2 connection without TLS as if it were HTTP/1.1, and fails. */
static bool h2c_is_shared(void)
{
    enum { VERSION_8 = 0x080000 };
    return curl_version_info(CURLVERSION_NOW)->version_num >= VERSION_8;
}

/* A call waits until it is known whether a connection that is being opened can be shared, where it may be. */
static void set_protocol(CURL *easy, const struct fetch_call *call)
{
    static const long versions[] = {
        [FETCH_AUTO]  = CURL_HTTP_VERSION_2TLS,
        [FETCH_HTTP1] = CURL_HTTP_VERSION_1_1,
        [FETCH_H2C]   = CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
    };
    bool is_alone  = call->protocol == FETCH_H2C && !h2c_is_shared();
    bool may_share = (call->protocol == FETCH_H2C && !is_alone) ||
                     (call->protocol == FETCH_AUTO && span_starts(span_str(call->url), SPAN("https:")));

    EASY_SET(easy, CURLOPT_HTTP_VERSION, versions[call->protocol]);
    EASY_SET(easy, CURLOPT_PIPEWAIT, (long)may_share);
    EASY_SET(easy, CURLOPT_VERBOSE, (long)(may_share || is_alone));
    /* A name is looked up for a new connection only. */
    EASY_SET(easy, CURLOPT_FRESH_CONNECT, (long)(is_alone || call->looks_up));
    EASY_SET(easy, CURLOPT_FORBID_REUSE, (long)(is_alone || call->looks_up));
}

/* libcurl has a connection and is about to send. If it was about to before, the server has refused the request, or has closed the
 * connection on which it was sent: sent again then, the request might be carried out twice. */
static int on_about_to_send(void *ctx, char *far, char *near, int far_port, int near_port)
{
    struct fetch_call *call = ctx;
    long               sent = 0;

    (void)near;
    must(curl_easy_getinfo(call->handle, CURLINFO_REQUEST_SIZE, &sent) == CURLE_OK);
    call->is_cut_off = sent > 0 && !call->is_repeatable && !fetch_stream_is_refused(call);
    fetch_stream_begin(call, far, far_port, near_port);
    return call->is_cut_off ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

CURL *fetch_easy_new(struct fetch *fetch)
{
    CURL *easy = curl_easy_init();

    must(easy != NULL);
    EASY_SET(easy, CURLOPT_WRITEFUNCTION, on_answer_bytes);
    EASY_SET(easy, CURLOPT_HEADERFUNCTION, on_head_line);
    EASY_SET(easy, CURLOPT_PREREQFUNCTION, on_about_to_send);
    EASY_SET(easy, CURLOPT_DEBUGFUNCTION, fetch_on_says);
    EASY_SET(easy, CURLOPT_DEBUGDATA, fetch);
    EASY_SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    EASY_SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    EASY_SET(easy, CURLOPT_PROXY, "");
    EASY_SET(easy, CURLOPT_NOSIGNAL, 1L);
    EASY_SET(easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)(PLAIN_NAME_MS / 2000));
    if (fetch->ca_file != NULL) {
        EASY_SET(easy, CURLOPT_CAINFO, fetch->ca_file);
        EASY_SET(easy, CURLOPT_CAPATH, NULL);
    }
    return easy;
}

void fetch_easy_set(CURL *easy, struct fetch_call *call, msec left_ms)
{
    struct curl_slist *fields = fields_of(call);

    EASY_SET(easy, CURLOPT_URL, call->url);
    EASY_SET(easy, CURLOPT_HTTPHEADER, fields);
    EASY_SET(easy, CURLOPT_PRIVATE, call);
    EASY_SET(easy, CURLOPT_ERRORBUFFER, call->why);
    EASY_SET(easy, CURLOPT_WRITEDATA, call);
    EASY_SET(easy, CURLOPT_HEADERDATA, call);
    EASY_SET(easy, CURLOPT_PREREQDATA, call);
    set_method(easy, call);
    set_times(easy, call, left_ms);
    set_protocol(easy, call);
    call->lent = fields;
}

void fetch_easy_clear(CURL *easy, struct fetch_call *call)
{
    EASY_SET(easy, CURLOPT_HTTPHEADER, NULL);
    EASY_SET(easy, CURLOPT_ERRORBUFFER, NULL);
    EASY_SET(easy, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(call->lent);
    call->lent   = NULL;
    call->handle = NULL;
}

/* --- what its end means --- */

static enum fetch_outcome fetch_outcome_of(CURLcode code, const struct fetch_call *call)
{
    if (call->is_too_large)
        return FETCH_TOO_LARGE;
    if (code == CURLE_OK)  /* a head that is cut off is none, though libcurl takes it */
        return call->has_head ? FETCH_ANSWERED : FETCH_GARBAGE;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return FETCH_TIMEOUT;
    return call->is_sent ? FETCH_GARBAGE : FETCH_UNREACHABLE;
}

void fetch_easy_note_sent(CURL *easy, struct fetch_call *call)
{
    long sent = 0;

    must(curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent) == CURLE_OK);
    call->is_sent = sent > 0;
}

enum fetch_outcome fetch_easy_judge(CURL *easy, CURLcode code, struct fetch_call *call)
{
    long status = 0, version = 0;

    must(curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK);
    must(curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version) == CURLE_OK);
    call->status  = (unsigned)status;
    fetch_easy_note_sent(easy, call);
    call->is_multiplexed = version == CURL_HTTP_VERSION_2_0 && (call->protocol != FETCH_H2C || h2c_is_shared());

    enum fetch_outcome outcome = fetch_outcome_of(code, call);
    if (outcome == FETCH_TOO_LARGE)
        snprintf(call->why, sizeof call->why, "the answer is longer than allowed");
    else if (call->is_cut_off)
        snprintf(call->why, sizeof call->why, "the connection was closed before the answer");
    else if (outcome != FETCH_ANSWERED && call->why[0] == '\0')
        snprintf(call->why, sizeof call->why, "%s", code == CURLE_OK ? "the head is cut off" : curl_easy_strerror(code));
    return outcome;
}

struct span fetch_easy_address(CURL *easy)
{
    char *address = NULL;

    must(curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address) == CURLE_OK);
    return span_str(address);
}
