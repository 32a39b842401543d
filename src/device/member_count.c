#include "device/member_count.h"

#include <stdlib.h>

#include "base/must.h"

enum { COUNT_PAGE_BYTES = 512 * 1024 };

static struct member_count *count_of(const struct map_node *node)
{
    return container_of((struct map_node *)(uintptr_t)node, struct member_count, node);
}

static void member_count_free(struct member_count *count)
{
    must(!count->is_reading && count->waiting == NULL);
    buf_fini(&count->from);
    channel_name_unref(count->of);
    free(count);
}

static void counts_drop(struct member_counts *counts, struct member_count *count)
{
    map_take(&counts->map, &count->node);
    list_take(&count->recent);
    member_count_free(count);
}

void member_counts_init(struct member_counts *counts)
{
    map_init(&counts->map);
    list_init(&counts->recent);
}

void member_counts_fini(struct member_counts *counts)
{
    while (!list_is_empty(&counts->recent))
        counts_drop(counts, container_of(counts->recent.next, struct member_count, recent));
    map_fini(&counts->map);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void count_read_done(struct ledger_read *read)
{
    struct member_count *count = container_of(read, struct member_count, read);

    count->writer->port->post(count->writer->ctx, &count->command);
}

static void count_read_page(struct member_count *count)
{
    struct ledger *ledger = count->writer->durable.store->ledger;

    count->read = (struct ledger_read){
        .way       = LEDGER_SCAN,
        .kind      = (uint8_t)count->kind,
        .prefix    = member_prefix(channel_own_name(count->of), count->prefix),
        .after     = buf_span(&count->from),
        .limit     = LEDGER_READ_COUNT_MAX,
        .bytes_max = COUNT_PAGE_BYTES,
        .wall      = count->writer->wall,
        .done      = count_read_done,
    };
    count->writer->read_count++;
    ledger->ops->read(ledger, &count->read);
}

static uint64_t count_rows(const struct member_count *count)
{
    struct group_spans spans;
    uint64_t           found = 0;

    if (count->kind == ROW_MEMBER)
        return count->read.row_count;
    for (size_t i = 0; i < count->read.row_count; i++)
        found += group_spans_get(count->read.rows[i].value, &spans) && group_spans_is_member(&spans);
    return found;
}

static void count_wake(struct member_count *count)
{
    struct mail *mail = mail_oldest_first(count->waiting);

    count->waiting = NULL;
    while (mail != NULL) {
        struct command *command = command_of(mail);
        mail                    = mail->next;
        command->kind->at_writer(command, count->writer);
    }
}

static void count_take_page(struct command *command, struct writer *writer)
{
    struct member_count *count = container_of(command, struct member_count, command);
    struct ledger_read  *read  = &count->read;

    must(writer->read_count > 0);
    writer->read_count--;
    bool is_good = read->rc == RC_OK, has_more = is_good && read->next.len > 0;
    if (is_good)
        count->count += count_rows(count);
    buf_clear(&count->from);
    if (has_more)
        buf_put(&count->from, read->next);
    ledger_read_fini(read);
    if (has_more) {
        count_read_page(count);
        return;
    }
    count->is_reading = false;
    count->is_known   = is_good;
    count->read_at    = writer->wall;
    count_wake(count);
}

static void count_never_free(struct command *command)
{
    (void)command;
    must(!"a count takes back what it lent to the ledger");
}

static const struct command_kind count_page_kind = {
    .name = "member count", .free = count_never_free, .at_writer = count_take_page,
};

static void count_begin(struct member_count *count, struct writer *writer)
{
    count->writer     = writer;
    count->count      = 0;
    count->is_known   = false;
    count->is_reading = true;
    buf_clear(&count->from);
    count_read_page(count);
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static bool count_is(const struct map_node *node, const void *of)
{
    return channel_name_eq(count_of(node)->of, of);
}

static struct member_count *counts_find(const struct member_counts *counts, const struct channel_name *of)
{
    struct map_node *node = map_find(&counts->map, of->hash, count_is, of);

    return node == NULL ? NULL : count_of(node);
}

static void counts_trim(struct member_counts *counts)
{
    struct list *link = counts->recent.next;

    while (counts->map.count >= MEMBER_COUNTS_MAX && link != &counts->recent) {
        struct member_count *count = container_of(link, struct member_count, recent);
        link                       = link->next;
        if (!count->is_reading && count->waiting == NULL)
            counts_drop(counts, count);
    }
}

static struct member_count *counts_get(struct member_counts *counts, struct channel_name *of, enum row_kind kind)
{
    struct member_count *count = counts_find(counts, of);

    if (count == NULL) {
        counts_trim(counts);
        count = calloc(1, sizeof *count);
        must(count != NULL);
        count->command.kind = &count_page_kind;
        count->counts       = counts;
        count->of           = channel_name_ref(of);
        count->kind         = kind;
        buf_init(&count->from, LEDGER_KEY_BYTES_MAX);
        map_add(&counts->map, &count->node, of->hash);
    }
    list_take(&count->recent);
    list_push(&counts->recent, &count->recent);
    return count;
}

enum member_count_answer member_count_look(struct member_counts *counts, struct writer *writer,
                                           struct channel_name *of, enum row_kind kind, uint64_t max,
                                           struct command *command)
{
    struct member_count *count = counts_get(counts, of, kind);

    if (count->is_known && count->count < max)
        return MEMBER_COUNT_ROOM;
    if (count->is_known && writer->wall - count->read_at < MEMBER_COUNT_FRESH_MS && writer->wall >= count->read_at)
        return MEMBER_COUNT_FULL;
    command->mail.next = count->waiting;
    count->waiting     = &command->mail;
    if (!count->is_reading)
        count_begin(count, writer);
    return MEMBER_COUNT_LATER;
}

void member_count_move(struct member_counts *counts, const struct channel_name *of, int by)
{
    struct member_count *count = counts_find(counts, of);

    if (count == NULL || (!count->is_known && !count->is_reading))
        return;
    if (by > 0)
        count->count++;
    else if (count->count > 0)
        count->count--;
}
