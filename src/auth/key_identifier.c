#include "auth/key_identifier.h"

#include "base/must.h"

/* Takes as long for a wrong key as for the right one (threat 103). */
static bool secret_is(const char *secret, struct span token)
{
    size_t        len  = strlen(secret);
    unsigned char diff = len != token.len;

    for (size_t i = 0; i < token.len; i++)
        diff |= (unsigned char)(secret[i % (len + 1)] ^ token.at[i]);
    return diff == 0;
}

/* NULL: no key has this secret. */
static struct identity *find_holder(const struct key_identifier *keys, struct span token)
{
    struct identity *found = NULL;

    for (size_t i = 0; i < keys->settings->key_count; i++)
        if (secret_is(keys->settings->keys[i].secret, token))
            found = keys->holders[i];
    return found;
}

static bool key_look(struct identifier *identifier, const struct credential *credential, struct identified *ret)
{
    const struct key_identifier *keys  = container_of(identifier, struct key_identifier, identifier);
    struct identity             *found = NULL;

    if (keys->settings->key_count == 0 || credential->kind == CREDENTIAL_NONE)
        found = keys->nobody;
    else if (credential->kind == CREDENTIAL_TOKEN)
        found = find_holder(keys, credential->token);
    if (found != NULL)
        ret->identity = identity_ref(found);
    else
        ret->refusal = (struct verdict){ 401, "this API key is not known here" };
    return true;
}

static void key_begin(struct identifier *identifier, struct identification *identification,
                      const struct credential *credential)
{
    (void)identifier, (void)identification, (void)credential;
    must(!"keys are known at once");
}

static void key_cancel(struct identifier *identifier, struct identification *identification)
{
    (void)identifier, (void)identification;
    must(!"keys are known at once");
}

static const struct identifier_ops key_ops = { .look = key_look, .begin = key_begin, .cancel = key_cancel };

static struct identity *nobody_new(const struct settings *settings)
{
    return identity_new("", settings->key_count == 0 ? KEY_RIGHTS_ALL : 0);
}

void key_identifier_init(struct key_identifier *keys, struct wheel *wheel, const struct identifier_limits *limits,
                         const struct settings *settings)
{
    *keys = (struct key_identifier){ .settings = settings, .nobody = nobody_new(settings) };
    identifier_init(&keys->identifier, &key_ops, wheel, limits);
    for (size_t i = 0; i < settings->key_count; i++)
        keys->holders[i] = identity_new(settings->keys[i].name, settings->keys[i].rights);
}

void key_identifier_fini(struct key_identifier *keys)
{
    identifier_fini(&keys->identifier);
    for (size_t i = 0; i < keys->settings->key_count; i++)
        identity_unref(keys->holders[i]);
    identity_unref(keys->nobody);
}

static bool key_is_kept(const struct api_key *before, const struct api_key *now)
{
    return strcmp(before->name, now->name) == 0 && strcmp(before->secret, now->secret) == 0 &&
           (before->rights & ~now->rights) == 0;
}

/* Moves the identity that this key had out of keys->holders; NULL: it had none. */
static struct identity *take_holder(struct key_identifier *keys, const struct api_key *key)
{
    for (size_t i = 0; i < keys->settings->key_count; i++) {
        struct identity *holder = keys->holders[i];
        if (holder == NULL || !key_is_kept(&keys->settings->keys[i], key))
            continue;
        keys->holders[i] = NULL;
        holder->rights   = key->rights;
        return holder;
    }
    return NULL;
}

void key_identifier_adopt(struct key_identifier *keys, const struct settings *settings)
{
    struct identity *holders[KEYS_MAX] = { NULL };

    must(settings->key_count <= KEYS_MAX);
    for (size_t i = 0; i < settings->key_count; i++) {
        struct identity *kept = take_holder(keys, &settings->keys[i]);
        holders[i] = kept != NULL ? kept : identity_new(settings->keys[i].name, settings->keys[i].rights);
    }
    for (size_t i = 0; i < keys->settings->key_count; i++)
        if (keys->holders[i] != NULL)
            identity_revoke(keys->holders[i]);
    memcpy(keys->holders, holders, sizeof holders);
    if ((keys->settings->key_count == 0) != (settings->key_count == 0)) {
        identity_revoke(keys->nobody);
        keys->nobody = nobody_new(settings);
    }
    keys->settings = settings;
}
