/* Header blocks: what nghttp2's reader says of the same bytes, and that fields which are written are read as they were. Of the
 * input each block has two bytes for its length in front, so that later blocks build on earlier ones. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/h2/hpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* The next field that it reads; HPACK_END behind the last. */
static enum hpack_step theirs_next(nghttp2_hd_inflater *theirs, struct span *block, nghttp2_nv *ret)
{
    for (;;) {
        int     flags = 0;
        ssize_t used  = nghttp2_hd_inflate_hd2(theirs, ret, &flags, (const uint8_t *)block->at, block->len, 1);
        if (used < 0)
            return HPACK_FAULT;
        *block = span_skip(*block, (size_t)used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            return HPACK_FIELD;
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
            nghttp2_hd_inflate_end_headers(theirs);
            return HPACK_END;
        }
    }
}

/* What was read is written, and read again. */
static void law_written_is_read(const struct hpack_field *field)
{
    struct hpack       hpack;
    struct hpack_field again;
    struct buf         block, text;

    buf_init(&block, 1 << 20);
    buf_init(&text, 1 << 20);
    hpack_init(&hpack);
    hpack_put_no_table(&block);
    hpack_put_status(&block, 100 + (unsigned)(field->value.len % 500));
    hpack_put_field(&block, field->name, field->value);
    hpack_begin(&hpack, buf_span(&block), &text);
    must(hpack_next(&hpack, &again) == HPACK_FIELD && span_eq(again.name, SPAN(":status")) && again.value.len == 3);
    must(hpack_next(&hpack, &again) == HPACK_FIELD && span_eq_nocase(again.name, field->name));
    must(span_eq(again.value, field->value) && hpack_next(&hpack, &again) == HPACK_END && hpack.count == 0);
    hpack_fini(&hpack);
    buf_fini(&block);
    buf_fini(&text);
}

/* False: a fault, for both. */
static bool law_same_fields(struct hpack *ours, nghttp2_hd_inflater *theirs, struct span block, struct buf *text)
{
    struct hpack_field field;
    nghttp2_nv         nv;

    hpack_begin(ours, block, text);
    for (size_t read = 0;;) {
        enum hpack_step step = hpack_next(ours, &field);
        must(step == theirs_next(theirs, &block, &nv));
        if (step != HPACK_FIELD) {
            hpack_end(ours);
            return step == HPACK_END;
        }
        must(span_eq(field.name, span_of(nv.name, nv.namelen)) && span_eq(field.value, span_of(nv.value, nv.valuelen)));
        must(ours->bytes <= ours->bytes_max && nghttp2_hd_inflate_get_dynamic_table_size(theirs) == ours->bytes);
        if ((read += field.name.len + field.value.len + HPACK_ENTRY_BYTES) > 100000)
            return false;
        if (read < 2000)
            law_written_is_read(&field);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span          rest = span_of(bytes, len);
    struct hpack         ours;
    nghttp2_hd_inflater *theirs;
    struct buf           text;

    hpack_init(&ours);
    must(nghttp2_hd_inflate_new(&theirs) == 0);
    buf_init(&text, 1 << 20);
    while (rest.len >= 2) {
        size_t size = (size_t)(uint8_t)rest.at[0] << 8 | (uint8_t)rest.at[1];
        struct span block = span_head(span_skip(rest, 2), size);
        rest = span_skip(rest, 2 + block.len);
        /* A block of its own, so that a read beyond its end is seen. */
        char *copy = malloc(block.len + 1);
        must(copy != NULL);
        memcpy(copy, block.at, block.len);
        bool goes_on = law_same_fields(&ours, theirs, span_of(copy, block.len), &text);
        free(copy);
        if (!goes_on)
            break;
    }
    hpack_fini(&ours);
    nghttp2_hd_inflate_del(theirs);
    buf_fini(&text);
    return 0;
}
