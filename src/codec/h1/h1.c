#include "codec/h1/h1_priv.h"

#include <endian.h>

#include "base/must.h"

#define TOKEN  H1_BYTE_TOKEN
#define TARGET H1_BYTE_TARGET
#define HOST   H1_BYTE_HOST
#define VALUE  H1_BYTE_VALUE
#define ALL    (TOKEN | TARGET | HOST | VALUE)

const uint8_t h1_byte_kinds[256] = {
    ['\t'] = VALUE, [' '] = VALUE, ['!'] = ALL, ['"'] = TARGET | VALUE, ['#'] = TOKEN | VALUE, ['$'] = ALL,
    ['%'] = TOKEN | TARGET | VALUE, ['&' ... '\''] = ALL, ['(' ... ')'] = TARGET | HOST | VALUE, ['*' ... '+'] = ALL,
    [','] = TARGET | HOST | VALUE, ['-' ... '.'] = ALL, ['/'] = TARGET | VALUE, ['0' ... '9'] = ALL,
    [':'] = TARGET | VALUE, [';'] = TARGET | HOST | VALUE, ['<'] = TARGET | VALUE, ['='] = TARGET | HOST | VALUE,
    ['>' ... '@'] = TARGET | VALUE, ['A' ... 'Z'] = ALL, ['[' ... ']'] = TARGET | VALUE,
    ['^'] = TOKEN | TARGET | VALUE, ['_'] = ALL, ['`'] = TOKEN | TARGET | VALUE, ['a' ... 'z'] = ALL,
    ['{'] = TARGET | VALUE, ['|'] = TOKEN | TARGET | VALUE, ['}'] = TARGET | VALUE, ['~'] = ALL,
    [0x80 ... 0xff] = VALUE,
};

void h1_init(struct h1 *h1, const struct h1_limits *limits)
{
    *h1 = (struct h1){ .limits = limits };
    h1_begin(h1);
}

void h1_begin(struct h1 *h1)
{
    *h1 = (struct h1){ .limits = h1->limits, .state = H1_STATE_HEAD };
}

enum h1_event h1_fault(struct h1 *h1, unsigned status, const char *reason)
{
    h1->state        = H1_STATE_FAULT;
    h1->fault_status = (uint16_t)status;
    h1->fault_reason = reason;
    return H1_FAULT;
}

enum h1_event h1_body_piece(struct h1 *h1, struct span input, enum h1_state next, size_t *ret_used,
                            struct span *ret_body)
{
    if (input.len == 0)
        return H1_MORE;
    must(h1->left > 0);

    struct span piece = span_head(input, h1->left < input.len ? (size_t)h1->left : input.len);
    h1->left -= piece.len;
    if (h1->left == 0)
        h1->state = next;
    *ret_used = piece.len;
    *ret_body = piece;
    return H1_BODY;
}

/* --- finding the lines of a head ------------------------------------------------------------------------------ */

/* The top bit of the first byte that is below space, or is DEL. Bits above that one may be set too, by the borrow. */
static uint64_t control_bits(uint64_t word)
{
    const uint64_t ones        = 0x0101010101010101u;
    uint64_t       no_del      = word ^ ones * 0x7f;
    uint64_t       below_space = (word - ones * 0x20) & ~word;
    uint64_t       is_del      = (no_del - ones) & ~no_del;
    return (below_space | is_del) & ones * 0x80;
}

/* Where the first byte from `at` on stands that no line may hold; text.len if there is none. Reads eight bytes
 * at once, and never one behind the end. */
static size_t find_control(struct span text, size_t at)
{
    while (at + 8 <= text.len) {
        uint64_t word;
        memcpy(&word, text.at + at, 8);
        uint64_t bits = control_bits(le64toh(word));
        if (bits == 0) {
            at += 8;
            continue;
        }
        at += (size_t)__builtin_ctzll(bits) / 8;
        if (text.at[at] != '\t')
            return at;
        at++;
    }
    return at + h1_run_of(span_skip(text, at), H1_BYTE_VALUE);
}

/* At h1->scanned there is a control character, or the end of what has come. Can a line end there? */
static enum h1_event check_line_end(struct h1 *h1, struct span text)
{
    size_t at = h1->scanned;

    if (at == text.len)
        return H1_MORE;

    /* RFC 9112 2.2: a recipient may take a bare LF as the end of a line. Between two recipients that differ in this, a
     * request can be smuggled. */
    if (text.at[at] == '\n')
        return h1_fault(h1, 400, "line ends with a bare LF");
    /* RFC 9110 5.5: CR, LF, NUL and other controls are no part of a value. */
    if (text.at[at] != '\r')
        return h1_fault(h1, 400, "control character in the head");
    if (at + 1 == text.len)
        return H1_MORE;
    /* RFC 9112 2.2: a bare CR makes the element invalid. */
    if (text.at[at + 1] != '\n')
        return h1_fault(h1, 400, "bare CR in the head");
    return H1_HEAD_DONE;
}

