#include "auth/key_identifier.h"

#include "base/must.h"
#include "message/user_name.h"

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

/* A user by the certificate that an authority of the operator has signed. It is believed as long as a token would be that
 * was issued with this connection; revocations count from the day on which the certificate was. */
static void certified_look(const struct key_identifier *keys, const struct credential *credential, struct identified *ret)
{
    msec until = *keys->wall + keys->settings->token_life_s_max * 1000;

    if (!user_name_is_valid(credential->certified))
        ret->refusal = (struct verdict){ .status = 401, .reason = "the client's certificate names no user: " USER_NAMES_ARE };
    else
        ret->identity = identity_new(&(struct identity_facts){
            .user = credential->certified, .issued_at = credential->certified_from,
            .expires_at = credential->certified_until < until ? credential->certified_until : until,
        });
}

/* Who is asked nothing is who they say they are. */
static void open_look(const struct key_identifier *keys, const struct credential *credential, struct identified *ret)
{
    struct span device = credential->device;
    struct span user   = credential->certified.len > 0 ? credential->certified : credential->user;

    if (user.len == 0)
        ret->identity = identity_ref(keys->nobody);
    else if (!user_name_is_valid(user) || (device.len > 0 && !device_name_is_valid(device)))
        ret->refusal = (struct verdict){ .status = 400, .reason = USER_NAMES_ARE };
    else
        ret->identity = identity_new(&(struct identity_facts){
            .rights = KEY_RIGHTS_ALL, .is_open = true, .user = user, .device = device, .authority = keys->open,
        });
}

/* As long as nobody sent wrong ones, no address is asked for: to know it may take a system call. */
static msec slowed_for(const struct key_identifier *keys, const struct credential *credential)
{
    if (!wrong_secrets_are_any(&keys->usage->tables->wrong))
        return 0;
    const struct ip_address address = credential_address(credential);

    return usage_secret_wait(keys->usage, &address, *keys->wall);
}

static struct verdict refuse_who_guesses(struct key_identifier *keys, const struct credential *credential, msec wait_ms)
{
    const struct ip_address address = credential_address(credential);

    return (struct verdict){
        .status = usage_refuse_secret(keys->usage, &address, wait_ms).status,
        .reason = "too many wrong keys and tokens came from this address "
                  "(wrong_secrets_per_address_per_min); try again in a minute",
    };
}

/* True: *ret is a user, or why the token of a known issuer does not hold. */
static bool user_look(struct key_identifier *keys, const struct credential *credential, struct identified *ret)
{
    enum issuers_verdict verdict;

    ret->refusal = (struct verdict){ .status = 401, .reason = "this token is not known here" };
    if (credential->kind != CREDENTIAL_TOKEN || keys->issuers.count == 0 || !jwt_is_like(credential->token))
        return false;
    verdict          = issuers_identify(&keys->issuers, credential->token, *keys->wall, &ret->identity, &ret->refusal);
    ret->awaits_keys = verdict == ISSUERS_NO_KEY;
    ret->is_final    = keys->issuers.is_signed;
    return verdict == ISSUERS_KNOWN || verdict == ISSUERS_REFUSED;
}

void key_identifier_note_wrong(struct key_identifier *keys, uint64_t address)
{
    usage_note_wrong_secret(keys->usage, address, *keys->wall);
}

static void token_look(struct key_identifier *keys, const struct credential *credential, struct identified *ret)
{
    const msec       slowed = slowed_for(keys, credential);
    struct identity *holder = slowed > 0 || credential->kind != CREDENTIAL_TOKEN ? NULL
                                                                             : find_holder(keys, credential->token);
    if (holder != NULL)
        ret->identity = identity_ref(holder);
    else if (user_look(keys, credential, ret))
        return;
    else if (slowed > 0)
        ret->refusal = refuse_who_guesses(keys, credential, slowed);
    else if (!ret->awaits_keys && !keys->settings->hook.is_there)  /* the application may know the token: it is asked */
        key_identifier_note_wrong(keys, credential_customer(credential));
}

