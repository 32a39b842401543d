#include "store/store.h"

#include <stdlib.h>

#include "base/must.h"

enum { APPEND_KEY_BYTES_MAX = 255, APPEND_PUBLISHER_BYTES_MAX = 1024 };

void append_check(const struct append *append)
{
    const struct message *message = append->message;

    must(message->kind == MESSAGE_PLAIN || message->kind == MESSAGE_RECALL);
    must(message->seq == 0 && message->id == 0);
    must(append->key.len <= APPEND_KEY_BYTES_MAX);
    must(append->publisher.len <= APPEND_PUBLISHER_BYTES_MAX);
}

void store_read_check(const struct store_read *read)
{
    must(read->done != NULL);
    must(read->limit <= READ_ENTRIES_MAX);
    must(read->since >= 0 && read->until >= 0 && read->until < INT64_MAX && read->end == 0);
    must(read->since == 0 || read->way == READ_AFTER);
}

void store_read_fini(struct store_read *read)
{
    for (size_t i = 0; read->entries != NULL && i < read->entry_count; i++)
        message_unref(read->entries[i].message);
    free(read->entries);
    read->entries     = NULL;
    read->entry_count = 0;
}
