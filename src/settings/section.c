#include "settings/section.h"

#include <ctype.h>

#include "base/must.h"
#include "message/grant.h"
#include "settings/secret_file.h"
#include "settings/unit.h"
#include "settings/value.h"

enum {
    YEARS_10_S        = 10 * 365 * 24 * 3600,
    PAYLOAD_BYTES_MAX = 64 * 1024 * 1024,
    RING_COUNT        = 1000,           /* what a namespace keeps that becomes one of memory … */
    RING_MS           = 5 * 60 * 1000,  /* … like live: */
    FORWARD_BATCH_MAX = 1000,
    FORWARD_TRIES_MAX = 1000,
};
#define KEEP_COUNT_MAX (UINT64_C(1) << 40)
#define KEEP_BYTES_MAX (UINT64_C(1) << 50)
#define DURABLE_MS     (INT64_C(7) * 24 * 3600 * 1000)
#define ALLOWED_WORDS  "nobody|key|grant|member|user|anyone"
#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { KEY_SECRET, KEY_SECRET_FILE, KEY_RIGHTS, KEY_CHANNELS };

static const struct value_row key_rows[] = {
    [KEY_SECRET] = { "secret", VALUE_TEXT, offsetof(struct key_draft, secret), .max = KEY_SECRET_BYTES_MAX,
                     .help = "What clients send as Authorization: Bearer. 16 to 128 letters, digits and -._~+/=." },
    [KEY_SECRET_FILE] = { "secret_file", VALUE_TEXT, offsetof(struct key_draft, secret_file),
                          .max = SECRET_FILE_BYTES_MAX,
                          .help = "In place of secret: the absolute path of a file whose first line is the secret. It "
                                  "is read at the start and at each reload." },
    [KEY_RIGHTS] = { "rights", VALUE_TEXT, offsetof(struct key_draft, rights), .max = 63,
                     .help = "What its holder may do: publish (and take back), subscribe (and read), admin (everything), "
                             "with commas between." },
    [KEY_CHANNELS] = { "channels", VALUE_TEXT, offsetof(struct key_draft, channels), .max = KEY_CHANNELS_BYTES_MAX,
                       .help = "Where its rights hold: patterns of channels with commas between, as in topic:*, "
                               "group:shop-*; a star stands for any run of characters. Without it everywhere. What has "
                               "no channel, such as metrics, such a key may not." },
};

enum {
    DURABILITY, KEEP_AGE, KEEP_COUNT, KEEP_BYTES, PAYLOAD_BYTES, TTL, SUBSCRIBE, PUBLISH, PRESENCE, FORWARD, FORWARD_BATCH,
    FORWARD_TRIES,
};

/* The first two are read as those of a key are. */
static const struct value_row ticket_rows[] = {
    [KEY_SECRET] = { "secret", VALUE_TEXT, offsetof(struct key_draft, secret), .max = KEY_SECRET_BYTES_MAX,
                     .help = "32 to 128 letters, digits and -._~+/=, the same on all nodes." },
    [KEY_SECRET_FILE] = { "secret_file", VALUE_TEXT, offsetof(struct key_draft, secret_file),
                          .max = SECRET_FILE_BYTES_MAX,
                          .help = "In place of secret: the absolute path of a file whose first line is the secret." },
};

