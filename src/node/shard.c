#include "node/shard.h"

#include <stdlib.h>

#include "base/must.h"

static void shard_send(struct shard *shard, struct command *command)
{
    command->loop = shard->loop;
    shard->port->send(shard->ctx, command);
}

static void shard_send_follow(struct shard *shard, enum command_kind kind, struct channel_name *name)
{
    struct follow_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind = kind;
    command->channel     = channel_name_ref(name);
    shard_send(shard, &command->command);
}

static void shard_on_follow(void *ctx, struct channel_name *name)
{
    shard_send_follow(ctx, COMMAND_FOLLOW, name);
}

static void shard_on_unfollow(void *ctx, struct channel_name *name)
{
    shard_send_follow(ctx, COMMAND_UNFOLLOW, name);
}

/* --- pages for subscriptions --- */

/* What the page's answer goes to: the subscription, and the hub that knows it. */
struct page_command {
    struct read_command   read;
    struct list          link;   /* in pages.wanted or pages.cold; in neither while it's away */
    struct shard        *shard;
    struct subscription *sub;    /* NULL: it ended meanwhile */
};

static struct page_command *page_of(struct list *link)
{
    return container_of(link, struct page_command, link);
}

static bool shard_may_ask_store(const struct shard *shard)
{
    return shard->pages.store_away < shard->limits.pages_store_away_max;
}

static void shard_send_page(struct shard *shard, struct page_command *page)
{
    page->read.source = shard_may_ask_store(shard) ? READ_TAIL_OR_STORE : READ_MEMORY;
    shard->pages.away++;
    shard->pages.store_away += page->read.source == READ_TAIL_OR_STORE;
    shard_read(shard, &page->read);
}

/* The cold ones go first: they have waited longer. */
static void shard_send_pages(struct shard *shard)
{
    struct pages *pages = &shard->pages;

    while (pages->away < shard->limits.pages_away_max && shard_may_ask_store(shard) && !list_is_empty(&pages->cold))
        shard_send_page(shard, page_of(list_pop(&pages->cold)));
    while (pages->away < shard->limits.pages_away_max && !list_is_empty(&pages->wanted))
        shard_send_page(shard, page_of(list_pop(&pages->wanted)));
}

static void shard_page_came(struct read_command *command)
{
    struct page_command *page    = container_of(command, struct page_command, read);
    struct store_read  *read    = &command->read;
    bool                is_cold = command->source == READ_MEMORY && read->rc == RC_BUSY;

    page->shard->pages.away--;
    page->shard->pages.store_away -= command->source == READ_TAIL_OR_STORE;
    if (is_cold && page->sub != NULL) {
        list_push(&page->shard->pages.cold, &page->link);
        return;
    }
    if (page->sub != NULL)
        subscription_read_done(page->sub, &page->shard->hub, read->epoch, read->head, &read->entries,
                               read->entry_count);
    command_free(&command->command);
}

static void shard_on_read(void *ctx, struct subscription *sub, uint64_t after, void **ret_ticket)
{
    struct shard       *shard = ctx;
    struct page_command *page  = calloc(1, sizeof *page);

    must(page != NULL);
    page->shard            = shard;
    page->sub              = sub;
    page->read.command.kind = COMMAND_READ;
    page->read.answered    = shard_page_came;
    page->read.read        = (struct store_read){
        .channel   = channel_name_ref(subscription_name(sub)),
        .way       = READ_AFTER,
        .bound     = after,
        .limit     = shard->limits.page_count_max,
        .bytes_max = shard->limits.page_bytes_max,
    };
    list_push(&shard->pages.wanted, &page->link);
    *ret_ticket = page;
}

static void shard_on_cancel(void *ctx, void *ticket)
{
    (void)ctx;
    struct page_command *page = ticket;

    page->sub = NULL;
    if (!list_is_linked(&page->link))
        return;  /* it finds nobody when it comes */
    list_take(&page->link);
    command_free(&page->read.command);
}

static void shard_on_ready(void *ctx, struct subscription *sub)
{
    struct shard *shard = ctx;
    shard->port->ready(shard->ctx, sub);
}

static const struct hub_port shard_hub_port = {
    .follow   = shard_on_follow,
    .unfollow = shard_on_unfollow,
    .read     = shard_on_read,
    .cancel   = shard_on_cancel,
    .ready    = shard_on_ready,
};

