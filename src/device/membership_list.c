/* membership_list.c - a page of a group's members, or of a user's groups. */
#include <stdlib.h>

#include "base/must.h"
#include "device/membership.h"

enum { LIST_BYTES = 1024 * 1024 };

static struct membership_list *list_of(struct command *command)
{
    return container_of(command, struct membership_list, command);
}

static void list_free(struct command *command)
{
    struct membership_list *list = list_of(command);

    ledger_read_fini(&list->read);
    channel_name_unref(list->of);
    free(list);
}

static void list_read_done(struct ledger_read *read)
{
    struct membership_list *list = container_of(read, struct membership_list, read);

    list->writer->port->post(list->writer->ctx, &list->command);
}

static void list_answer(struct membership_list *list, struct writer *writer, enum rc rc)
{
    list->rc = rc;
    writer->port->send(writer->ctx, list->command.loop, &list->command);
}

static void list_at_writer(struct command *command, struct writer *writer)
{
    struct membership_list *list   = list_of(command);
    struct ledger          *ledger = writer->durable.store->ledger;

    if (list->is_read) {
        must(writer->read_count > 0);
        writer->read_count--;
        list_answer(list, writer, list->read.rc);
    } else if (ledger == NULL) {
        list_answer(list, writer, RC_IO);
    } else {
        list->is_read   = true;
        list->writer    = writer;
        list->read.wall = writer->wall;
        writer->read_count++;
        ledger->ops->read(ledger, &list->read);
    }
}

static void list_at_loop(struct command *command, struct shard *shard)
{
    struct membership_list *list = list_of(command);

    shard_end_question(shard);
    list->answered(list);
}

static const struct command_kind membership_list_kind = {
    .name = "membership list", .free = list_free, .at_loop = list_at_loop, .at_writer = list_at_writer,
};

struct membership_list *membership_list_new(struct channel_name *of, bool is_of_group, struct span after,
                                            uint32_t limit)
{
    struct membership_list *list = calloc(1, sizeof *list);

    must(list != NULL && limit >= 1 && limit <= MEMBERSHIP_LIST_MAX && after.len <= LEDGER_KEY_BYTES_MAX / 2);
    list->command.kind = &membership_list_kind;
    list->of           = channel_name_ref(of);
    list->is_of_group  = is_of_group;
    list->read         = (struct ledger_read){
                .way       = LEDGER_SCAN,
                .kind      = is_of_group ? ROW_MEMBER : ROW_GROUP,
                .prefix    = member_prefix(channel_own_name(of), list->prefix),
                .after     = after.len == 0 ? SPAN("") : group_key(channel_own_name(of), after, list->after),
                .limit     = limit,
                .bytes_max = LIST_BYTES,
                .done      = list_read_done,
    };
    return list;
}

void shard_list_membership(struct shard *shard, struct membership_list *list)
{
    shard_ask_question(shard, &list->command);
}

bool membership_list_next(const struct membership_list *list, size_t *at, struct span *ret_name)
{
    struct group_spans spans;

    while (*at < list->read.row_count) {
        const struct ledger_row *row = &list->read.rows[(*at)++];
        if (!list->is_of_group && (!group_spans_get(row->value, &spans) || !group_spans_is_member(&spans)))
            continue;
        *ret_name = member_key_tail(row->key);
        return true;
    }
    return false;
}

struct span membership_list_more(const struct membership_list *list)
{
    return list->read.next.len == 0 ? SPAN("") : member_key_tail(list->read.next);
}