#define AT(member) offsetof(struct namespace_draft, member)
static const struct value_row namespace_rows[] = {
    [DURABILITY] = { "durability", VALUE_CHOICE, AT(durability), .words = "durable|memory|none",
                     .help = "durable: acknowledged once it is on disk. memory: a bounded ring, gone with the process. "
                             "none: delivered to the readers of the moment, never kept." },
    [KEEP_AGE] = { "keep_age", VALUE_SECONDS, AT(keep_age), .max = YEARS_10_S,
                   .help = "How long messages are kept; 0: age is no limit." },
    [KEEP_COUNT] = { "keep_count", VALUE_COUNT, AT(keep_count), .max = KEEP_COUNT_MAX,
                     .help = "How many messages a channel keeps; 0: their count is no limit." },
    [KEEP_BYTES] = { "keep_bytes", VALUE_BYTES, AT(keep_bytes), .max = KEEP_BYTES_MAX,
                     .help = "How many payload bytes a channel keeps; 0: their bytes are no limit." },
    [PAYLOAD_BYTES] = { "payload_bytes_max", VALUE_BYTES, AT(payload_bytes_max), .min = 1, .max = PAYLOAD_BYTES_MAX,
                        .help = "Largest payload of one message; above it 413." },
    [TTL] = { "ttl_default", VALUE_SECONDS, AT(ttl_default), .max = YEARS_10_S,
              .help = "Lifetime of a message that is published without ttl=; 0: as long as it is kept." },
    [SUBSCRIBE] = { "subscribe", VALUE_CHOICE, AT(subscribe), .words = ALLOWED_WORDS,
                    .help = "Who may read. Each word includes those before it: nobody, holders of an API key with that "
                            "right, users whose token grants it, members of the channel, every user, anyone. While "
                            "neither a key nor an issuer is configured, everyone on this machine may." },
    [PUBLISH] = { "publish", VALUE_CHOICE, AT(publish), .words = ALLOWED_WORDS,
                  .help = "Who may publish: the same words." },
    [PRESENCE] = { "presence", VALUE_SWITCH, AT(presence),
                   .help = "Whether it is known which devices follow a channel now: `GET …/subscribers`, and `join` and "
                           "`leave` for followers that ask. Who may read may ask, unless reading needs a grant: then it "
                           "needs one for `presence`." },
    [FORWARD] = { "forward", VALUE_TEXT, AT(forward), .max = FORWARD_BYTES_MAX,
                  .help = "BACKEND/path: the messages of its channels are carried to this path of that [backend], each channel in "
                          "its order, from its first message on. Empty: they are not." },
    [FORWARD_BATCH] = { "forward_batch", VALUE_COUNT, AT(forward_batch), .min = 1, .max = FORWARD_BATCH_MAX,
                        .help = "Most messages that one call carries." },
    [FORWARD_TRIES] = { "forward_tries", VALUE_COUNT, AT(forward_tries), .min = 1, .max = FORWARD_TRIES_MAX,
                        .help = "How often the back end may refuse a message (4xx) before it goes to sys:dead." },
};
#undef AT

void section_init(struct section *section, struct settings *settings)
{
    *section = (struct section){ .settings = settings };
}

void section_fini(struct section *section)
{
    explicit_bzero(section, sizeof *section);
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static bool key_name_is_valid(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.at[i]) && name.at[i] != '-' && name.at[i] != '_' && name.at[i] != '.')
            return false;
    return name.len > 0 && name.len <= KEY_NAME_BYTES_MAX;
}

/* The name of a key or an issuer. */
static bool key_name_take(struct section *section, struct span name, const char *whose, struct buf *why)
{
    if (!key_name_is_valid(name)) {
        buf_putf(why, "%s name must be 1 to %d letters, digits and -._", whose, KEY_NAME_BYTES_MAX);
        return false;
    }
    memset(section->key_name, 0, sizeof section->key_name);
    memcpy(section->key_name, name.at, name.len);
    return true;
}

static bool key_open(struct section *section, struct span name, struct buf *why)
{
    const struct settings *settings = section->settings;

    if (!key_name_take(section, name, "a key's", why))
        return false;
    for (size_t i = 0; i < settings->key_count; i++)
        if (span_eq(span_str(settings->keys[i].name), name)) {
            buf_put_lit(why, "this key has a section already");
            return false;
        }
    if (settings->key_count == KEYS_MAX) {
        buf_putf(why, "there may be at most %d keys", KEYS_MAX);
        return false;
    }
    section->kind = SECTION_KEY;
    return true;
}

static bool issuer_open(struct section *section, struct span name, struct buf *why)
{
    if (!key_name_take(section, name, "an issuer's", why) || !jwt_section_open(section->settings, name, why))
        return false;
    section->kind = SECTION_JWT;
    return true;
}

static bool backend_open(struct section *section, struct span name, struct buf *why)
{
    if (!key_name_take(section, name, "a back end's", why) ||
        !backend_section_open(section->settings, name, &section->backend_draft, why))
        return false;
    section->kind = SECTION_BACKEND;
    return true;
}

static bool uplink_open(struct section *section, struct span name, struct buf *why)
{
    if (!key_name_take(section, name, "an uplink's", why) ||
        !uplink_section_open(section->settings, name, &section->uplink_draft, why))
        return false;
    section->kind = SECTION_UPLINK;
    return true;
}

