#include "uplink/request_row.h"

#include "base/must.h"
#include "base/span_keep.h"
#include "device/row.h"

enum { REQUEST_ROW_VERSION = 1, NUMBER_BYTES = 8, PIECE_DIGITS = 4 };

/* --- numbers and texts ------------------------------------------------------------------------------------------ */

static void put_number_bytes(struct buf *buf, uint64_t number, int bytes)
{
    char text[NUMBER_BYTES];

    must(bytes <= NUMBER_BYTES);
    for (int i = bytes; i-- > 0; number >>= 8)
        text[i] = (char)number;
    buf_put(buf, span_of(text, (size_t)bytes));
}

static bool get_number_bytes(struct span *rest, uint64_t *ret, size_t bytes)
{
    uint64_t number = 0;

    if (rest->len < bytes)
        return false;
    for (size_t i = 0; i < bytes; i++)
        number = number << 8 | (unsigned char)rest->at[i];
    *rest = span_skip(*rest, bytes);
    *ret  = number;
    return true;
}

static bool get_number(struct span *rest, uint64_t *ret)
{
    return get_number_bytes(rest, ret, NUMBER_BYTES);
}

static void put_text_bytes(struct buf *buf, struct span text)
{
    put_number_bytes(buf, text.len, 4);
    buf_put(buf, text);
}

static bool get_text_bytes(struct span *rest, struct span *ret)
{
    uint64_t len;

    if (!get_number_bytes(rest, &len, 4) || rest->len < len)
        return false;
    *ret  = span_head(*rest, len);
    *rest = span_skip(*rest, len);
    return true;
}

