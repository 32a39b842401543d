#include "request.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/bin/bin.h"
#include "text.h"

static bool is_header(const struct lw_header *header)
{
    return header->name != NULL && text_is_word(header->name, REQUEST_FIELDS_BYTES) && header->value != NULL &&
           (header->value[0] == '\0' || text_is_word(header->value, REQUEST_FIELDS_BYTES));
}

static bool is_sound(const struct lw_request *asked)
{
    for (size_t i = 0; i < asked->header_count; i++)
        if (!is_header(&asked->headers[i]))
            return false;
    return text_is_word(asked->id, REQUEST_ID_MAX) && text_is_word(asked->method, REQUEST_METHOD_MAX) && asked->path != NULL &&
           text_is_word(asked->path, REQUEST_PATH_MAX) && asked->path[0] == '/' && asked->header_count <= REQUEST_FIELDS &&
           (asked->body != NULL || asked->body_len == 0) && asked->body_len <= UINT32_MAX / 2 && asked->timeout_ms >= 0;
}

static void put_headers(struct buf *buf, const struct lw_request *asked)
{
    for (size_t i = 0; i < asked->header_count; i++)
        bin_put_header(buf, &(struct bin_header){ span_str(asked->headers[i].name), span_str(asked->headers[i].value) });
}

/* Copies, with a NUL behind it that doesn't count. */
static struct span put(char **at, struct span bytes)
{
    char *begin = *at;

    if (bytes.len > 0)
        memcpy(begin, bytes.at, bytes.len);
    begin[bytes.len] = '\0';
    *at += bytes.len + 1;
    return span_of(begin, bytes.len);
}

static struct span method_of(const struct lw_request *asked)
{
    if (asked->method != NULL)
        return span_str(asked->method);
    return asked->body_len > 0 ? SPAN("POST") : SPAN("GET");
}

struct request *request_new(const struct lw_request *asked, const char *made_id, lw_response_fn *answer, void *arg)
{
    struct buf headers;

    if (!is_sound(asked))
        return NULL;
    buf_init(&headers, SIZE_MAX / 2);
    put_headers(&headers, asked);
    struct span     id = span_str(asked->id != NULL ? asked->id : made_id), method = method_of(asked), path = span_str(asked->path);
    struct span     body    = span_of(asked->body, asked->body_len);
    size_t          size    = sizeof(struct request) + id.len + method.len + path.len + headers.len + body.len + 5;
    struct request *request = calloc(1, size);

    must(request != NULL);
    char *at            = request->bytes;
    request->size       = size;
    request->timeout_ms = asked->timeout_ms;
    request->answer     = answer;
    request->arg        = arg;
    request->id         = put(&at, id);
    request->method     = put(&at, method);
    request->path       = put(&at, path);
    request->headers    = put(&at, buf_span(&headers));
    request->body       = put(&at, body);
    bool has_too_many   = headers.len > REQUEST_FIELDS_BYTES;
    buf_fini(&headers);
    if (!has_too_many)
        return request;
    request_free(request);
    return NULL;
}

void request_free(struct request *request)
{
    free(request);
}