static bool webhook_open(struct section *section, struct span name, struct buf *why)
{
    if (!key_name_take(section, name, "a webhook's", why) ||
        !webhook_section_open(section->settings, name, &section->webhook_draft, why))
        return false;
    section->kind = SECTION_WEBHOOK;
    return true;
}

static bool tls_open(struct section *section, struct span name, struct buf *why)
{
    if (!key_name_take(section, name, "a [tls] section's", why) ||
        !tls_section_open(section->settings, name, &section->tls_draft, why))
        return false;
    section->kind = SECTION_TLS;
    return true;
}

static bool events_open(struct section *section, struct buf *why)
{
    if (section->settings->events.is_there)
        buf_put_lit(why, "there is an [events] section already");
    else
        section->kind = SECTION_EVENTS;
    section->events_draft = (struct events_draft){ 0 };
    return section->kind == SECTION_EVENTS;
}

static bool hook_open(struct section *section, struct buf *why)
{
    if (section->settings->hook.is_there)
        buf_put_lit(why, "there is a hook already");
    else
        section->kind = SECTION_HOOK;
    return section->kind == SECTION_HOOK;
}

static bool namespace_find(struct namespaces *set, struct span name, struct namespace **ret_space, struct buf *why)
{
    *ret_space = namespaces_find(set, name);
    if (*ret_space != NULL)
        return true;

    enum rc rc = namespaces_add(set, name, ret_space);
    if (rc == RC_BAD)
        buf_putf(why, "a namespace's name must be a small letter, then up to %d small letters, digits, - and _",
                 NAMESPACE_NAME_BYTES_MAX - 1);
    else if (rc != RC_OK)
        buf_putf(why, "there may be at most %d namespaces", NAMESPACES_MAX);
    return rc == RC_OK;
}

static bool tickets_open(struct section *section, struct span name, struct buf *why)
{
    if (name.len > 0 || section->settings->ticket_secret[0] != '\0') {
        buf_put(why, span_str(name.len > 0 ? "[tickets] has no name" : "there is a [tickets] section already"));
        return false;
    }
    section->kind = SECTION_TICKETS;
    return true;
}

static bool namespace_open(struct section *section, struct span name, struct buf *why)
{
    struct namespaces *set = &section->settings->namespaces;
    struct namespace  *space;

    if (!namespace_find(set, name, &space, why))
        return false;
    bool *is_opened = &section->is_opened[space - set->at];
    if (*is_opened) {
        buf_put_lit(why, "this namespace has a section already");
        return false;
    }
    *is_opened     = true;
    section->space = space;
    section->kind  = SECTION_NAMESPACE;
    return true;
}

static bool uplink_part_open(struct section *section, struct span heading, struct span kind, struct span name, struct buf *why)
{
    if (span_eq(kind, SPAN("backend")))
        return backend_open(section, name, why);
    if (span_eq(kind, SPAN("uplink")))
        return uplink_open(section, name, why);
    if (span_eq(kind, SPAN("webhook")))
        return webhook_open(section, name, why);
    if (span_eq(heading, SPAN("events")))
        return events_open(section, why);
    buf_put_lit(why, "unknown section; there are " SECTIONS_TEXT("and"));
    return false;
}

bool section_open(struct section *section, struct span heading, struct buf *why)
{
    struct span name = heading, kind;

    must(section->kind == SECTION_NONE);
    section->kind = SECTION_BROKEN;
    section->seen = 0;
    span_cut(&name, ' ', &kind);
    name = span_trim(name);
    if (span_eq(kind, SPAN("key")))
        return key_open(section, name, why);
    if (span_eq(kind, SPAN("jwt")))
        return issuer_open(section, name, why);
    if (span_eq(heading, SPAN("connect_hook")))
        return hook_open(section, why);
    if (span_eq(kind, SPAN("tickets")))
        return tickets_open(section, name, why);
    if (span_eq(kind, SPAN("namespace")))
        return namespace_open(section, name, why);
    if (span_eq(kind, SPAN("tls")))
        return tls_open(section, name, why);
    return uplink_part_open(section, heading, kind, name, why);
}

/* --- reading a line ------------------------------------------------------------------------------------------ */

static void names_put(const struct value_row *rows, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++)
        buf_putf(out, "%s%s", i == 0 ? "" : ", ", rows[i].name);
}