static bool key_look(struct identifier *identifier, const struct credential *credential, struct identified *ret)
{
    struct key_identifier *keys = container_of(identifier, struct key_identifier, identifier);

    if (keys->open != NULL) {
        open_look(keys, credential, ret);
        return true;
    }
    if (credential->kind == CREDENTIAL_NONE && credential->certified.len > 0)
        certified_look(keys, credential, ret);
    else if (credential->kind == CREDENTIAL_NONE)
        ret->identity = identity_ref(keys->nobody);
    else
        token_look(keys, credential, ret);
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

static void nobody_init(struct key_identifier *keys, const struct settings *settings)
{
    bool is_open = settings_are_open(settings);

    keys->open   = is_open ? authority_new(NULL) : NULL;
    keys->nobody = identity_new(&(struct identity_facts){ .rights = is_open ? KEY_RIGHTS_ALL : 0, .is_open = is_open,
                                                          .authority = keys->open });
}

static struct identity *holder_new(const struct api_key *key)
{
    struct grant grants[GRANTS_MAX];
    struct span  list  = span_str(key->channels), pattern;
    size_t       count = 0;

    while (span_cut(&list, ',', &pattern)) {
        must(count < GRANTS_MAX);
        grants[count++] = (struct grant){ span_trim(pattern), CAN_ALL };
    }
    return identity_new(&(struct identity_facts){ .key = span_str(key->name), .rights = key->rights, .grants = grants,
                                                  .grant_count = count });
}

void key_identifier_init(struct key_identifier *keys, struct wheel *wheel, const struct identifier_limits *limits,
                         const struct settings *settings, struct usage_limits *usage, const msec *wall)
{
    struct buf why;

    *keys = (struct key_identifier){ .settings = settings, .usage = usage, .wall = wall };
    buf_init(&why, 1024);
    must(issuers_init(&keys->issuers, settings, &why));
    buf_fini(&why);
    nobody_init(keys, settings);
    identifier_init(&keys->identifier, &key_ops, wheel, limits);
    for (size_t i = 0; i < settings->key_count; i++)
        keys->holders[i] = holder_new(&settings->keys[i]);
}

void key_identifier_fini(struct key_identifier *keys)
{
    identifier_fini(&keys->identifier);
    for (size_t i = 0; i < keys->settings->key_count; i++)
        identity_unref(keys->holders[i]);
    identity_unref(keys->nobody);
    authority_unref(keys->open);
    issuers_fini(&keys->issuers);
}

static bool key_is_kept(const struct api_key *before, const struct api_key *now)
{
    return strcmp(before->name, now->name) == 0 && strcmp(before->secret, now->secret) == 0 &&
           strcmp(before->channels, now->channels) == 0 && (before->rights & ~now->rights) == 0;
}

/* Moves the identity that this key had out of keys->holders; NULL: it had none. */
static struct identity *take_holder(struct key_identifier *keys, const struct api_key *key)
{
    for (size_t i = 0; i < keys->settings->key_count; i++) {
        struct identity *holder = keys->holders[i];
        if (holder == NULL || !key_is_kept(&keys->settings->keys[i], key))
            continue;
        keys->holders[i] = NULL;
        holder->rights   = (uint8_t)key->rights;
        return holder;
    }
    return NULL;
}

void key_identifier_adopt(struct key_identifier *keys, const struct settings *settings)
{
    struct identity *holders[KEYS_MAX] = { NULL };

    must(settings->key_count <= KEYS_MAX);
    issuers_adopt(&keys->issuers, settings);
    for (size_t i = 0; i < settings->key_count; i++) {
        struct identity *kept = take_holder(keys, &settings->keys[i]);
        holders[i] = kept != NULL ? kept : holder_new(&settings->keys[i]);
    }
    for (size_t i = 0; i < keys->settings->key_count; i++)
        if (keys->holders[i] != NULL)
            identity_revoke(keys->holders[i]);
    memcpy(keys->holders, holders, sizeof holders);
    if (settings_are_open(keys->settings) != settings_are_open(settings)) {
        identity_revoke(keys->nobody);
        if (keys->open != NULL)
            authority_revoke(keys->open);
        nobody_init(keys, settings);
    }
    keys->settings = settings;
}
