/* bin_read.c - from bytes to frames. Clauses are those of docs/protocol.md. */
#include <endian.h>

#include "base/utf8.h"
#include "codec/bin/bin_priv.h"

bool bin_cut_long_varint(struct span *bytes, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes->len && i < BIN_VARINT_BYTES_MAX; i++) {
        uint8_t byte = (uint8_t)bytes->at[i];
        if (i == BIN_VARINT_BYTES_MAX - 1 && byte > 1)
            return false;  /* beyond 64 bits */
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte < 0x80) {
            if (byte == 0 && i > 0)
                return false;  /* 9.1: the shortest form only */
            *bytes     = span_skip(*bytes, i + 1);
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* --- framing ------------------------------------------------------------------------------------------------------ */

static enum bin_split split_fault(uint16_t code, const char *reason, struct bin_fault *ret_fault)
{
    *ret_fault = (struct bin_fault){ code, reason };
    return BIN_SPLIT_FAULT;
}

/* How many bytes the length takes; 0: its end has not come. */
static size_t length_bytes(struct span input)
{
    for (size_t i = 0; i < input.len && i < BIN_LENGTH_BYTES_MAX; i++)
        if ((uint8_t)input.at[i] < 0x80)
            return i + 1;
    return 0;
}

enum bin_split bin_split(struct span input, uint32_t frame_bytes_max, struct span *ret_frame, size_t *ret_used,
                         struct bin_fault *ret_fault)
{
    size_t   head = length_bytes(input);
    uint64_t len;

    *ret_used = 0;
    if (head == 0 && input.len >= BIN_LENGTH_BYTES_MAX)
        return split_fault(1002, "the length of a frame has more than 5 bytes", ret_fault);
    if (head == 0)
        return BIN_SPLIT_MORE;
    struct span rest = input;
    if (!bin_cut_varint(&rest, &len))
        return split_fault(1002, "the length of a frame is not written in its shortest form", ret_fault);
    if (len == 0)
        return split_fault(1002, "the length of a frame is 0: a frame has at least its type", ret_fault);
    if (len > frame_bytes_max)
        return split_fault(1009, "the frame is longer than this side takes (frame_max)", ret_fault);
    *ret_used = head + (size_t)len;
    if (rest.len < len)
        return BIN_SPLIT_MORE;
    *ret_frame = span_head(rest, (size_t)len);
    return BIN_SPLIT_FRAME;
}

/* 9.3: length, type, "LW". The length of a connect has at most three bytes. */
enum bin_opening bin_judge_opening(struct span bytes)
{
    static const char start[] = { BIN_CONNECT, 'L', 'W' };
    size_t            head    = length_bytes(span_head(bytes, 3));

    if (head == 0)
        return bytes.len < 3 ? BIN_OPENING_MORE : BIN_OPENING_NO;
    struct span rest = span_skip(bytes, head);
    for (size_t i = 0; i < sizeof start; i++) {
        if (i == rest.len)
            return BIN_OPENING_MORE;
        if (rest.at[i] != start[i])
            return BIN_OPENING_NO;
    }
    return BIN_OPENING_YES;
}

const char *bin_guess_protocol(struct span bytes)
{
    static const struct { struct span start; const char *name; } rows[] = {
        { SPAN("GET "), "HTTP" }, { SPAN("POST "), "HTTP" }, { SPAN("HEAD "), "HTTP" }, { SPAN("PUT "), "HTTP" },
        { SPAN("OPTIONS "), "HTTP" }, { SPAN("DELETE "), "HTTP" }, { SPAN("PATCH "), "HTTP" }, { SPAN("CONNECT "), "HTTP" },
        { SPAN("PRI * HTTP/2"), "HTTP/2" }, { SPAN("\x16\x03"), "TLS" }, { SPAN("SSH-"), "SSH" },
        { SPAN("PROXY "), "the PROXY protocol" }, { SPAN("\r\n\r\n\0\r\nQUIT\n"), "the PROXY protocol" },
        { SPAN("*1\r\n"), "Redis" }, { SPAN("*2\r\n"), "Redis" }, { SPAN("*3\r\n"), "Redis" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (span_starts(bytes, rows[i].start))
            return rows[i].name;
    /* MQTT 3.1.2: CONNECT, a length of one or two bytes, the protocol's name. */
    if (bytes.len >= 8 && bytes.at[0] == 0x10 &&
        (span_starts(span_skip(bytes, 2), SPAN("\0\4MQTT")) || span_starts(span_skip(bytes, 3), SPAN("\0\4MQT"))))
        return "MQTT";
    return "something else";
}

/* --- fields --------------------------------------------------------------------------------------------------------- */

struct bin_field_read {
    uint64_t         number;
    enum bin_form    form;
    bool             is_vital;
    struct bin_value value;
};

static bool cut_bytes(struct span *bytes, struct span *ret)
{
    uint64_t len;

    if (!bin_cut_varint(bytes, &len) || len > bytes->len)
        return false;
    *ret   = span_head(*bytes, (size_t)len);
    *bytes = span_skip(*bytes, (size_t)len);
    return true;
}

static bool cut_fixed(struct span *bytes, uint64_t *ret)
{
    uint64_t value;

    if (bytes->len < sizeof value)
        return false;
    memcpy(&value, bytes->at, sizeof value);
    *bytes = span_skip(*bytes, sizeof value);
    *ret   = be64toh(value);
    return true;
}

static bool cut_field(struct span *bytes, struct bin_field_read *ret)
{
    uint64_t key;

    if (!bin_cut_varint(bytes, &key))
        return false;
    ret->number   = key >> BIN_KEY_SHIFT;
    ret->form     = (enum bin_form)(key & BIN_FORM_BITS);
    ret->is_vital = (key & BIN_VITAL) != 0;
    switch (ret->form) {
    case BIN_FORM_FLAG: return true;
    case BIN_FORM_NUMBER: return bin_cut_varint(bytes, &ret->value.number);
    case BIN_FORM_BYTES: return cut_bytes(bytes, &ret->value.bytes);
    case BIN_FORM_FIXED: return cut_fixed(bytes, &ret->value.number);
    }
    return false;
}

static enum bin_verdict verdict(enum bin_verdict verdict, const char *reason, const char **ret_reason)
{
    *ret_reason = reason;
    return verdict;
}

static bool places_are_sound(struct span places)
{
    struct bin_place place;

    while (places.len > 0)
        if (!bin_next_place(&places, &place))
            return false;
    return true;
}

static bool headers_are_sound(struct span headers)
{
    struct bin_header header;

    while (headers.len > 0)
        if (!bin_next_header(&headers, &header))
            return false;
    return true;
}

static enum bin_verdict keep_field(const struct bin_field_read *field, struct bin_frame *frame, const char **ret_reason)
{
    enum bin_field number = (enum bin_field)field->number;

    if (bin_field_form(number) != (int)field->form)
        return verdict(BIN_MALFORMED, "a field has another form than its number says", ret_reason);
    if (bin_has(frame, number))
        return verdict(BIN_MALFORMED, "a field comes twice in one frame", ret_reason);
    if (bin_field_is_text(number) && !utf8_is_valid(field->value.bytes))
        return verdict(BIN_MALFORMED, "a text is not UTF-8", ret_reason);
    if (number == BIN_RESUME && !places_are_sound(field->value.bytes))
        return verdict(BIN_MALFORMED, "the places of resume are not whole", ret_reason);
    if (number == BIN_HEADERS && !headers_are_sound(field->value.bytes))
        return verdict(BIN_MALFORMED, "the headers of a request are not whole, or not UTF-8", ret_reason);
    frame->at[number] = field->value;
    frame->has |= UINT64_C(1) << number;
    return BIN_OK;
}

/* An unknown vital field does not end the reading: the ref may follow it, and what follows may be malformed. */
static enum bin_verdict read_fields(struct span bytes, uint64_t allowed, struct bin_frame *frame, const char **ret_reason)
{
    struct bin_field_read field;
    enum bin_verdict      all = BIN_OK;

    while (bytes.len > 0) {
        if (!cut_field(&bytes, &field))
            return verdict(BIN_MALFORMED, "a field is not whole, or its number is not written in its shortest form",
                           ret_reason);
        bool is_known = bin_field_form(field.number) >= 0 && (allowed >> field.number & 1) != 0;
        if (is_known) {
            if (keep_field(&field, frame, ret_reason) != BIN_OK)
                return BIN_MALFORMED;
        } else if (field.is_vital) {
            frame->unknown = field.number;
            all = verdict(BIN_UNKNOWN, "this type of frame has no such field here, and it is vital", ret_reason);
        }
    }
    return all;
}

/* --- frames ----------------------------------------------------------------------------------------------------------- */

/* 9.3 */
static bool cut_versions(struct span *body, struct bin_frame *frame)
{
    if (body->len < 4 || body->at[0] != 'L' || body->at[1] != 'W')
        return false;
    frame->version_min = (uint8_t)body->at[2];
    frame->version_max = (uint8_t)body->at[3];
    *body              = span_skip(*body, 4);
    return true;
}

/* 9.5 */
static bool cut_differences(struct span *body, struct bin_frame *frame)
{
    static const enum bin_field fields[] = { BIN_ALIAS_NO, BIN_SEQ, BIN_ID, BIN_TIME };
    uint64_t                    value;

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (!bin_cut_varint(body, &value))
            return false;
        bin_set_number(frame, fields[i], value);
    }
    return true;
}

/* Takes apart what stands behind the type's own beginning. */
static enum bin_verdict read_body(struct span body, bool has_flag, bool is_message, uint64_t allowed,
                                  struct bin_frame *frame, const char **ret_reason)
{
    struct span fields = body;

    if (has_flag) {
        if (!cut_bytes(&body, &fields))
            return verdict(BIN_MALFORMED, "the fields are longer than their frame", ret_reason);
        frame->payload = body;
    } else if (is_message) {
        fields         = SPAN("");
        frame->payload = body;
    }
    return read_fields(fields, allowed, frame, ret_reason);
}

enum bin_verdict bin_read(struct span bytes, enum bin_side side, struct bin_frame *ret_frame, const char **ret_reason)
{
    must(bytes.len > 0);
    uint8_t  type       = (uint8_t)bytes.at[0] & BIN_TYPE_BITS, flags = (uint8_t)bytes.at[0] & ~BIN_TYPE_BITS;
    bool     is_message = side == BIN_SERVER && type == BIN_MESSAGE;
    uint8_t  known      = (bin_type_has_payload(side, type) ? BIN_PAYLOAD : 0) | (is_message ? BIN_BEFORE : 0);
    uint64_t allowed;
    struct span body = span_skip(bytes, 1);

    bin_init(ret_frame, (enum bin_type)type);
    ret_frame->unknown = type;
    if (!bin_type_fields(side, type, &allowed))
        return verdict(BIN_UNKNOWN, "a type of frame that this version doesn't know", ret_reason);
    ret_frame->unknown = flags & ~known;
    if (ret_frame->unknown != 0)
        return verdict(BIN_UNKNOWN, "a flag that this type of frame doesn't have", ret_reason);
    if (side == BIN_CLIENT && type == BIN_CONNECT && !cut_versions(&body, ret_frame))
        return verdict(BIN_MALFORMED, "a connect begins with LW and two versions", ret_reason);
    if (is_message && !cut_differences(&body, ret_frame))
        return verdict(BIN_MALFORMED, "a message begins with alias, seq, id and time", ret_reason);
    ret_frame->is_before = (flags & BIN_BEFORE) != 0;
    return read_body(body, (flags & BIN_PAYLOAD) != 0, is_message, allowed, ret_frame, ret_reason);
}

bool bin_next_place(struct span *places, struct bin_place *ret_place)
{
    struct span      rest = *places;
    struct bin_place place = { 0 };

    if (!cut_bytes(&rest, &place.channel) || !utf8_is_valid(place.channel) || !bin_cut_varint(&rest, &place.seq) ||
        rest.len == 0)
        return false;
    uint8_t epoch_bytes = (uint8_t)rest.at[0];
    rest                = span_skip(rest, 1);
    if ((epoch_bytes != 0 && epoch_bytes != BIN_FIXED_BYTES) ||
        (epoch_bytes == BIN_FIXED_BYTES && !cut_fixed(&rest, &place.epoch)))
        return false;
    *places    = rest;
    *ret_place = place;
    return true;
}

bool bin_next_header(struct span *headers, struct bin_header *ret_header)
{
    struct span       rest = *headers;
    struct bin_header header;

    if (!cut_bytes(&rest, &header.name) || !cut_bytes(&rest, &header.value) || !utf8_is_valid(header.name) ||
        !utf8_is_valid(header.value))
        return false;
    *headers    = rest;
    *ret_header = header;
    return true;
}