static bool row_set(struct section *section, const struct value_row *rows, size_t count, void *draft,
                    struct span name, struct span value, struct buf *why)
{
    size_t found = value_find(rows, count, name);
    if (found == count) {
        buf_put_lit(why, "unknown here; there are: ");
        names_put(rows, count, why);
        return false;
    }
    if (section->seen & 1u << found) {
        buf_put_lit(why, "stands in this section twice");
        return false;
    }
    section->seen |= 1u << found;
    return value_set(&rows[found], draft, value, why);
}

/* The lines of each kind of section, and where its draft is. */
static const struct {
    const struct value_row *rows;
    size_t                  count, draft;
} tables[] = {
    [SECTION_KEY]       = { key_rows, COUNT_OF(key_rows), offsetof(struct section, key_draft) },
    [SECTION_JWT]       = { jwt_rows, JWT_ROW_COUNT, offsetof(struct section, jwt_draft) },
    [SECTION_TICKETS]   = { ticket_rows, COUNT_OF(ticket_rows), offsetof(struct section, key_draft) },
    [SECTION_HOOK]      = { hook_rows, HOOK_ROW_COUNT, offsetof(struct section, hook_draft) },
    [SECTION_BACKEND]   = { backend_rows, BACKEND_ROW_COUNT, offsetof(struct section, backend_draft) },
    [SECTION_UPLINK]    = { uplink_rows, UPLINK_ROW_COUNT, offsetof(struct section, uplink_draft) },
    [SECTION_WEBHOOK]   = { webhook_rows, WEBHOOK_ROW_COUNT, offsetof(struct section, webhook_draft) },
    [SECTION_EVENTS]    = { events_rows, EVENTS_ROW_COUNT, offsetof(struct section, events_draft) },
    [SECTION_TLS]       = { tls_rows, TLS_ROW_COUNT, offsetof(struct section, tls_draft) },
    [SECTION_NAMESPACE] = { namespace_rows, COUNT_OF(namespace_rows), offsetof(struct section, namespace_draft) },
};

bool section_set(struct section *section, struct span name, struct span value, struct buf *why)
{
    must(section->kind != SECTION_NONE && section->kind < SECTION_BROKEN);
    return row_set(section, tables[section->kind].rows, tables[section->kind].count,
                   (char *)section + tables[section->kind].draft, name, value, why);
}

static bool is_seen(const struct section *section, int row)
{
    must(row >= 0 && row < (int)(8 * sizeof section->seen));
    return section->seen & 1u << row;
}

/* --- closing a key ------------------------------------------------------------------------------------------- */

static const struct { struct span name; enum key_right right; } right_words[] = {
    { SPAN("publish"), RIGHT_PUBLISH },
    { SPAN("subscribe"), RIGHT_SUBSCRIBE },
    { SPAN("admin"), RIGHT_ADMIN },
};

static unsigned right_read(struct span word)
{
    for (size_t i = 0; i < COUNT_OF(right_words); i++)
        if (span_eq(right_words[i].name, word))
            return right_words[i].right;
    return 0;
}

/* 0, with the reason: not a list of rights, or an empty one. A key without rights would be of no use, and might be meant
 * to have all (threat 26). */
static unsigned rights_read(struct span list, struct buf *why)
{
    struct span word;
    unsigned    rights = 0;

    while (span_cut(&list, ',', &word)) {
        word           = span_trim(word);
        unsigned right = right_read(word);
        if (right == 0) {
            buf_putf(why, "\"%.*s\" is no right: rights are one or more of publish, subscribe, admin, with commas between",
                     (int)word.len, word.at);
            return 0;
        }
        rights |= right;
    }
    if (rights == 0)
        buf_put_lit(why, "rights must be there: one or more of publish, subscribe, admin, with commas between");
    return rights;
}

static bool secret_is_taken(const struct settings *settings, const char *secret)
{
    for (size_t i = 0; i < settings->key_count; i++)
        if (strcmp(settings->keys[i].secret, secret) == 0)
            return true;
    return false;
}

