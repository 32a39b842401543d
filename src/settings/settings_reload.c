/* A reload: which settings of the configuration that was read again replace those in force. */
#include "base/must.h"
#include "settings/section.h"
#include "settings/settings_priv.h"

static void name_add(struct buf *list, const char *kind, const char *name, const char *what)
{
    buf_putf(list, "%s%s%s%s", list->len == 0 ? "" : ", ", kind, name, what);
}

/* --- settings ------------------------------------------------------------------------------------------------ */

static void setting_take_over(struct settings *settings, enum setting setting, struct span value,
                              const struct settings *fresh, struct buf *why)
{
    must(settings_set(settings, setting, value, why));  /* it was accepted when it was read */
    settings->source_of[setting] = fresh->source_of[setting];
    settings->line_of[setting]   = fresh->line_of[setting];
}

static void each_setting_reload(struct settings *settings, const struct settings *fresh, struct buf *changed,
                                struct buf *kept, struct buf *why)
{
    struct buf old, new;

    buf_init(&old, sizeof *settings);
    buf_init(&new, sizeof *settings);
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        buf_clear(&old);
        buf_clear(&new);
        setting_print(settings, setting, &old);
        setting_print(fresh, setting, &new);
        if (span_eq(buf_span(&old), buf_span(&new)))
            continue;
        name_add(setting_is_reloadable(setting) ? changed : kept, "", setting_name(setting), "");
        if (setting_is_reloadable(setting))
            setting_take_over(settings, setting, buf_span(&new), fresh, why);
    }
    buf_fini(&old);
    buf_fini(&new);
}

/* --- keys ---------------------------------------------------------------------------------------------------- */

static const struct api_key *key_find(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->key_count; i++)
        if (strcmp(settings->keys[i].name, name) == 0)
            return &settings->keys[i];
    return NULL;
}

static bool key_is_like(const struct api_key *one, const struct api_key *other)
{
    return one->rights == other->rights && strcmp(one->secret, other->secret) == 0 &&
           strcmp(one->channels, other->channels) == 0;
}

static void keys_reload(struct settings *settings, const struct settings *fresh, struct buf *changed)
{
    for (size_t i = 0; i < settings->key_count; i++) {
        const struct api_key *key   = &settings->keys[i];
        const struct api_key *other = key_find(fresh, key->name);
        if (other == NULL)
            name_add(changed, "key ", key->name, " removed");
        else if (!key_is_like(key, other))
            name_add(changed, "key ", key->name, " changed");
    }
    for (size_t i = 0; i < fresh->key_count; i++)
        if (key_find(settings, fresh->keys[i].name) == NULL)
            name_add(changed, "key ", fresh->keys[i].name, " added");
    memcpy(settings->keys, fresh->keys, sizeof settings->keys);
    settings->key_count = fresh->key_count;
}

/* --- issuers ------------------------------------------------------------------------------------------------- */

static const struct jwt_section *issuer_find(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->issuer_count; i++)
        if (strcmp(settings->issuers[i].name, name) == 0)
            return &settings->issuers[i];
    return NULL;
}

static struct span issuer_key_text(const struct settings *settings, const struct jwt_section *section)
{
    return span_of(settings->key_text + section->key_at, section->key_len);
}

static bool issuer_is_like(const struct settings *settings, const struct jwt_section *one, const struct settings *fresh,
                           const struct jwt_section *other)
{
    return one->source == other->source && strcmp(one->place, other->place) == 0 &&
           one->algorithms == other->algorithms && strcmp(one->issuer, other->issuer) == 0 &&
           strcmp(one->audience, other->audience) == 0 && one->leeway_s == other->leeway_s &&
           span_eq(issuer_key_text(settings, one), issuer_key_text(fresh, other));
}

static void issuers_reload(struct settings *settings, const struct settings *fresh, struct buf *changed)
{
    for (size_t i = 0; i < settings->issuer_count; i++) {
        const struct jwt_section *section = &settings->issuers[i];
        const struct jwt_section *other   = issuer_find(fresh, section->name);
        if (other == NULL)
            name_add(changed, "jwt ", section->name, " removed");
        else if (!issuer_is_like(settings, section, fresh, other))
            name_add(changed, "jwt ", section->name, " changed");
    }
    for (size_t i = 0; i < fresh->issuer_count; i++)
        if (issuer_find(settings, fresh->issuers[i].name) == NULL)
            name_add(changed, "jwt ", fresh->issuers[i].name, " added");
    memcpy(settings->issuers, fresh->issuers, sizeof settings->issuers);
    memcpy(settings->key_text, fresh->key_text, sizeof settings->key_text);
    settings->issuer_count = fresh->issuer_count;
    settings->key_text_len = fresh->key_text_len;
}

