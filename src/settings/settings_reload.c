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
    return one->rights == other->rights && strcmp(one->secret, other->secret) == 0;
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
    if (settings->key_count > 0 && fresh->key_count == 0) {
        buf_put_lit(why, "there is no [key] any more, so that everyone would be let in; only a restart does that");
        return false;
    }
    each_setting_reload(settings, fresh, changed, kept, why);
    keys_reload(settings, fresh, changed);
    namespaces_compare(settings, fresh, kept);
    /* A setting that waits for a restart may not fit one that has changed. */
    return settings_finish(settings, why);
}