/* From its line or from its file into the draft. */
static bool secret_find(struct section *section, struct buf *why)
{
    struct key_draft *draft = &section->key_draft;

    if (is_seen(section, KEY_SECRET) && is_seen(section, KEY_SECRET_FILE)) {
        buf_put_lit(why, "there is a secret and a secret_file; keep one of them");
        return false;
    }
    if (is_seen(section, KEY_SECRET_FILE)) {
        if (secret_file_path_is_valid(span_str(draft->secret_file)))
            return secret_file_read(draft->secret_file, draft->secret, why);
        buf_putf(why, "secret_file must be an absolute path of at most %d bytes", SECRET_FILE_BYTES_MAX);
        return false;
    }
    if (is_seen(section, KEY_SECRET) && secret_is_valid(span_str(draft->secret)))
        return true;
    secret_put_fault(is_seen(section, KEY_SECRET), why);
    return false;
}

/* An empty list, or an empty pattern in it, might be meant to be all channels, or none (threat 26). */
static bool channels_are_valid(struct span list, struct buf *why)
{
    struct span pattern;
    size_t      count = 0;

    while (span_cut(&list, ',', &pattern)) {
        if (!grant_pattern_is_valid(span_trim(pattern)) || ++count > GRANTS_MAX) {
            buf_putf(why, "channels must be 1 to %d patterns of channels with commas between, each of 1 to %d bytes and "
                     "with at most %d stars", GRANTS_MAX, GRANT_BYTES_MAX, GRANT_STARS_MAX);
            return false;
        }
    }
    if (count == 0)
        buf_put_lit(why, "channels is empty; leave it out, or name at least one pattern");
    return count > 0;
}

static bool key_close(struct section *section, struct buf *why)
{
    struct settings *settings = section->settings;
    const char      *secret   = section->key_draft.secret;

    if (!secret_find(section, why))
        return false;
    if (secret_is_taken(settings, secret)) {
        buf_put_lit(why, "another key has this secret already");
        return false;
    }
    unsigned rights = rights_read(span_str(is_seen(section, KEY_RIGHTS) ? section->key_draft.rights : ""), why);
    if (rights == 0)
        return false;
    if (is_seen(section, KEY_CHANNELS) && !channels_are_valid(span_str(section->key_draft.channels), why))
        return false;
    struct api_key *key = &settings->keys[settings->key_count++];
    *key                = (struct api_key){ .rights = rights };
    memcpy(key->name, section->key_name, sizeof key->name);
    memcpy(key->secret, secret, sizeof key->secret);
    if (is_seen(section, KEY_CHANNELS))
        memcpy(key->channels, section->key_draft.channels, sizeof key->channels);
    if (is_seen(section, KEY_SECRET_FILE))
        memcpy(key->secret_file, section->key_draft.secret_file, sizeof key->secret_file);
    return true;
}

static bool tickets_close(struct section *section, struct buf *why)
{
    struct settings *settings = section->settings;

    if (!secret_find(section, why))
        return false;
    if (strlen(section->key_draft.secret) < TICKET_KEY_BYTES_MIN) {
        buf_putf(why, "the secret of [tickets] must have at least %d bytes", TICKET_KEY_BYTES_MIN);
        return false;
    }
    memcpy(settings->ticket_secret, section->key_draft.secret, sizeof settings->ticket_secret);
    if (is_seen(section, KEY_SECRET_FILE))
        memcpy(settings->ticket_secret_file, section->key_draft.secret_file, sizeof settings->ticket_secret_file);
    return true;
}

/* --- closing a namespace ------------------------------------------------------------------------------------- */

/* Another durability brings the retention that fits it. Messages that are not durable have ids of a kind of their
 * own. */
static void durability_change(struct namespace *space, enum durability durability)
{
    if (space->durability == durability)
        return;
    if (durability != DURABLE)
        space->id_kind = ID_MEMORY;
    else if (space->id_kind == ID_MEMORY)
        space->id_kind = ID_OPEN;
    space->durability = durability;
    space->keep_ms    = durability == DURABLE ? DURABLE_MS : durability == MEMORY ? RING_MS : 0;
    space->keep_count = durability == MEMORY ? RING_COUNT : 0;
    space->keep_bytes = 0;
}

