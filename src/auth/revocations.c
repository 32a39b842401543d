#include "auth/revocations.h"

#include <stdlib.h>

#include "base/must.h"

struct revocation_row {
    struct map_node   in_map;
    struct list       in_all;
    uint64_t          second;
    enum revoked_kind kind;
    uint16_t          len;
    char              name[];
};

static const char *const kind_texts[REVOKED_KIND_COUNT] = {
    [REVOKED_USER] = "user", [REVOKED_DEVICE] = "device", [REVOKED_JTI] = "jti", [REVOKED_CONNECTION] = "connection",
};

const char *revoked_kind_text(enum revoked_kind kind)
{
    must(kind < REVOKED_KIND_COUNT);
    return kind_texts[kind];
}

bool revoked_kind_read(struct span text, enum revoked_kind *ret)
{
    for (int kind = 0; kind < REVOKED_KIND_COUNT; kind++) {
        if (!span_eq(text, span_str(kind_texts[kind])))
            continue;
        *ret = (enum revoked_kind)kind;
        return true;
    }
    return false;
}

void revocations_init(struct revocations *revocations, const struct hash_key *key)
{
    *revocations = (struct revocations){ .key = key };
    map_init(&revocations->map);
    list_init(&revocations->all);
}

static void revocation_row_free(struct revocations *revocations, struct revocation_row *row)
{
    map_take(&revocations->map, &row->in_map);
    list_take(&row->in_all);
    revocations->count--;
    free(row);
}

void revocations_fini(struct revocations *revocations)
{
    while (!list_is_empty(&revocations->all))
        revocation_row_free(revocations, container_of(revocations->all.next, struct revocation_row, in_all));
    map_fini(&revocations->map);
}

/* --- finding ------------------------------------------------------------------------------------------------- */

/* A device is looked for by the two parts of its name. */
struct revocation_key {
    enum revoked_kind kind;
    struct span       name, device;  /* device empty: `name` is all */
};

static bool row_has_key(const struct map_node *node, const void *key)
{
    const struct revocation_row *row  = container_of(node, struct revocation_row, in_map);
    const struct revocation_key *want = key;
    struct span                  name = span_of(row->name, row->len);

    if (row->kind != want->kind || !span_starts(name, want->name))
        return false;
    struct span rest = span_skip(name, want->name.len);
    if (want->device.len == 0)
        return rest.len == 0;
    return rest.len == 1 + want->device.len && rest.at[0] == '/' && span_eq(span_skip(rest, 1), want->device);
}

static uint64_t revocation_key_hash(const struct revocations *revocations, const struct revocation_key *key)
{
    char     text[2 * REVOKED_NAME_BYTES_MAX + 2];
    size_t   len = 0;

    must(key->name.len <= REVOKED_NAME_BYTES_MAX && key->device.len <= REVOKED_NAME_BYTES_MAX);
    text[len++] = (char)key->kind;
    memcpy(text + len, key->name.at, key->name.len);
    len += key->name.len;
    if (key->device.len > 0) {
        text[len++] = '/';
        memcpy(text + len, key->device.at, key->device.len);
        len += key->device.len;
    }
    return hash_bytes(revocations->key, span_of(text, len));
}

static struct revocation_row *find_row(const struct revocations *revocations, const struct revocation_key *key)
{
    struct map_node *node = map_find(&revocations->map, revocation_key_hash(revocations, key), row_has_key, key);
    return node == NULL ? NULL : container_of(node, struct revocation_row, in_map);
}

/* --- changing ------------------------------------------------------------------------------------------------ */

static struct revocation_row *revocation_row_new(const struct revocation *revocation)
{
    struct revocation_row *row = calloc(1, sizeof *row + revocation->name.len);

    must(row != NULL);
    row->kind   = revocation->kind;
    row->len    = (uint16_t)revocation->name.len;
    row->second = revocation->second;
    memcpy(row->name, revocation->name.at, revocation->name.len);
    return row;
}

void revocations_add(struct revocations *revocations, const struct revocation *revocation)
{
    struct revocation_key  key = { revocation->kind, revocation->name, SPAN("") };
    struct revocation_row *row = find_row(revocations, &key);

    must(revocation->name.len > 0 && revocation->name.len <= REVOKED_NAME_BYTES_MAX);
    if (row != NULL && row->second >= revocation->second)
        return;
    if (row != NULL)
        revocation_row_free(revocations, row);
    row = revocation_row_new(revocation);
    map_add(&revocations->map, &row->in_map, revocation_key_hash(revocations, &key));
    list_push(&revocations->all, &row->in_all);
    revocations->count++;
}

void revocations_copy(struct revocations *revocations, const struct revocations *from)
{
    for (const struct list *at = from->all.next; at != &from->all; at = at->next) {
        const struct revocation_row *row = container_of(at, struct revocation_row, in_all);
        revocations_add(revocations, &(struct revocation){ row->kind, span_of(row->name, row->len), row->second });
    }
}

void revocations_forget(struct revocations *revocations, uint64_t second)
{
    while (!list_is_empty(&revocations->all)) {
        struct revocation_row *row = container_of(revocations->all.next, struct revocation_row, in_all);
        if (row->second > second)
            return;
        revocation_row_free(revocations, row);
    }
}

/* --- asking -------------------------------------------------------------------------------------------------- */

static bool is_refused_by(const struct revocations *revocations, enum revoked_kind kind, struct span name,
                          struct span device, uint64_t issued_at)
{
    struct revocation_key key = { kind, name, device };

    if (name.len == 0 || name.len > REVOKED_NAME_BYTES_MAX || device.len > REVOKED_NAME_BYTES_MAX)
        return false;
    const struct revocation_row *row = find_row(revocations, &key);
    return row != NULL && issued_at <= row->second;
}

bool revocations_refuse(const struct revocations *revocations, const struct revocable *what)
{
    const struct span none = SPAN("");

    if (revocations->count == 0)
        return false;
    return is_refused_by(revocations, REVOKED_USER, what->user, none, what->issued_at) ||
           (what->device.len > 0 &&
            is_refused_by(revocations, REVOKED_DEVICE, what->user, what->device, what->issued_at)) ||
           is_refused_by(revocations, REVOKED_JTI, what->jti, none, what->issued_at) ||
           is_refused_by(revocations, REVOKED_CONNECTION, what->connection, none, what->issued_at);
}

static bool is_device(struct span name, const struct revocable *what)
{
    struct span user;

    return what->device.len > 0 && span_cut(&name, '/', &user) && span_eq(user, what->user) &&
           span_eq(name, what->device);
}

bool revocation_refuses(const struct revocation *revocation, const struct revocable *what)
{
    if (what->issued_at > revocation->second)
        return false;
    switch (revocation->kind) {
    case REVOKED_USER: return span_eq(revocation->name, what->user);
    case REVOKED_DEVICE: return is_device(revocation->name, what);
    case REVOKED_JTI: return span_eq(revocation->name, what->jti);
    case REVOKED_CONNECTION: return span_eq(revocation->name, what->connection);
    case REVOKED_KIND_COUNT: break;
    }
    return false;
}
