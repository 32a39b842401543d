#include "codec/bin/bin_priv.h"

#define BIT(field) (UINT64_C(1) << (field))

#define ROW(form) (uint8_t)(BIN_FORM_##form + 1)
enum { TEXT = BIN_FORM_BYTES + 1 + BIN_TEXT };

const uint8_t bin_forms[BIN_FIELD_COUNT] = {
    [BIN_REF] = ROW(NUMBER),        [BIN_CHANNEL] = TEXT,            [BIN_EPOCH] = ROW(FIXED),
    [BIN_SEQ] = ROW(NUMBER),        [BIN_ID] = ROW(NUMBER),          [BIN_TIME] = ROW(NUMBER),
    [BIN_MEDIA] = TEXT,             [BIN_FROM] = TEXT,               [BIN_EVENT] = TEXT,
    [BIN_HEAD] = ROW(NUMBER),       [BIN_ALIAS_NO] = ROW(NUMBER),    [BIN_CODE] = ROW(NUMBER),
    [BIN_REASON] = TEXT,            [BIN_KEY] = TEXT,                [BIN_TTL] = ROW(NUMBER),
    [BIN_TOKEN] = TEXT,             [BIN_USER] = TEXT,               [BIN_DEVICE] = TEXT,
    [BIN_STANDING] = ROW(FLAG),     [BIN_SESSION] = TEXT,            [BIN_CONNECTION] = ROW(FIXED),
    [BIN_GENERATION] = ROW(NUMBER), [BIN_TICKET] = TEXT,             [BIN_RESUME] = ROW(BYTES),
    [BIN_CURSOR_TOKEN] = TEXT,      [BIN_HEARTBEAT] = ROW(NUMBER),   [BIN_NEXT_MS] = ROW(NUMBER),
    [BIN_DIGEST] = ROW(FIXED),      [BIN_MODE] = ROW(NUMBER),        [BIN_PRIORITY] = ROW(NUMBER),
    [BIN_CLASS] = TEXT,             [BIN_KEEP] = ROW(FLAG),          [BIN_PRESENCE] = ROW(FLAG),
    [BIN_AFTER] = ROW(NUMBER),      [BIN_LAST] = ROW(NUMBER),        [BIN_GAP_FROM] = ROW(NUMBER),
    [BIN_GAP_TO] = ROW(NUMBER),     [BIN_WHY] = ROW(NUMBER),         [BIN_TARGET] = ROW(NUMBER),
    [BIN_RECALLED] = ROW(FLAG),     [BIN_RESUMED] = ROW(FLAG),       [BIN_REPLAYED] = ROW(FLAG),
    [BIN_COLLAPSE] = TEXT,          [BIN_BASE_MS] = ROW(NUMBER),     [BIN_FACTOR] = ROW(NUMBER),
    [BIN_CAP_MS] = ROW(NUMBER),     [BIN_JITTER] = ROW(NUMBER),      [BIN_AFTER_MS] = ROW(NUMBER),
    [BIN_WHERE] = TEXT,             [BIN_IN] = ROW(NUMBER),          [BIN_COUNT] = ROW(NUMBER),
    [BIN_FRAME_BYTES] = ROW(NUMBER),  [BIN_FEATURE_BITS] = ROW(NUMBER), [BIN_VERSION_NO] = ROW(NUMBER),
    [BIN_PLACES] = ROW(FLAG),       [BIN_REQUEST_ID] = TEXT,         [BIN_METHOD] = TEXT,
    [BIN_PATH] = TEXT,              [BIN_HEADERS] = ROW(BYTES),      [BIN_TIMEOUT_MS] = ROW(NUMBER),
    [BIN_UNFENCED] = ROW(FLAG),
};

struct bin_type_row {
    bool     is_known;
    bool     has_payload;
    uint64_t fields;
};

#define FIELDS(...) { .is_known = true, .fields = (__VA_ARGS__) }
#define PAYLOAD(...) { .is_known = true, .has_payload = true, .fields = (__VA_ARGS__) }

static const struct bin_type_row client_rows[BIN_TYPE_COUNT] = {
    [BIN_CONNECT] = FIELDS(BIT(BIN_TOKEN) | BIT(BIN_USER) | BIT(BIN_DEVICE) | BIT(BIN_STANDING) | BIT(BIN_TICKET) |
                           BIT(BIN_GENERATION) | BIT(BIN_RESUME) | BIT(BIN_CURSOR_TOKEN) | BIT(BIN_HEARTBEAT) |
                           BIT(BIN_MODE) | BIT(BIN_CLASS) | BIT(BIN_FEATURE_BITS) | BIT(BIN_REF)),
    [BIN_SUBSCRIBE] = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_AFTER) | BIT(BIN_LAST) | BIT(BIN_EPOCH) | BIT(BIN_KEEP) |
                             BIT(BIN_PRESENCE) | BIT(BIN_MODE) | BIT(BIN_PRIORITY) | BIT(BIN_REF)),
    [BIN_UNSUBSCRIBE] = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_REF)),
    [BIN_PUBLISH] = PAYLOAD(BIT(BIN_CHANNEL) | BIT(BIN_MEDIA) | BIT(BIN_EVENT) | BIT(BIN_TTL) | BIT(BIN_KEY) |
                            BIT(BIN_COLLAPSE) | BIT(BIN_PRIORITY) | BIT(BIN_REF)),
    [BIN_CURSOR] = FIELDS(BIT(BIN_REF)),
    [BIN_ACK]    = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_SEQ) | BIT(BIN_EPOCH) | BIT(BIN_GENERATION) | BIT(BIN_REF)),
    [BIN_READ]   = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_SEQ) | BIT(BIN_EPOCH) | BIT(BIN_GENERATION) | BIT(BIN_REF)),
    [BIN_PING]   = FIELDS(BIT(BIN_NEXT_MS) | BIT(BIN_DIGEST) | BIT(BIN_PLACES) | BIT(BIN_REF)),
    [BIN_PONG]   = FIELDS(0),
    [BIN_REQUEST] = PAYLOAD(BIT(BIN_REQUEST_ID) | BIT(BIN_METHOD) | BIT(BIN_PATH) | BIT(BIN_HEADERS) | BIT(BIN_TIMEOUT_MS) |
                            BIT(BIN_REF)),
    [BIN_CANCEL]  = FIELDS(BIT(BIN_REQUEST_ID) | BIT(BIN_REF)),
};