static void draft_apply(const struct section *section, struct namespace *space)
{
    const struct namespace_draft *draft = &section->namespace_draft;

    if (is_seen(section, DURABILITY))
        durability_change(space, draft->durability);
    if (is_seen(section, KEEP_AGE))
        space->keep_ms = draft->keep_age * UNIT_S;
    if (is_seen(section, KEEP_COUNT))
        space->keep_count = draft->keep_count;
    if (is_seen(section, KEEP_BYTES))
        space->keep_bytes = draft->keep_bytes;
    if (is_seen(section, PAYLOAD_BYTES))
        space->payload_bytes_max = (uint32_t)draft->payload_bytes_max;
    if (is_seen(section, TTL))
        space->ttl_s_default = (uint32_t)draft->ttl_default;
    if (is_seen(section, SUBSCRIBE))
        space->subscribe = draft->subscribe;
    if (is_seen(section, PUBLISH))
        space->publish = draft->publish;
    if (is_seen(section, PRESENCE))
        space->has_presence = draft->presence;
    if (is_seen(section, FORWARD))
        memcpy(space->forward, draft->forward, sizeof space->forward);
    if (is_seen(section, FORWARD_BATCH))
        space->forward_batch = (uint32_t)draft->forward_batch;
    if (is_seen(section, FORWARD_TRIES))
        space->forward_tries = (uint32_t)draft->forward_tries;
}

static bool forward_is_sound(const struct namespace *space, struct buf *why)
{
    const char *complaint = NULL;

    if (!namespace_forwards(space))
        return true;
    if (!key_name_is_valid(namespace_forward_backend(space)) || !backend_path_is_valid(namespace_forward_path(space)))
        complaint = "forward must be BACKEND/path: the name of a [backend], and a path without blanks, ? and #";
    else if (space->durability != DURABLE || space->is_servers)
        complaint = "forward: only durable messages of clients and applications are carried to a back end; set durability = durable, "
                    "or leave forward out";
    if (complaint != NULL)
        buf_put(why, span_str(complaint));
    return complaint == NULL;
}

static bool namespace_is_sound(const struct namespace *space, struct buf *why)
{
    if (space->durability == NONE && (space->keep_ms != 0 || space->keep_count != 0 || space->keep_bytes != 0)) {
        buf_put_lit(why, "with durability none nothing is kept: leave out keep_age, keep_count and keep_bytes");
        return false;
    }
    if (space->durability == MEMORY && space->keep_count == 0 && space->keep_bytes == 0) {
        buf_put_lit(why, "with durability memory keep_count or keep_bytes must be above 0, or memory would fill up");
        return false;
    }
    if (strcmp(space->name, "sys") == 0 && space->publish != ALLOW_NOBODY) {
        buf_put_lit(why, "only the server publishes to sys: publish must be nobody");
        return false;
    }
    return forward_is_sound(space, why);
}

static bool namespace_close(struct section *section, struct buf *why)
{
    draft_apply(section, section->space);
    return namespace_is_sound(section->space, why);
}

static bool kind_close(struct section *section, struct buf *why)
{
    struct settings *settings = section->settings;
    struct span      name     = span_str(section->key_name);

    switch (section->kind) {
    case SECTION_KEY: return key_close(section, why);
    case SECTION_JWT: return jwt_section_close(settings, name, &section->jwt_draft, section->seen, why);
    case SECTION_TICKETS: return tickets_close(section, why);
    case SECTION_HOOK: return hook_section_close(settings, &section->hook_draft, section->seen, why);
    case SECTION_BACKEND: return backend_section_close(settings, name, &section->backend_draft, why);
    case SECTION_UPLINK: return uplink_section_close(settings, name, &section->uplink_draft, why);
    case SECTION_WEBHOOK: return webhook_section_close(settings, name, &section->webhook_draft, why);
    case SECTION_EVENTS: return events_section_close(settings, &section->events_draft, why);
    case SECTION_TLS: return tls_section_close(settings, name, &section->tls_draft, why);
    case SECTION_NAMESPACE: return namespace_close(section, why);
    case SECTION_NONE:
    case SECTION_BROKEN: return true;
    }
    return true;
}

bool section_close(struct section *section, struct buf *why)
{
    bool is_good = kind_close(section, why);

    section->kind = SECTION_NONE;
    explicit_bzero(section->key_draft.secret, sizeof section->key_draft.secret);
    explicit_bzero(section->jwt_draft.secret, sizeof section->jwt_draft.secret);
    explicit_bzero(section->webhook_draft.secret, sizeof section->webhook_draft.secret);
    return is_good;
}

/* --- printing ------------------------------------------------------------------------------------------------ */

