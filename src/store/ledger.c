#include "store/ledger.h"

#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_rule.h"

void ledger_read_fini(struct ledger_read *read)
{
    free(read->rows);
    free(read->bytes);
    read->rows      = NULL;
    read->bytes     = NULL;
    read->row_count = 0;
    read->next      = (struct span){ 0 };
}

void ledger_write_fini(struct ledger_write *write)
{
    free((void *)(uintptr_t)write->now.value.at);
    write->now = (struct ledger_row){ 0 };
}

void ledger_write_refuse(struct ledger_write *write, size_t at, uint64_t generation, msec expires_at,
                         struct span value)
{
    char *copy = malloc(value.len + 1);

    must(copy != NULL);
    if (value.len > 0)
        memcpy(copy, value.at, value.len);
    write->outcome  = LEDGER_STALE;
    write->stale_at = at;
    write->now      = (struct ledger_row){
             .key = write->changes[at].key.bytes, .value = span_of(copy, value.len), .generation = generation,
             .expires_at = expires_at,
    };
}

/* --- maxima ----------------------------------------------------------------------------------------------------- */

static void key_check(const struct ledger_key *key)
{
    must(key->kind != 0);
    must(key->bytes.len > 0 && key->bytes.len <= LEDGER_KEY_BYTES_MAX);
}

static bool change_is_put(const struct ledger_change *change)
{
    return change->op == LEDGER_PUT || change->op == LEDGER_RAISE;
}

static size_t write_check(const struct ledger_write *write, bool is_carried)
{
    size_t bytes = 0;

    must(write->count > 0 && write->count <= LEDGER_WRITE_COUNT_MAX);
    for (size_t i = 0; i < write->count; i++) {
        const struct ledger_change *change = &write->changes[i];
        key_check(&change->key);
        must(change->value.len <= LEDGER_VALUE_BYTES_MAX);
        must(is_carried || !change->takes_seq);
        must(change->is_conditional || !change->is_sure);
        must(!change_is_put(change) || change->takes_seq || change->generation != 0);
        bytes += ledger_change_bytes(change);
    }
    return bytes;
}

void ledger_carried_check(const struct ledger_write *write)
{
    write_check(write, true);
}

void ledger_batch_check(const struct ledger_batch *batch)
{
    size_t count = 0, bytes = 0;

    for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
        const struct ledger_write *write = container_of(link, struct ledger_write, link);
        bytes += write_check(write, false);
        count += write->count;
    }
    must(count == batch->change_count);
    must(count <= LEDGER_BATCH_COUNT_MAX && bytes <= LEDGER_BATCH_BYTES_MAX);
}

void ledger_read_check(const struct ledger_read *read)
{
    if (read->way == LEDGER_GET) {
        must(read->key_count <= LEDGER_READ_COUNT_MAX);
        for (size_t i = 0; i < read->key_count; i++)
            key_check(&read->keys[i]);
    } else {
        must(read->kind != 0 && read->limit > 0 && read->limit <= LEDGER_READ_COUNT_MAX);
        must(read->prefix.len <= LEDGER_KEY_BYTES_MAX && read->after.len <= LEDGER_KEY_BYTES_MAX);
    }
}
