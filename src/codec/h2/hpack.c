#include "codec/h2/hpack_priv.h"

#include <stdlib.h>

#include "base/must.h"

struct hpack_entry {
    struct hpack_entry *next;  /* in hpack->gone */
    uint32_t            name_len, value_len;
    uint8_t             known;
    char                text[];
};

enum { RING_FIRST = 8 };

void hpack_init(struct hpack *hpack)
{
    *hpack = (struct hpack){ .bytes_max = HPACK_TABLE_BYTES_MAX };
}

/* --- the dynamic table (RFC 7541 2.3.2, 4) ---------------------------------------------------------------------- */

void hpack_end(struct hpack *hpack)
{
    while (hpack->gone != NULL) {
        struct hpack_entry *entry = hpack->gone;
        hpack->gone               = entry->next;
        free(entry);
    }
}

/* 0: the newest */
static struct hpack_entry **hpack_place(const struct hpack *hpack, uint32_t age)
{
    return &hpack->ring[(hpack->newest - age) & (hpack->room - 1)];
}

static uint32_t hpack_size(size_t name_len, size_t value_len)
{
    return (uint32_t)(name_len + value_len + HPACK_ENTRY_BYTES);
}

static void hpack_evict(struct hpack *hpack, uint32_t bytes_max)
{
    while (hpack->bytes > bytes_max) {
        struct hpack_entry *entry = *hpack_place(hpack, hpack->count - 1);
        hpack->count--;
        hpack->bytes -= hpack_size(entry->name_len, entry->value_len);
        entry->next = hpack->gone;
        hpack->gone = entry;
    }
}

void hpack_fini(struct hpack *hpack)
{
    hpack_evict(hpack, 0);
    hpack_end(hpack);
    free(hpack->ring);
    hpack_init(hpack);
}

static void hpack_grow_ring(struct hpack *hpack)
{
    uint32_t             room = hpack->room == 0 ? RING_FIRST : hpack->room * 2;
    struct hpack_entry **ring = malloc(room * sizeof *ring);

    must(ring != NULL);
    for (uint32_t age = 0; age < hpack->count; age++)
        ring[(hpack->newest - age) & (room - 1)] = *hpack_place(hpack, age);
    free(hpack->ring);
    hpack->ring = ring;
    hpack->room = room;
}

/* RFC 7541 4.4: what is larger than the table empties it. */
static void hpack_add(struct hpack *hpack, const struct hpack_field *field)
{
    uint32_t size = hpack_size(field->name.len, field->value.len);

    hpack_evict(hpack, size > hpack->bytes_max ? 0 : hpack->bytes_max - size);
    if (size > hpack->bytes_max)
        return;
    if (hpack->count == hpack->room)
        hpack_grow_ring(hpack);
    struct hpack_entry *entry = malloc(sizeof *entry + field->name.len + field->value.len);
    must(entry != NULL);
    entry->name_len  = (uint32_t)field->name.len;
    entry->value_len = (uint32_t)field->value.len;
    entry->known     = field->known;
    memcpy(entry->text, field->name.at, field->name.len);
    memcpy(entry->text + field->name.len, field->value.at, field->value.len);
    hpack->newest++;
    hpack->count++;
    hpack->bytes += size;
    *hpack_place(hpack, 0) = entry;
}

/* --- integers and strings (RFC 7541 5) ---------------------------------------------------------------------------- */

static bool hpack_read_number(struct hpack *hpack, unsigned prefix_bits, uint32_t *ret)
{
    uint32_t mask  = (1u << prefix_bits) - 1;
    uint64_t value = (uint8_t)hpack->rest.at[0] & mask;
    size_t   at    = 1;

    if (value == mask) {
        for (unsigned shift = 0;; shift += 7) {
            if (at == hpack->rest.len || shift > 28)
                return false;
            uint8_t byte = (uint8_t)hpack->rest.at[at++];
            value += (uint64_t)(byte & 0x7f) << shift;
            if ((byte & 0x80) == 0)
                break;
        }
    }
    if (value > UINT32_MAX)
        return false;
    hpack->rest = span_skip(hpack->rest, at);
    *ret        = (uint32_t)value;
    return true;
}

