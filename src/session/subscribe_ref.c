/* subscribe_ref.c - the refs of subscribe commands, until their channels have answered. */
#include <stdlib.h>

#include "base/must.h"
#include "session/client.h"

void client_keep_ref(struct client *client, const struct reader_sub *sub, struct span text)
{
    if (text.len == 0)
        return;
    struct subscribe_ref *ref = calloc(1, sizeof *ref + text.len + 1);
    must(ref != NULL);
    ref->sub = sub;
    memcpy(ref->text, text.at, text.len);
    list_push(&client_get_work(client)->refs, &ref->in_work);
}

struct subscribe_ref *client_take_ref(struct client *client, const struct reader_sub *sub)
{
    if (client->work == NULL)
        return NULL;
    for (struct list *at = client->work->refs.next; at != &client->work->refs; at = at->next) {
        struct subscribe_ref *ref = container_of(at, struct subscribe_ref, in_work);
        if (ref->sub != sub)
            continue;
        list_take(at);
        return ref;
    }
    return NULL;
}