/* --- the hook ------------------------------------------------------------------------------------------------ */

static void hook_reload(struct settings *settings, const struct settings *fresh, struct buf *changed)
{
    if (!hook_is_like(&settings->hook, &fresh->hook))
        name_add(changed, "connect_hook", "", "");
    settings->hook = fresh->hook;
}

/* --- back ends, uplinks, webhooks, events --------------------------------------------------------------------- */

static bool webhook_is_like(const struct webhook_section *one, const struct webhook_section *other)
{
    return strcmp(one->url, other->url) == 0 && one->events == other->events && strcmp(one->secret, other->secret) == 0 &&
           one->timeout_s == other->timeout_s && one->retry_for_s == other->retry_for_s && one->batch == other->batch;
}

static bool backend_is_like(const struct backend_section *one, const struct backend_section *other)
{
    return strcmp(one->urls, other->urls) == 0 && one->protocol == other->protocol && one->timeout_s == other->timeout_s &&
           one->connect_timeout_s == other->connect_timeout_s && one->connections_max == other->connections_max &&
           one->requests_max == other->requests_max && one->retries == other->retries;
}

static bool uplink_is_like(const struct uplink_section *one, const struct uplink_section *other)
{
    return one->methods == other->methods && strcmp(one->path, other->path) == 0 &&
           strcmp(one->backend, other->backend) == 0 && one->delivery == other->delivery && one->allow == other->allow &&
           one->body_bytes_max == other->body_bytes_max && strcmp(one->headers, other->headers) == 0;
}

static void backends_reload(struct settings *settings, const struct settings *fresh, struct buf *changed)
{
    for (size_t i = 0; i < settings->backend_count; i++) {
        const struct backend_section *backend = &settings->backends[i];
        const struct backend_section *other   = settings_backend(fresh, span_str(backend->name));
        if (other == NULL)
            name_add(changed, "backend ", backend->name, " removed");
        else if (!backend_is_like(backend, other))
            name_add(changed, "backend ", backend->name, " changed");
    }
    for (size_t i = 0; i < fresh->backend_count; i++)
        if (settings_backend(settings, span_str(fresh->backends[i].name)) == NULL)
            name_add(changed, "backend ", fresh->backends[i].name, " added");
    memcpy(settings->backends, fresh->backends, sizeof settings->backends);
    settings->backend_count = fresh->backend_count;
}

static const struct uplink_section *uplink_find(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->uplink_count; i++)
        if (strcmp(settings->uplinks[i].name, name) == 0)
            return &settings->uplinks[i];
    return NULL;
}

/* Their order counts: the first one that matches is taken. */
static bool uplinks_moved(const struct settings *settings, const struct settings *fresh)
{
    const struct uplink_section *before = NULL;

    for (size_t i = 0; i < settings->uplink_count; i++) {
        const struct uplink_section *other = uplink_find(fresh, settings->uplinks[i].name);
        if (other == NULL)
            continue;
        if (before != NULL && other < before)
            return true;
        before = other;
    }
    return false;
}

static void uplinks_reload(struct settings *settings, const struct settings *fresh, struct buf *changed)
{
    for (size_t i = 0; i < settings->uplink_count; i++) {
        const struct uplink_section *uplink = &settings->uplinks[i];
        const struct uplink_section *other  = uplink_find(fresh, uplink->name);
        if (other == NULL)
            name_add(changed, "uplink ", uplink->name, " removed");
        else if (!uplink_is_like(uplink, other))
            name_add(changed, "uplink ", uplink->name, " changed");
    }
    for (size_t i = 0; i < fresh->uplink_count; i++)
        if (uplink_find(settings, fresh->uplinks[i].name) == NULL)
            name_add(changed, "uplink ", fresh->uplinks[i].name, " added");
    if (uplinks_moved(settings, fresh))
        name_add(changed, "order of the uplinks", "", "");
    memcpy(settings->uplinks, fresh->uplinks, sizeof settings->uplinks);
    settings->uplink_count = fresh->uplink_count;
}

