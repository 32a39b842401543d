#include "store/recent_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

void recent_rows_fini(struct recent_rows *rows)
{
    free(rows->at);
    rows->at = NULL;
}

static struct recent_row *place_of(const struct recent_rows *rows, uint64_t hash)
{
    return &rows->at[hash % RECENT_ROWS_MAX];
}

static bool is_recent_row(const struct recent_row *row, const struct ledger_key *key)
{
    return row->kind == key->kind && span_eq(span_of(row->bytes, row->len), key->bytes);
}

/* An older version of a row whose key is too long never stands here, so nothing is to be taken out. */
void recent_rows_note(struct recent_rows *rows, uint64_t hash, const struct ledger_key *key, uint64_t generation, msec expires_at)
{
    if (key->bytes.len > RECENT_KEY_BYTES_MAX)
        return;
    if (rows->at == NULL)
        rows->at = calloc(RECENT_ROWS_MAX, sizeof rows->at[0]);
    must(rows->at != NULL && key->kind != 0);
    struct recent_row *row = place_of(rows, hash);
    row->generation        = generation;
    row->expires_at        = expires_at;
    row->kind              = key->kind;
    row->len               = (uint8_t)key->bytes.len;
    memcpy(row->bytes, key->bytes.at, key->bytes.len);
}

const struct recent_row *recent_rows_find(const struct recent_rows *rows, uint64_t hash, const struct ledger_key *key)
{
    if (rows->at == NULL)
        return NULL;
    const struct recent_row *row = place_of(rows, hash);
    return is_recent_row(row, key) ? row : NULL;
}

void recent_rows_forget(struct recent_rows *rows)
{
    if (rows->at != NULL)
        memset(rows->at, 0, RECENT_ROWS_MAX * sizeof rows->at[0]);
}