/* --- the door --- */

void shard_init(struct shard *shard, unsigned loop, const struct shard_port *port, void *ctx,
                const struct shard_limits *limits)
{
    *shard = (struct shard){ .port = port, .ctx = ctx, .limits = *limits, .loop = loop };
    hub_init(&shard->hub, &shard_hub_port, shard, &shard->limits.hub);
    list_init(&shard->pages.wanted);
    list_init(&shard->pages.cold);
}

void shard_fini(struct shard *shard)
{
    hub_fini(&shard->hub);
}

void shard_turn_begin(struct shard *shard, msec now, msec wall)
{
    shard->now         = now;
    shard->wall        = wall;
    shard->is_refusing = false;
}

void shard_publish(struct shard *shard, struct publish_command *command)
{
    size_t bytes = message_size(command->append.message);

    if (shard->publish_count >= shard->limits.publish_count_max ||
        shard->publish_bytes + bytes > shard->limits.publish_bytes_max)
        shard->is_refusing = true;
    if (shard->is_refusing) {
        counter_add(&shard->refused, 1);
        command->outcome = PUBLISH_BUSY;
        command->answered(command);
        return;
    }
    shard->publish_count++;
    shard->publish_bytes += bytes;
    shard->away_count++;
    shard_send(shard, &command->command);
}

void shard_read(struct shard *shard, struct read_command *command)
{
    shard->away_count++;
    command->read.wall = shard->wall;
    shard_send(shard, &command->command);
}

void shard_ask_stats(struct shard *shard, struct stats_command *command)
{
    shard->away_count++;
    command->command.kind = COMMAND_STATS;
    shard_send(shard, &command->command);
}

void shard_count(struct shard *shard, struct count_command *command)
{
    shard->away_count++;
    command->asker = shard->loop;
    shard_send(shard, &command->command);
}

/* Another loop's question, or the answer to ours. */
static void shard_take_count(struct shard *shard, struct count_command *command)
{
    if (command->is_home) {
        shard->away_count--;
        command->answered(command);
        return;
    }
    command->count += hub_subscriber_count(&shard->hub, command->channel);
    shard_send(shard, &command->command);
}

static void shard_take_deliveries(struct shard *shard, struct deliver_command *command)
{
    for (uint32_t i = 0; i < command->count; i++)
        hub_deliver(&shard->hub, command->messages[i]);
    command_free(&command->command);
}

void shard_take(struct shard *shard, struct command *command)
{
    if (command->kind == COMMAND_DELIVER) {
        shard_take_deliveries(shard, container_of(command, struct deliver_command, command));
        return;
    }
    if (command->kind == COMMAND_COUNT) {
        shard_take_count(shard, container_of(command, struct count_command, command));
        return;
    }
    if (command->kind == COMMAND_FOLLOW) {
        struct follow_command *follow = container_of(command, struct follow_command, command);
        hub_followed(&shard->hub, follow->channel, follow->epoch, follow->first, follow->head);
        command_free(command);
        return;
    }
    shard->away_count--;
    switch (command->kind) {
    case COMMAND_PUBLISH: {
        struct publish_command *publish = container_of(command, struct publish_command, command);
        shard->publish_count--;
        shard->publish_bytes -= message_size(publish->append.message);
        publish->answered(publish);
        break;
    }
    case COMMAND_READ: {
        struct read_command *read = container_of(command, struct read_command, command);
        read->answered(read);
        break;
    }
    case COMMAND_STATS: {
        struct stats_command *stats = container_of(command, struct stats_command, command);
        stats->answered(stats);
        break;
    }
    case COMMAND_DELIVER:
    case COMMAND_FOLLOW:
    case COMMAND_COUNT:
    case COMMAND_UNFOLLOW:
    case COMMAND_COMMITTED:
    case COMMAND_HEAD:
    case COMMAND_SNAPSHOT:
        must(!"the writer sends these to no loop");
        break;
    }
}

void shard_tell(struct shard *shard)
{
    hub_tell(&shard->hub);
}

void shard_turn_end(struct shard *shard)
{
    hub_turn_end(&shard->hub);
    shard_send_pages(shard);
}

void shard_tick(struct shard *shard)
{
    hub_tick(&shard->hub, shard->now);
}
