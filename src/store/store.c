#include "store/store.h"

#include <stdlib.h>

void store_read_fini(struct store_read *read)
{
    for (size_t i = 0; read->entries != NULL && i < read->entry_count; i++)
        message_unref(read->entries[i].message);
    free(read->entries);
    read->entries     = NULL;
    read->entry_count = 0;
}