void rights_put(unsigned rights, struct buf *out)
{
    bool is_first = true;
    for (size_t i = 0; i < COUNT_OF(right_words); i++) {
        if (!(rights & right_words[i].right))
            continue;
        if (!is_first)
            buf_put_lit(out, ", ");
        buf_put(out, right_words[i].name);
        is_first = false;
    }
}

static struct namespace_draft draft_of(const struct namespace *space)
{
    struct namespace_draft draft = {
        .durability        = space->durability,
        .keep_age          = space->keep_ms / UNIT_S,
        .keep_count        = space->keep_count,
        .keep_bytes        = space->keep_bytes,
        .payload_bytes_max = space->payload_bytes_max,
        .ttl_default       = space->ttl_s_default,
        .subscribe         = space->subscribe,
        .publish           = space->publish,
        .presence          = space->has_presence,
        .forward_batch     = space->forward_batch,
        .forward_tries     = space->forward_tries,
    };
    memcpy(draft.forward, space->forward, sizeof draft.forward);
    return draft;
}

bool namespace_is_like(const struct namespace *one, const struct namespace *other)
{
    struct namespace_draft drafts[] = { draft_of(one), draft_of(other) };
    struct buf             texts[2];

    for (size_t i = 0; i < 2; i++) {
        buf_init(&texts[i], 4096);
        for (size_t row = 0; row < COUNT_OF(namespace_rows); row++) {
            value_put(&namespace_rows[row], &drafts[i], &texts[i]);
            buf_putc(&texts[i], ' ');
        }
    }
    bool is_like = span_eq(buf_span(&texts[0]), buf_span(&texts[1]));
    buf_fini(&texts[0]);
    buf_fini(&texts[1]);
    return is_like;
}

void section_print_in_force(const struct settings *settings, struct buf *out)
{
    for (size_t i = 0; i < settings->key_count; i++) {
        const struct api_key *key = &settings->keys[i];
        buf_putf(out, "\n[key %s]\n%s = %s\nrights = ", key->name, key->secret_file[0] == '\0' ? "secret" : "secret_file",
                 key->secret_file[0] == '\0' ? "****************" : key->secret_file);
        rights_put(settings->keys[i].rights, out);
        buf_putf(out, "%s%s\n", key->channels[0] == '\0' ? "" : "\nchannels = ", key->channels);
    }
    jwt_sections_print(settings, out);
    if (settings->ticket_secret[0] != '\0')
        buf_putf(out, "\n[tickets]\n%s = %s\n", settings->ticket_secret_file[0] == '\0' ? "secret" : "secret_file",
                 settings->ticket_secret_file[0] == '\0' ? "****************" : settings->ticket_secret_file);
    hook_section_print(settings, out);
    for (size_t i = 0; i < settings->backend_count; i++)
        backend_section_print(&settings->backends[i], out);
    for (size_t i = 0; i < settings->uplink_count; i++)
        uplink_section_print(&settings->uplinks[i], out);
    for (size_t i = 0; i < settings->webhook_count; i++)
        webhook_section_print(&settings->webhooks[i], out);
    events_section_print(settings, out);
    for (size_t i = 0; i < settings->tls_count; i++)
        tls_section_print(&settings->tls[i], out);
    for (size_t i = 0; i < settings->namespaces.count; i++) {
        struct namespace_draft draft = draft_of(&settings->namespaces.at[i]);
        buf_putf(out, "\n[namespace %s]\n", settings->namespaces.at[i].name);
        for (size_t row = 0; row < COUNT_OF(namespace_rows); row++) {
            buf_putf(out, "%s = ", namespace_rows[row].name);
            value_put(&namespace_rows[row], &draft, out);
            buf_putc(out, '\n');
        }
    }
}

static void rows_print_docs(const struct value_row *rows, size_t count, struct buf *out)
{
    buf_put_lit(out, "| line | allowed | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        buf_putf(out, "| `%s` | ", rows[i].name);
        value_put_allowed(&rows[i], out);
        buf_putf(out, " | %s |\n", rows[i].help);
    }
}

