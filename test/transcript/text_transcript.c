/* Reads cases, each behind a line of five decimal numbers (the lengths of channel, media, from, event and payload), and
 * each made of these five in that order. Writes what the codec that the argument names makes of them:
 *
 *   valid      a line for each payload: "1 1" if json_is_valid() and json_parse() accept it, "0 0" if neither does
 *   tokens     a line for each payload: the value put together again from its tokens, a tab, and the value put together
 *              from the raw text one level below; or the fault
 *   ndjson     each message as one line, with the cursor "CURSOR"
 *   sse        an event stream of them, with that cursor
 *   raw        the same in raw form
 *   multipart  the same as parts between `BOUNDARY`
 *
 * Ends at the end of input; the exit status is 2 if the input or the argument isn't well-formed. */
#include <stdio.h>
#include <stdlib.h>

#include "codec/json/json.h"
#include "codec/multipart/multipart.h"
#include "codec/sse/sse.h"
#include "lib/sample.h"

enum { PART_BYTES_MAX = 1 << 20, OUTPUT_BYTES_MAX = 8 << 20 };

static const struct span boundary = { "BOUNDARY", 8 }, cursor = { "CURSOR", 6 };

struct parts {
    struct span channel, media, from, event, payload;
};

static void put_valid(struct buf *out, const struct parts *parts)
{
    const struct json_limits limits = { .depth_kept = JSON_DEPTH_DEFAULT };
    struct json_doc          doc;

    json_doc_init(&doc);
    buf_putf(out, "%d %d\n", json_is_valid(parts->payload, NULL), json_parse(parts->payload, &limits, &doc));
    json_doc_fini(&doc);
}

static void put_string(struct buf *out, const struct json_token *token)
{
    struct buf  scratch;
    struct span text;

    buf_init(&scratch, token->raw.len);
    must(json_string(token, &scratch, &text));
    json_put_string(out, text);
    buf_fini(&scratch);
}

/* Strings are decoded and escaped anew; values that have no token are copied as they are; white space is left out. */
static void put_token(struct buf *out, const struct json_doc *doc, const struct json_token *token)
{
    bool is_object = token->type == JSON_OBJECT, is_container = is_object || token->type == JSON_ARRAY;
    uint32_t at    = 0;

    if (token->type == JSON_STRING) {
        put_string(out, token);
    } else if (!is_container || !token->is_kept) {
        buf_put(out, token->raw);
    } else {
        buf_putc(out, is_object ? '{' : '[');
        for (const struct json_token *child = json_first(doc, token); child != NULL;
             child = json_next(doc, token, child)) {
            if (at > 0)
                buf_putc(out, is_object && at % 2 == 1 ? ':' : ',');
            put_token(out, doc, child);
            at++;
        }
        must(at == token->count * (is_object ? 2 : 1));
        buf_putc(out, is_object ? '}' : ']');
    }
}

/* Line breaks can only stand between tokens. */
static void put_value_line(struct buf *out, const struct json_doc *doc)
{
    size_t from = out->len;

    put_token(out, doc, json_root(doc));
    for (size_t i = from; i < out->len; i++)
        if (strchr("\r\n\t", out->at[i]) != NULL && out->at[i] != '\0')
            out->at[i] = ' ';
}

static void put_tokens(struct buf *out, const struct parts *parts)
{
    static const uint32_t depths_kept[] = { JSON_DEPTH_DEFAULT, 1 };
    char                  fault[JSON_FAULT_BYTES];
    struct json_doc       doc;

    json_doc_init(&doc);
    for (size_t i = 0; i < 2; i++) {
        struct json_limits limits = { .depth_kept = depths_kept[i] };
        if (i > 0)
            buf_putc(out, '\t');
        if (json_parse(parts->payload, &limits, &doc)) {
            put_value_line(out, &doc);
        } else {
            buf_put(out, span_str(json_fault_say("refused", &doc.fault, fault)));
        }
    }
    buf_putc(out, '\n');
    json_doc_fini(&doc);
}

static void put_message(struct buf *out, const char *codec, const struct parts *parts)
{
    struct sample sample;

    sample_init_event(&sample, parts->channel, MESSAGE_PLAIN, parts->payload, parts->media, parts->from, parts->event);
    if (strcmp(codec, "sse") == 0) {
        sse_put_message(out, sample.message, cursor);
    } else if (strcmp(codec, "raw") == 0) {
        sse_put_raw(out, sample.message, cursor);
    } else if (strcmp(codec, "multipart") == 0) {
        multipart_put_message(out, boundary, sample.message, cursor);
    } else {
        json_put_message_line(out, sample.message, cursor);
        buf_putc(out, '\n');
    }
    sample_fini(&sample);
}

static bool read_case(struct buf *scratch, struct parts *ret_parts)
{
    size_t channel, media, from, event, payload;

    if (scanf("%zu %zu %zu %zu %zu", &channel, &media, &from, &event, &payload) != 5 || getchar() != '\n')
        return false;
    if (channel > PART_BYTES_MAX || media > PART_BYTES_MAX || from > PART_BYTES_MAX || event > EVENT_BYTES_MAX ||
        payload > PART_BYTES_MAX)
        return false;
    size_t len = channel + media + from + event + payload;
    buf_clear(scratch);
    char *at = buf_extend(scratch, len);
    if (fread(at, 1, len, stdin) != len)
        return false;
    ret_parts->channel = span_of(at, channel);
    ret_parts->media   = span_of(at + channel, media);
    ret_parts->from    = span_of(at + channel + media, from);
    ret_parts->event   = span_of(at + channel + media + from, event);
    ret_parts->payload = span_of(at + channel + media + from + event, payload);
    return true;
}

static void write_out(struct buf *out)
{
    must(!buf_is_over(out));
    fwrite(out->at, 1, out->len, stdout);
    buf_clear(out);
}

static int run(const char *codec, struct buf *scratch, struct buf *out)
{
    bool         is_multipart = strcmp(codec, "multipart") == 0;
    struct parts parts;

    if (is_multipart)
        multipart_put_start(out, boundary);
    for (int next = getchar(); next != EOF; next = getchar()) {
        ungetc(next, stdin);
        if (!read_case(scratch, &parts))
            return 2;
        if (strcmp(codec, "valid") == 0)
            put_valid(out, &parts);
        else if (strcmp(codec, "tokens") == 0)
            put_tokens(out, &parts);
        else
            put_message(out, codec, &parts);
        write_out(out);
    }
    if (is_multipart)
        multipart_put_end(out, boundary);
    write_out(out);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *codecs[] = { "valid", "tokens", "ndjson", "sse", "raw", "multipart" };
    struct buf scratch, out;
    int status = 2;

    buf_init(&scratch, 4 * (size_t)PART_BYTES_MAX);
    buf_init(&out, OUTPUT_BYTES_MAX);
    for (size_t i = 0; argc == 2 && i < sizeof codecs / sizeof codecs[0]; i++)
        if (strcmp(argv[1], codecs[i]) == 0)
            status = run(argv[1], &scratch, &out);
    buf_fini(&out);
    buf_fini(&scratch);
    return status;
}
