#include "outgoing.h"

#include <stdlib.h>

#include "base/must.h"
#include "base/utf8.h"
#include "text.h"

static bool is_sound(const struct lw_publish *publish)
{
    return text_is_channel(publish->channel) && (publish->data != NULL || publish->data_len == 0) &&
           publish->data_len <= UINT32_MAX && text_is_word(publish->media, 255) && text_is_word(publish->event, 64) &&
           text_is_word(publish->key, KEY_BYTES_MAX) && text_is_word(publish->collapse_key, COLLAPSE_KEY_BYTES) &&
           (publish->priority == LW_NOW || publish->priority == LW_BEAT);
}

static struct span media_of(struct span data)
{
    return utf8_is_valid(data) ? SPAN("text/plain") : SPAN("application/octet-stream");
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

struct outgoing *outgoing_new(const struct lw_publish *publish, const char *made_key,
                              lw_published_fn *answer, void *arg)
{
    if (!is_sound(publish))
        return NULL;
    struct span      channel = span_str(publish->channel), event = span_str(publish->event);
    struct span      data     = span_of(publish->data, publish->data_len);
    struct span      media    = publish->media != NULL ? span_str(publish->media) : media_of(data);
    struct span      key      = span_str(publish->key != NULL ? publish->key : made_key);
    struct span      collapse = span_str(publish->collapse_key);
    size_t           size     = sizeof(struct outgoing) + channel.len + media.len + event.len + key.len + collapse.len + data.len + 6;
    struct outgoing *outgoing = calloc(1, size);

    must(outgoing != NULL);
    char *at            = outgoing->bytes;
    outgoing->size      = size;
    outgoing->is_key_made = publish->key == NULL;
    outgoing->ttl_s     = publish->ttl_s;
    outgoing->priority  = publish->priority;
    outgoing->answer    = answer;
    outgoing->arg       = arg;
    outgoing->channel   = put(&at, channel);
    outgoing->media     = put(&at, media);
    outgoing->event     = put(&at, event);
    outgoing->key       = put(&at, key);
    outgoing->collapse_key = put(&at, collapse);
    outgoing->data      = put(&at, data);
    return outgoing;
}

void outgoing_free(struct outgoing *outgoing)
{
    free(outgoing);
}