static const struct webhook_section *webhook_find(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->webhook_count; i++)
        if (strcmp(settings->webhooks[i].name, name) == 0)
            return &settings->webhooks[i];
    return NULL;
}

static void webhooks_reload(struct settings *settings, const struct settings *fresh, struct buf *changed)
{
    for (size_t i = 0; i < settings->webhook_count; i++) {
        const struct webhook_section *webhook = &settings->webhooks[i];
        const struct webhook_section *other   = webhook_find(fresh, webhook->name);
        if (other == NULL)
            name_add(changed, "webhook ", webhook->name, " removed");
        else if (!webhook_is_like(webhook, other))
            name_add(changed, "webhook ", webhook->name, " changed");
    }
    for (size_t i = 0; i < fresh->webhook_count; i++)
        if (webhook_find(settings, fresh->webhooks[i].name) == NULL)
            name_add(changed, "webhook ", fresh->webhooks[i].name, " added");
    memcpy(settings->webhooks, fresh->webhooks, sizeof settings->webhooks);
    settings->webhook_count = fresh->webhook_count;
}

static void events_reload(struct settings *settings, const struct settings *fresh, struct buf *changed)
{
    if (settings->events.keep != fresh->events.keep)
        name_add(changed, "events", "", "");
    settings->events = fresh->events;
}

/* --- certificates --------------------------------------------------------------------------------------------- */

/* The first section is the default, so their order counts. What stands in the files is compared by who reads them. */
static void tls_reload(struct settings *settings, const struct settings *fresh, struct buf *changed)
{
    bool is_like = settings->tls_count == fresh->tls_count;

    for (size_t i = 0; i < settings->tls_count && is_like; i++)
        is_like = tls_section_is_like(&settings->tls[i], &fresh->tls[i]);
    if (!is_like)
        name_add(changed, "tls", "", "");
    memcpy(settings->tls, fresh->tls, sizeof settings->tls);
    settings->tls_count = fresh->tls_count;
}

/* --- namespaces ---------------------------------------------------------------------------------------------- */

static const struct namespace *namespace_of(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->namespaces.count; i++)
        if (strcmp(settings->namespaces.at[i].name, name) == 0)
            return &settings->namespaces.at[i];
    return NULL;
}

static void namespaces_compare(const struct settings *settings, const struct settings *fresh, struct buf *kept)
{
    for (size_t i = 0; i < settings->namespaces.count; i++) {
        const struct namespace *space = &settings->namespaces.at[i];
        const struct namespace *other = namespace_of(fresh, space->name);
        if (other == NULL || !namespace_is_like(space, other))
            name_add(kept, "namespace ", space->name, "");
    }
    for (size_t i = 0; i < fresh->namespaces.count; i++)
        if (namespace_of(settings, fresh->namespaces.at[i].name) == NULL)
            name_add(kept, "namespace ", fresh->namespaces.at[i].name, "");
}

/* --- all together -------------------------------------------------------------------------------------------- */

bool settings_reload(struct settings *settings, const struct settings *fresh, struct buf *changed, struct buf *kept,
                     struct buf *why)
{
    must(settings != fresh);
    /* CVE-2017-7652: a file that is empty or half written must not let everyone in. */
    if (!settings_are_open(settings) && settings_are_open(fresh)) {
        buf_put_lit(why, "there is no [key], [jwt] and [connect_hook] any more, so that everyone would be let in; only a restart does that");
        return false;
    }
    each_setting_reload(settings, fresh, changed, kept, why);
    keys_reload(settings, fresh, changed);
    issuers_reload(settings, fresh, changed);
    hook_reload(settings, fresh, changed);
    backends_reload(settings, fresh, changed);
    uplinks_reload(settings, fresh, changed);
    webhooks_reload(settings, fresh, changed);
    events_reload(settings, fresh, changed);
    tls_reload(settings, fresh, changed);
    namespaces_compare(settings, fresh, kept);
    /* A setting that waits for a restart may not fit one that has changed. */
    return settings_finish(settings, why);
}
