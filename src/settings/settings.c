#include "settings/settings_priv.h"

#include "base/must.h"
#include "settings/section_backend.h"

#define AT(name) #name, .offset = offsetof(struct settings, name)

const struct value_row setting_rows[SETTING_COUNT] = {
#define TEXT(name, def, bytes_max, takes, help_text) \
    { AT(name), .kind = VALUE_TEXT, .max = (bytes_max), .text = (def), .help = (help_text) },
#define CHOICE(name, type, def, all_words, takes, help_text) \
    { AT(name), .kind = VALUE_CHOICE, .number = (def), .words = (all_words), .help = (help_text) },
#define SWITCH(name, def, takes, help_text) { AT(name), .kind = VALUE_SWITCH, .number = (def), .help = (help_text) },
#define COUNT(name, def, least, most, takes, help_text) \
    { AT(name), .kind = VALUE_COUNT, .min = (least), .max = (most), .number = (def), .help = (help_text) },
#define BYTES(name, def, least, most, takes, help_text) \
    { AT(name), .kind = VALUE_BYTES, .min = (least), .max = (most), .number = (def), .help = (help_text) },
#define SECONDS(name, def, least, most, takes, help_text) \
    { AT(name), .kind = VALUE_SECONDS, .min = (least), .max = (most), .number = (def), .help = (help_text) },
#define MSECS(name, def, least, most, takes, help_text) \
    { AT(name), .kind = VALUE_MSECS, .min = (least), .max = (most), .number = (def), .help = (help_text) },
#include "settings/settings.def"
};

/* value.c copies choices as unsigned. */
#define CHOICE(name, type, def, words, takes, help) \
    _Static_assert(sizeof(type) == sizeof(unsigned), "an enum is as big as an unsigned");
#include "settings/settings.def"

void settings_init(struct settings *settings)
{
    struct buf text, why;
    buf_init(&text, sizeof settings->origins);
    buf_init(&why, 1024);

    memset(settings, 0, sizeof *settings);
    namespaces_init(&settings->namespaces);
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        buf_clear(&text);
        value_put_default(&setting_rows[setting], &text);
        must(settings_set(settings, setting, buf_span(&text), &why));
    }
    buf_fini(&text);
    buf_fini(&why);
}

void settings_fini(struct settings *settings)
{
    must(settings->key_count <= KEYS_MAX);
    explicit_bzero(settings->keys, sizeof settings->keys);
    explicit_bzero(settings->key_text, sizeof settings->key_text);
    explicit_bzero(settings->webhooks, sizeof settings->webhooks);
    explicit_bzero(settings->store, sizeof settings->store);
    explicit_bzero(settings->cluster, sizeof settings->cluster);
    settings->key_count    = 0;
    settings->issuer_count = 0;
    settings->webhook_count = 0;
}

bool setting_find(struct span name, enum setting *ret_setting)
{
    size_t found = value_find(setting_rows, SETTING_COUNT, name);
    if (found == SETTING_COUNT)
        return false;
    *ret_setting = (enum setting)found;
    return true;
}

const char *setting_name(enum setting setting)
{
    must(setting < SETTING_COUNT);
    return setting_rows[setting].name;
}

bool setting_is_switch(enum setting setting)
{
    must(setting < SETTING_COUNT);
    return setting_rows[setting].kind == VALUE_SWITCH;
}

bool setting_is_reloadable(enum setting setting)
{
    enum { TAKES_RESTART, TAKES_RELOAD };
    static const int rows[SETTING_COUNT] = {
#define SETTING(name, takes) [SETTING_##name] = TAKES_##takes,
#include "settings/settings.def"
    };
    must(setting < SETTING_COUNT);
    return rows[setting] == TAKES_RELOAD;
}