_Static_assert(REQUEST_FIELDS_MAX == 64, "the texts of two faults say the number");

enum h1_event h1_find_line_end(struct h1 *h1, struct span text)
{
    h1->scanned = (uint32_t)find_control(text, h1->scanned);
    return check_line_end(h1, text);
}

/* Goes on where the last call ended. H1_HEAD_DONE: it has found the empty line, and h1->scanned is behind that line.
 * Fills in only the lines that it passes. Stops at the first byte that is wrong, so that the answer does not depend
 * on where the input was cut. */
static enum h1_event head_scan(struct h1 *h1, struct span text, struct span *lines)
{
    for (;;) {
        enum h1_event event = h1_find_line_end(h1, text);
        if (event != H1_HEAD_DONE)
            return event;

        uint32_t at   = h1->scanned;
        bool is_empty = at == h1->line_at;
        if (is_empty && h1->line_count == 0)
            return h1_fault(h1, 400, "more than one empty line before the request");
        if (!is_empty && h1->line_count > REQUEST_FIELDS_MAX)
            return h1_fault(h1, 431, "more than 64 fields");
        if (!is_empty)
            lines[h1->line_count++] = span_of(text.at + h1->line_at, at - h1->line_at);
        h1->scanned = h1->line_at = at + 2;
        if (is_empty)
            return H1_HEAD_DONE;
    }
}

static void head_scan_again(struct h1 *h1, struct span text, struct span *lines)
{
    h1->scanned = h1->line_at = h1->line_count = 0;
    enum h1_event event = head_scan(h1, text, lines);
    must(event == H1_HEAD_DONE);
}

/* RFC 9112 2.2: an empty line before a request is to be ignored. We ignore one, so that a client can't send them for
 * ever. */
static size_t skip_empty_line(struct h1 *h1, struct span input)
{
    if (h1->had_empty_line || !span_starts(input, SPAN("\r\n")))
        return 0;
    h1->had_empty_line = true;
    return 2;
}

/* A target that is too long is not refused before the whole head has come, or as much as may come: only then the Origin
 * is known, and the sender's page can read why (h1_read_sender()). */
static enum h1_event head_too_long(struct h1 *h1)
{
    /* RFC 9112 3: a target longer than we want to parse is 414. */
    if (h1->line_count == 0)
        return h1_fault(h1, 414, "the request target is longer than request_target_bytes_max");
    return h1_fault(h1, 431, "the request head is longer than request_head_bytes_max");  /* RFC 6585 5 */
}

static enum h1_event feed_head(struct h1 *h1, struct span input, struct h1_head *head, size_t *ret_used)
{
    struct span lines[REQUEST_FIELDS_MAX + 1];
    size_t      skipped = skip_empty_line(h1, input);
    struct span text    = span_head(span_skip(input, skipped), h1->limits->head_bytes_max);

    *ret_used = skipped;
    if (text.len == 0)
        return H1_MORE;
    /* Another protocol on our port shows at its first byte (TLS begins with 0x16). */
    if (!h1_byte_is(text.at[0], H1_BYTE_TOKEN) && text.at[0] != '\r')
        return h1_fault(h1, 400, "no method where a request begins");

    bool          is_resumed = h1->scanned > 0;
    enum h1_event event      = head_scan(h1, text, lines);
    if (event == H1_MORE && text.len == h1->limits->head_bytes_max)
        return head_too_long(h1);
    if (event != H1_HEAD_DONE)
        return event;
    if (is_resumed)
        head_scan_again(h1, text, lines);
    must(h1->scanned <= text.len);

    *ret_used += h1->scanned;
    return h1_head_parse(h1, lines, h1->line_count, head);
}

uint64_t h1_announced(const struct h1 *h1)
{
    return h1->state == H1_STATE_BODY || h1->state == H1_STATE_CHUNK_DATA ? h1->left : 0;
}

enum h1_event h1_feed(struct h1 *h1, struct span input, struct h1_head *head, size_t *ret_used, struct span *ret_body)
{
    must(h1->state != H1_STATE_FAULT);

    *ret_used = 0;
    if (h1->state == H1_STATE_END) {
        h1_begin(h1);
        return H1_END;
    }
    if (input.len == 0)
        return H1_MORE;
    if (h1->state == H1_STATE_HEAD)
        return feed_head(h1, input, head, ret_used);
    if (h1->state == H1_STATE_BODY)
        return h1_body_piece(h1, input, H1_STATE_END, ret_used, ret_body);
    return h1_chunk_feed(h1, input, ret_used, ret_body);
}