static bool get_hash(struct span *rest, uint8_t ret[static 16])
{
    if (rest->len < 16)
        return false;
    memcpy(ret, rest->at, 16);
    *rest = span_skip(*rest, 16);
    return true;
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

void request_key_put(struct buf *buf, struct span user, struct span device, struct span id)
{
    row_key_put(buf, user, device);
    if (id.len > 0)
        row_key_put_third(buf, id);
}

void request_piece_key_put(struct buf *buf, struct span user, struct span device, struct span id, uint32_t piece)
{
    char digits[PIECE_DIGITS + 1];

    must(piece >= 1 && piece <= REQUEST_PIECES_MAX);
    for (int i = PIECE_DIGITS - 1; i >= 0; i--, piece /= 10)
        digits[i] = (char)('0' + piece % 10);
    request_key_put(buf, user, device, id);
    row_key_put_third(buf, span_of(digits, PIECE_DIGITS));
}

bool request_key_get(struct span key, struct span *ret_user, struct span *ret_device, struct span *ret_id, uint32_t *ret_piece)
{
    struct span piece;
    uint64_t    number = 0;

    if (!span_cut(&key, '\0', ret_user) || !span_cut(&key, '\0', ret_device) || !span_cut(&key, '\0', ret_id))
        return false;
    if (span_cut(&key, '\0', &piece) && (!span_u64(piece, &number) || number == 0 || number > REQUEST_PIECES_MAX))
        return false;
    *ret_piece = (uint32_t)number;
    return key.len == 0;
}

/* --- values ----------------------------------------------------------------------------------------------------- */

void request_row_put(struct buf *buf, const struct request_row *row)
{
    buf_putc(buf, REQUEST_ROW_VERSION);
    buf_putc(buf, row->is_answered);
    buf_put(buf, span_of(row->hash, sizeof row->hash));
    put_number_bytes(buf, row->claim, NUMBER_BYTES);
    if (!row->is_answered)
        return;
    put_number_bytes(buf, row->before, NUMBER_BYTES);
    put_number_bytes(buf, row->bytes, NUMBER_BYTES);
}

bool request_row_get(struct span value, struct request_row *ret)
{
    uint64_t version, flag;

    *ret = (struct request_row){ 0 };
    if (!get_number_bytes(&value, &version, 1) || version != REQUEST_ROW_VERSION || !get_number_bytes(&value, &flag, 1) ||
        flag > 1 || !get_hash(&value, ret->hash) || !get_number(&value, &ret->claim))
        return false;
    ret->is_answered = flag != 0;
    return !ret->is_answered || (get_number(&value, &ret->before) && get_number(&value, &ret->bytes));
}

void call_row_put(struct buf *buf, const struct call_row *row)
{
    buf_putc(buf, REQUEST_ROW_VERSION);
    buf_putc(buf, row->is_at_least_once);
    buf_put(buf, span_of(row->hash, sizeof row->hash));
    put_number_bytes(buf, row->claim, NUMBER_BYTES);
    put_number_bytes(buf, (uint64_t)row->since, NUMBER_BYTES);
    put_number_bytes(buf, row->incarnation, NUMBER_BYTES);
    put_number_bytes(buf, row->pieces, 4);
    put_text_bytes(buf, row->node);
}

bool call_row_get(struct span value, struct call_row *ret)
{
    uint64_t version, flag, since, pieces;

    *ret = (struct call_row){ 0 };
    if (!get_number_bytes(&value, &version, 1) || version != REQUEST_ROW_VERSION || !get_number_bytes(&value, &flag, 1) ||
        flag > 1 || !get_hash(&value, ret->hash) || !get_number(&value, &ret->claim) || !get_number(&value, &since) ||
        !get_number(&value, &ret->incarnation) || !get_number_bytes(&value, &pieces, 4) || pieces > REQUEST_PIECES_MAX ||
        !get_text_bytes(&value, &ret->node))
        return false;
    ret->is_at_least_once = flag != 0;
    ret->since            = (msec)since;
    ret->pieces           = (uint32_t)pieces;
    return true;
}

/* --- many calls in a row --- */

enum { CALLS_ROW_VERSION = 1, CALLS_NUMBER_BYTES = 4 };

void calls_key_put(struct buf *buf, struct calls_place place)
{
    put_number_bytes(buf, place.incarnation, NUMBER_BYTES);
    put_number_bytes(buf, place.number, CALLS_NUMBER_BYTES);
}

bool calls_key_get(struct span key, struct calls_place *ret)
{
    uint64_t incarnation, number;

    if (!get_number(&key, &incarnation) || !get_number_bytes(&key, &number, CALLS_NUMBER_BYTES) || key.len != 0)
        return false;
    *ret = (struct calls_place){ incarnation, (uint32_t)number };
    return true;
}

void calls_row_begin(struct buf *buf, msec wall)
{
    buf_putc(buf, CALLS_ROW_VERSION);
    put_number_bytes(buf, (uint64_t)wall, NUMBER_BYTES);
}

void calls_row_add(struct buf *buf, const uint8_t hash[static 16], struct span key)
{
    buf_put(buf, span_of((const char *)hash, 16));
    put_text_bytes(buf, key);
}

bool calls_row_open(struct span *value, msec *ret_wall)
{
    uint64_t version, wall;

    if (!get_number_bytes(value, &version, 1) || version != CALLS_ROW_VERSION || !get_number(value, &wall))
        return false;
    *ret_wall = (msec)wall;
    return true;
}

bool calls_row_next(struct span *rest, uint8_t ret_hash[static 16], struct span *ret_key)
{
    struct span left = *rest;

    if (!get_hash(&left, ret_hash) || !get_text_bytes(&left, ret_key))
        return false;
    *rest = left;
    return true;
}

/* --- the request itself ----------------------------------------------------------------------------------------- */

void request_bytes_put(struct buf *buf, const struct request_command *request)
{
    put_number_bytes(buf, request->key, NUMBER_BYTES);
    put_number_bytes(buf, (uint64_t)request->timeout_ms, NUMBER_BYTES);
    put_text_bytes(buf, request->backend);
    put_text_bytes(buf, request->method);
    put_text_bytes(buf, request->target);
    put_text_bytes(buf, request->address);
    put_text_bytes(buf, request->traceparent);
    put_text_bytes(buf, request->body);
    put_number_bytes(buf, request->field_count, 4);
    for (size_t i = 0; i < request->field_count; i++) {
        put_text_bytes(buf, request->fields[i].name);
        put_text_bytes(buf, request->fields[i].value);
    }
}

static bool get_fields(struct span *rest, struct request_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!get_text_bytes(rest, &fields[i].name) || !get_text_bytes(rest, &fields[i].value))
            return false;
    return true;
}

static bool get_request(struct span rest, struct request_command *request, struct request_field *fields)
{
    uint64_t timeout, count;

    if (!get_number(&rest, &request->key) || !get_number(&rest, &timeout) || !get_text_bytes(&rest, &request->backend) ||
        !get_text_bytes(&rest, &request->method) || !get_text_bytes(&rest, &request->target) ||
        !get_text_bytes(&rest, &request->address) || !get_text_bytes(&rest, &request->traceparent) ||
        !get_text_bytes(&rest, &request->body) || !get_number_bytes(&rest, &count, 4) || count > REQUEST_HEADERS_MAX + 1)
        return false;
    request->timeout_ms  = (msec)timeout;
    request->field_count = count;
    return get_fields(&rest, fields, count);
}

struct request_command *request_bytes_get(struct span bytes, struct span user, struct span device, struct span id)
{
    const size_t            fields_max = REQUEST_HEADERS_MAX + 1, fields_bytes = fields_max * sizeof(struct request_field);
    struct request_command *request    = request_command_new(REQUEST_SEND, fields_max,
                                                             bytes.len + user.len + device.len + id.len);
    char                   *at         = request->words + fields_bytes;

    request->user             = span_keep(user, &at);
    request->device           = span_keep(device, &at);
    request->id               = span_keep(id, &at);
    request->is_at_least_once = true;
    if (get_request(span_keep(bytes, &at), request, (struct request_field *)(void *)request->words))
        return request;
    command_free(&request->command);
    return NULL;
}