/* The text must not move, because earlier fields point into it: room for all that the rest of the block can be. */
static bool hpack_decode(struct hpack *hpack, struct span code, size_t later, struct span *ret)
{
    struct buf *text = hpack->text;
    size_t      most = (code.len + later) * 8 / 5 + 1;
    size_t      at   = text->len;

    if (text->cap - at < most) {
        must(at == 0);
        buf_extend(text, most);
        buf_clear(text);
    }
    if (!hpack_put_decoded(text, code))
        return false;
    *ret = span_of(text->at + at, text->len - at);
    return true;
}

static bool hpack_read_string(struct hpack *hpack, struct span *ret)
{
    uint32_t len;

    if (hpack->rest.len == 0)
        return false;
    bool is_huffman = (hpack->rest.at[0] & 0x80) != 0;
    if (!hpack_read_number(hpack, 7, &len) || len > hpack->rest.len)
        return false;
    struct span string = span_head(hpack->rest, len);
    hpack->rest        = span_skip(hpack->rest, len);
    if (is_huffman)
        return hpack_decode(hpack, string, hpack->rest.len, ret);
    *ret = string;
    return true;
}

/* --- fields (RFC 7541 6) ------------------------------------------------------------------------------------------ */

static uint8_t hpack_known(uint32_t index)
{
    if (index >= HPACK_STATUS && index < HPACK_STATUS + 7)
        return HPACK_STATUS;
    return (uint8_t)(index == HPACK_METHOD + 1 || index == HPACK_PATH + 1 || index == HPACK_SCHEME + 1 ? index - 1 : index);
}

static bool hpack_look_up(const struct hpack *hpack, uint32_t index, struct hpack_field *ret)
{
    if (index == 0 || index > HPACK_STATIC_COUNT + hpack->count)
        return false;
    if (index <= HPACK_STATIC_COUNT) {
        const struct hpack_row *row = &hpack_static[index - 1];
        *ret = (struct hpack_field){ row->name, row->value, hpack_known(index) };
    } else {
        const struct hpack_entry *entry = *hpack_place(hpack, index - HPACK_STATIC_COUNT - 1);
        *ret = (struct hpack_field){ span_of(entry->text, entry->name_len),
                                     span_of(entry->text + entry->name_len, entry->value_len), entry->known };
    }
    return true;
}

static bool hpack_read_literal(struct hpack *hpack, unsigned prefix_bits, struct hpack_field *ret)
{
    uint32_t index;

    if (!hpack_read_number(hpack, prefix_bits, &index))
        return false;
    if (index == 0) {
        ret->known = HPACK_UNKNOWN;
        if (!hpack_read_string(hpack, &ret->name))
            return false;
    } else if (!hpack_look_up(hpack, index, ret)) {
        return false;
    }
    return hpack_read_string(hpack, &ret->value);
}

static bool hpack_read_table_size(struct hpack *hpack)
{
    uint32_t bytes_max;

    if (hpack->has_field || !hpack_read_number(hpack, 5, &bytes_max) || bytes_max > HPACK_TABLE_BYTES_MAX)
        return false;
    hpack->bytes_max = bytes_max;
    hpack_evict(hpack, bytes_max);
    return true;
}

static bool hpack_read_field(struct hpack *hpack, uint8_t first, struct hpack_field *ret)
{
    uint32_t index;

    hpack->has_field = true;
    if ((first & 0x80) != 0)
        return hpack_read_number(hpack, 7, &index) && hpack_look_up(hpack, index, ret);
    if ((first & 0x40) == 0)
        return hpack_read_literal(hpack, 4, ret);
    if (!hpack_read_literal(hpack, 6, ret))
        return false;
    hpack_add(hpack, ret);
    return true;
}

void hpack_begin(struct hpack *hpack, struct span block, struct buf *text)
{
    must(hpack->gone == NULL);
    buf_clear(text);
    hpack->rest      = block;
    hpack->text      = text;
    hpack->has_field = false;
}

enum hpack_step hpack_next(struct hpack *hpack, struct hpack_field *ret)
{
    while (hpack->rest.len > 0) {
        uint8_t first = (uint8_t)hpack->rest.at[0];
        if ((first & 0xe0) != 0x20)
            return hpack_read_field(hpack, first, ret) ? HPACK_FIELD : HPACK_FAULT;
        if (!hpack_read_table_size(hpack))
            return HPACK_FAULT;
    }
    return HPACK_END;
}