static void built_in_print_docs(struct buf *out)
{
    struct namespaces set;
    namespaces_init(&set);

    buf_put_lit(out, "\n|");
    for (size_t row = 0; row < COUNT_OF(namespace_rows); row++)
        buf_putf(out, " | `%s`", namespace_rows[row].name);
    buf_put_lit(out, " |\n|---");
    for (size_t row = 0; row < COUNT_OF(namespace_rows); row++)
        buf_put_lit(out, "|---");
    buf_put_lit(out, "|\n");
    for (size_t i = 0; i < set.count; i++) {
        struct namespace_draft draft = draft_of(&set.at[i]);
        buf_putf(out, "| `%s`", set.at[i].name);
        for (size_t row = 0; row < COUNT_OF(namespace_rows); row++) {
            buf_put_lit(out, " | ");
            value_put(&namespace_rows[row], &draft, out);
        }
        buf_put_lit(out, " |\n");
    }
}

static void uplink_print_docs(struct buf *out)
{
    buf_putf(out, "\n## [backend NAME]\n\nAn ordinary HTTP service that requests and uploads of clients are carried to "
             "([for its authors](uplink.md)), at most %d of them. Five calls in a row that fail at one of its addresses (no "
             "connection, no answer in time, no HTTP, 5xx) leave this address out for 1 s, then for twice as long, up to 30 s. "
             "They stand only in the file, as do the next three. A change takes a reload.\n\n", BACKENDS_MAX);
    rows_print_docs(backend_rows, BACKEND_ROW_COUNT, out);
    buf_putf(out, "\n## [uplink NAME]\n\nRequests of clients that a back end answers, at most %d sections. The first one "
             "counts whose method and path match. A change takes a reload.\n\n", UPLINKS_MAX);
    rows_print_docs(uplink_rows, UPLINK_ROW_COUNT, out);
    buf_putf(out, "\n## [webhook NAME]\n\nWhere events are sent, at most %d of them. A change takes a reload.\n\n", WEBHOOKS_MAX);
    rows_print_docs(webhook_rows, WEBHOOK_ROW_COUNT, out);
    buf_put_lit(out, "\n## [events]\n\nWhich events can be read in `sys:events/N`. A change takes a reload.\n\n");
    rows_print_docs(events_rows, EVENTS_ROW_COUNT, out);
    buf_putf(out, "\n## [tls NAME]\n\nA certificate for `https` and `tcps`, at most %d of them ([TLS](tls.md)). A client gets the one that has the "
             "name it asks for, else the first. A change takes a reload.\n\n", TLS_SECTIONS_MAX);
    rows_print_docs(tls_rows, TLS_ROW_COUNT, out);
}

void section_print_docs(struct buf *out)
{
    buf_putf(out, "\n## [key NAME]\n\nAn API key, at most %d of them. Keys stand only in the file: too many "
             "programs can read flags and environments. A change takes a reload.\n\n", KEYS_MAX);
    rows_print_docs(key_rows, COUNT_OF(key_rows), out);
    buf_putf(out, "\n## [jwt NAME]\n\nAn issuer of tokens for users, at most %d of them ([who may what](http-api.md)). "
             "They stand only in the file. A change takes a reload.\n\n", ISSUERS_MAX);
    rows_print_docs(jwt_rows, JWT_ROW_COUNT, out);
    buf_put_lit(out, "\n## [tickets]\n\nThe secret that signs [tickets](protocol.md#10-sessions). Without this section the server makes "
                     "one of its own and keeps it with the log. A change takes a restart, and then the tickets that are out "
                     "are refused: devices come with their tokens.\n\n");
    rows_print_docs(ticket_rows, COUNT_OF(ticket_rows), out);
    buf_put_lit(out, "\n## [connect_hook]\n\nThe application is asked who connects, where neither a key nor an issuer knows "
                "it ([who may what](http-api.md)). It stands only in the file. A change takes a reload.\n\n");
    rows_print_docs(hook_rows, HOOK_ROW_COUNT, out);
    uplink_print_docs(out);
    buf_putf(out, "\n## [namespace NAME]\n\nThe policy of a namespace, built in or new, at most %d together; a new one "
             "starts with the policy of `topic`. Another durability brings the retention that fits it: 7 days for "
             "durable, the last %d messages or 5 minutes for memory. A change takes a restart.\n\n",
             NAMESPACES_MAX, RING_COUNT);
    rows_print_docs(namespace_rows, COUNT_OF(namespace_rows), out);
    buf_put_lit(out, "\nBuilt in:\n");
    built_in_print_docs(out);
}