bool settings_set(struct settings *settings, enum setting setting, struct span value, struct buf *why)
{
    must(setting < SETTING_COUNT);
    const struct value_row *row = &setting_rows[setting];

    /* value_set() refuses what is no text at all. */
    if (row->kind == VALUE_TEXT && value_is_text(row, value) && !setting_text_accept(settings, setting, value, why))
        return false;
    return value_set(row, settings, value, why);
}

/* --- one setting against another ----------------------------------------------------------------------------- */

static bool all_are_loopback(const char *setting, const struct listen_address *listens, size_t count, struct buf *why)
{
    for (size_t i = 0; i < count; i++) {
        if (listens[i].is_loopback)
            continue;
        buf_putf(why,
                 "%s: %s can be reached from other machines, but neither an API key nor an issuer is configured, so that "
                 "anyone could publish; add a [key NAME] section to the configuration file, or listen on 127.0.0.1",
                 setting, listens[i].text);
        return false;
    }
    return true;
}

/* Threat 105: a server is not opened to the network because a line is missing. */
static bool network_has_keys(const struct settings *settings, struct buf *why)
{
    return !settings_are_open(settings) ||
           (all_are_loopback("http", settings->listens, settings->listen_count, why) &&
            all_are_loopback("tcp", settings->native_listens, settings->native_listen_count, why) &&
            all_are_loopback("https", settings->tls_listens, settings->tls_listen_count, why) &&
            all_are_loopback("tcps", settings->native_tls_listens, settings->native_tls_listen_count, why));
}

static bool tls_has_certificates(const struct settings *settings, struct buf *why)
{
    if (settings->tls_count > 0 || settings->tls_listen_count + settings->native_tls_listen_count == 0)
        return true;
    buf_putf(why, "%s: TLS needs a certificate; add a [tls NAME] section with `certificate` and `key` to the configuration file, "
             "or leave the setting empty", settings->tls_listen_count > 0 ? "https" : "tcps");
    return false;
}

static bool payloads_fit(const struct settings *settings, struct buf *why)
{
    for (size_t i = 0; i < settings->namespaces.count; i++) {
        const struct namespace *space = &settings->namespaces.at[i];
        if (space->payload_bytes_max <= settings->publish_waiting_bytes_max)
            continue;
        buf_putf(why, "[namespace %s]: payload_bytes_max must not be above publish_waiting_bytes_max, or its largest "
                 "messages could never be published", space->name);
        return false;
    }
    return true;
}

/* Nodes of a cluster have one truth. */
static bool cluster_has_store(const struct settings *settings, struct buf *why)
{
    if (settings->cluster_kind == CLUSTER_NONE || settings->store_kind == STORE_POSTGRES)
        return true;
    buf_put_lit(why, "cluster: the nodes of a cluster share a PostgreSQL store: set store = postgres://USER@HOST/DATABASE as "
                     "well, or leave `cluster` empty");
    return false;
}

bool settings_finish(struct settings *settings, struct buf *why)
{
    must(settings->listen_count <= LISTENS_MAX && settings->native_listen_count <= LISTENS_MAX);
    must(settings->origin_count <= ORIGINS_MAX);
    must(settings->namespaces.count <= NAMESPACES_MAX);
    if (settings->request_target_bytes_max > settings->request_head_bytes_max) {
        buf_put_lit(why, "request_target_bytes_max must not be above request_head_bytes_max: the target is a part "
                         "of the head");
        return false;
    }
    if (settings->poll_wait_s > settings->poll_wait_s_max) {
        buf_put_lit(why, "poll_wait_s must not be above poll_wait_s_max");
        return false;
    }
    if (settings->heartbeat_s_offered < settings->heartbeat_s_min ||
        settings->heartbeat_s_offered > settings->heartbeat_s_max) {
        buf_put_lit(why, "heartbeat_s_offered must not be below heartbeat_s_min or above heartbeat_s_max");
        return false;
    }
    return network_has_keys(settings, why) && tls_has_certificates(settings, why) && payloads_fit(settings, why) && cluster_has_store(settings, why) &&
           backends_are_there(settings, why);
}
