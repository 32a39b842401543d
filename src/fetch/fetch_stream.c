/* fetch_stream.c - requests that HTTP/2 has refused. Such a request was not processed, and may be sent again (RFC 9113 8.7): its stream
 * was reset with REFUSED_STREAM, or the server goes away and names an earlier stream as its last.
 *
 * libcurl sends some of them again by itself, and calls on_about_to_send() first. It does not say why. But all else that ends a
 * stream without an answer is an error to it, which stands in call->why by then. The rest it gives up without a word, when the
 * server goes away and no other stream is open. There, and beside other streams, what it says for its log tells: the number of the
 * stream, and the last one that the server takes. A libcurl that says it in other words is not believed, and the request counts as
 * sent. */
#include <stdio.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"
#include "reactor/loop.h"

enum { STREAM_TRIES = 5 };

static bool number_behind(struct span text, struct span word, uint64_t *ret)
{
    const char *at = text.len == 0 ? NULL : memmem(text.at, text.len, word.at, word.len);
    size_t      len = 0;

    if (at == NULL)
        return false;
    struct span rest = span_skip(text, (size_t)(at - text.at) + word.len);
    while (len < rest.len && rest.at[len] >= '0' && rest.at[len] <= '9')
        len++;
    return span_u64(span_head(rest, len), ret);
}

static bool is_same_connection(const struct fetch_call *a, const struct fetch_call *b)
{
    return a->near_port == b->near_port && a->far_port == b->far_port && strcmp(a->far, b->far) == 0;
}

/* One of the calls on a connection is told. */
static void take_last_stream(struct fetch *fetch, const struct fetch_call *told, uint64_t last)
{
    for (struct list *at = fetch->under_way.next; at != &fetch->under_way; at = at->next) {
        struct fetch_call *call = container_of(at, struct fetch_call, link);
        if (call->stream > last && is_same_connection(call, told))
            call->is_refused = true;
    }
}

/* libcurl 7.88 says "Using Stream ID: 5 (…)", 8.1 and later "[HTTP/2] [5] OPENED stream for …"; both, "… GOAWAY, error=0, last_stream=3". */
int fetch_on_says(CURL *easy, curl_infotype type, char *at, size_t len, void *ctx)
{
    struct fetch_call *call = NULL;
    struct span        text = span_of(at, len);
    uint64_t           number;

    if (type != CURLINFO_TEXT || curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call) != CURLE_OK || call == NULL)
        return 0;
    if (number_behind(text, SPAN("Stream ID: "), &number) || number_behind(text, SPAN("[HTTP/2] ["), &number))
        call->stream = number;
    else if (number_behind(text, SPAN("GOAWAY, error=0, last_stream="), &number))
        take_last_stream(ctx, call, number);
    return 0;
}

void fetch_stream_begin(struct fetch_call *call, const char *far, int far_port, int near_port)
{
    call->is_refused = false;
    call->stream     = 0;
    call->far_port   = far_port;
    call->near_port  = near_port;
    snprintf(call->far, sizeof call->far, "%s", far);
}

bool fetch_stream_is_refused(const struct fetch_call *call)
{
    return call->stream != 0 && (call->is_refused || call->why[0] == '\0');
}

/* libcurl 7.88 keeps something of a stream that it gave up in the handle, which then waits for ever: the next try has a new one. */
bool fetch_stream_again(struct fetch *fetch, CURL *easy, struct fetch_call *call, CURLcode code)
{
    msec left_ms = call->deadline - clock_now();

    if (code == CURLE_OK || !call->is_refused || call->head_bytes > 0 || left_ms <= 0 || ++call->stream_tries >= STREAM_TRIES)
        return false;
    must(curl_multi_remove_handle(fetch->multi, easy) == CURLM_OK);
    fetch_easy_clear(easy, call);
    curl_easy_cleanup(easy);
    call->why[0] = '\0';
    call->handle = fetch_easy_new(fetch);
    fetch_easy_set(call->handle, call, left_ms);
    must(curl_multi_add_handle(fetch->multi, call->handle) == CURLM_OK);
    return true;
}