static const struct bin_type_row server_rows[BIN_TYPE_COUNT] = {
    [BIN_CONNECT] = FIELDS(BIT(BIN_CONNECTION) | BIT(BIN_SESSION) | BIT(BIN_GENERATION) | BIT(BIN_USER) |
                           BIT(BIN_DEVICE) | BIT(BIN_TICKET) | BIT(BIN_HEARTBEAT) | BIT(BIN_BASE_MS) | BIT(BIN_FACTOR) |
                           BIT(BIN_CAP_MS) | BIT(BIN_JITTER) | BIT(BIN_RESUMED) | BIT(BIN_FRAME_BYTES) |
                           BIT(BIN_VERSION_NO) | BIT(BIN_FEATURE_BITS) | BIT(BIN_UNFENCED) | BIT(BIN_REF)),
    [BIN_SUBSCRIBE]   = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_EPOCH) | BIT(BIN_HEAD) | BIT(BIN_AFTER) | BIT(BIN_REF)),
    [BIN_UNSUBSCRIBE] = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_REF)),
    [BIN_PUBLISH] = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_EPOCH) | BIT(BIN_SEQ) | BIT(BIN_ID) | BIT(BIN_TIME) |
                           BIT(BIN_REPLAYED) | BIT(BIN_REF)),
    [BIN_CURSOR]  = FIELDS(BIT(BIN_CURSOR_TOKEN) | BIT(BIN_REF)),
    [BIN_ACK]     = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_SEQ) | BIT(BIN_REF)),
    [BIN_READ]    = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_SEQ) | BIT(BIN_REF)),
    [BIN_PING]    = FIELDS(BIT(BIN_NEXT_MS) | BIT(BIN_DIGEST)),
    [BIN_PONG]    = FIELDS(BIT(BIN_DIGEST) | BIT(BIN_RESUME) | BIT(BIN_REF)),
    [BIN_REQUEST] = FIELDS(BIT(BIN_REQUEST_ID) | BIT(BIN_REF)),
    [BIN_ALIAS]   = FIELDS(BIT(BIN_ALIAS_NO) | BIT(BIN_CHANNEL) | BIT(BIN_EPOCH) | BIT(BIN_SEQ) | BIT(BIN_ID) |
                           BIT(BIN_TIME) | BIT(BIN_MEDIA) | BIT(BIN_FROM)),
    [BIN_MESSAGE] = PAYLOAD(BIT(BIN_MEDIA) | BIT(BIN_FROM) | BIT(BIN_EVENT)),
    [BIN_FULL]    = PAYLOAD(BIT(BIN_CHANNEL) | BIT(BIN_EPOCH) | BIT(BIN_SEQ) | BIT(BIN_ID) | BIT(BIN_TIME) |
                            BIT(BIN_FROM) | BIT(BIN_MEDIA) | BIT(BIN_EVENT) | BIT(BIN_TARGET) | BIT(BIN_RECALLED) |
                            BIT(BIN_REPLAYED)),
    [BIN_GAP]     = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_EPOCH) | BIT(BIN_GAP_FROM) | BIT(BIN_GAP_TO) | BIT(BIN_WHY)),
    [BIN_NOTIFY]  = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_ALIAS_NO) | BIT(BIN_EPOCH) | BIT(BIN_HEAD)),
    [BIN_JOIN]    = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_USER) | BIT(BIN_DEVICE) | BIT(BIN_COUNT)),
    [BIN_LEAVE]   = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_USER) | BIT(BIN_DEVICE) | BIT(BIN_COUNT)),
    [BIN_HERE]    = FIELDS(BIT(BIN_CHANNEL) | BIT(BIN_COUNT)),
    [BIN_ERROR]   = FIELDS(BIT(BIN_CODE) | BIT(BIN_REASON) | BIT(BIN_REQUEST_ID) | BIT(BIN_AFTER_MS) |
                           BIT(BIN_REF)),
    [BIN_RECONNECT] = FIELDS(BIT(BIN_AFTER_MS) | BIT(BIN_WHERE)),
    [BIN_REPLACED]  = FIELDS(0),
    [BIN_EXPIRING]  = FIELDS(BIT(BIN_IN)),
    [BIN_CLOSING]   = FIELDS(BIT(BIN_CODE) | BIT(BIN_REASON)),
};

static const struct bin_type_row *row_of(enum bin_side side, uint8_t type)
{
    return side == BIN_CLIENT ? &client_rows[type & BIN_TYPE_BITS] : &server_rows[type & BIN_TYPE_BITS];
}

bool bin_type_fields(enum bin_side side, uint8_t type, uint64_t *ret_fields)
{
    const struct bin_type_row *row = row_of(side, type);

    *ret_fields = row->fields;
    return row->is_known;
}

bool bin_type_has_payload(enum bin_side side, uint8_t type)
{
    return row_of(side, type)->has_payload;
}
