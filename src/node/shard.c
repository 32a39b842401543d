#include "node/shard.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/command_priv.h"

static void shard_send(struct shard *shard, struct command *command)
{
    command->loop = shard->loop;
    shard->port->send(shard->ctx, command);
}

static void shard_send_follow(struct shard *shard, const struct command_kind *kind, struct channel_name *name,
                              uint64_t question)
{
    struct follow_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind = kind;
    command->channel     = channel_name_ref(name);
    command->question    = question;
    shard_send(shard, &command->command);
}

static void shard_on_follow(void *ctx, struct channel_name *name, uint64_t question)
{
    shard_send_follow(ctx, &follow_kind, name, question);
}

static void shard_on_unfollow(void *ctx, struct channel_name *name)
{
    shard_send_follow(ctx, &unfollow_kind, name, 0);
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

/* Cold pages are sent first, because they have waited longer. */
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
    page->read.command.kind = &read_kind;
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
        return;  /* the answer is dropped when it comes */
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

/* --- for sessions and the API --- */

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

static const char *text_with(struct shard *shard, const char *engine, const char *text)
{
    if (engine == NULL)
        return text;
    snprintf(shard->text, sizeof shard->text, "%s (%s)", text, engine);
    return shard->text;
}

const char *shard_engine_text(struct shard *shard, const struct channel_name *channel, const char *text)
{
    const bool is_durable = channel == NULL || channel->space->durability == DURABLE;

    return text_with(shard, is_durable ? shard->engines.durable : shard->engines.memory, text);
}

const char *shard_memory_text(struct shard *shard, const char *text)
{
    return text_with(shard, shard->engines.memory, text);
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
        if (command->gate != NULL) {
            command->gate->publish = NULL;
            command_free(&command->gate->command);
        }
        command->answered(command);
        return;
    }
    shard->publish_count++;
    shard->publish_bytes += bytes;
    shard->away_count++;
    command->command.loop = shard->loop;
    uint16_t tag = shard->port->forward == NULL ? 0 : shard_publish_elsewhere(shard, command);
    if (tag != 0) {
        shard->port->forward(shard->ctx, command, tag);
        return;
    }
    shard_address_publish(shard, command);
    shard_send(shard, command->gate != NULL ? &command->gate->command : &command->command);
}

void shard_forwarded(struct shard *shard, struct publish_command *command, bool is_answered)
{
    if (is_answered)
        shard_take_publish(&command->command, shard);
    else
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
    command->command.kind = &stats_kind;
    shard_send(shard, &command->command);
}

void shard_count(struct shard *shard, struct count_command *command)
{
    shard->away_count++;
    command->asker = shard->loop;
    shard_send(shard, &command->command);
}

void shard_list(struct shard *shard, struct listing_command *command)
{
    shard->away_count++;
    command->asker        = shard->loop;
    command->listing.wall = shard->wall;
    shard_send(shard, &command->command);
}

void shard_send_own(struct shard *shard, struct command *command)
{
    shard_send(shard, command);
}

void shard_ask_question(struct shard *shard, struct command *command)
{
    shard->away_count++;
    shard_send(shard, command);
}

void shard_send_on(struct shard *shard, struct command *command)
{
    shard->port->send(shard->ctx, command);
}

void shard_end_question(struct shard *shard)
{
    must(shard->away_count > 0);
    shard->away_count--;
}

/* --- what the writer sends ------------------------------------------------------------------------------------ */

/* Another loop's question, or the answer to ours. */
void shard_take_count(struct command *command, struct shard *shard)
{
    struct count_command *count = container_of(command, struct count_command, command);

    if (count->is_home) {
        shard->away_count--;
        count->answered(count);
        return;
    }
    count->count += hub_subscriber_count(&shard->hub, count->channel);
    shard_send(shard, command);
}

/* The same for many channels. */
void shard_take_listing(struct command *command, struct shard *shard)
{
    struct listing_command *listing = container_of(command, struct listing_command, command);

    if (listing->stage == LISTING_HOME) {
        shard->away_count--;
        listing->answered(listing);
        return;
    }
    for (size_t i = 0; i < listing->listing.count; i++)
        listing->subscribers[i] += hub_subscriber_count(&shard->hub, listing->listing.channels[i].name);
    shard_send(shard, command);
}

/* Hints are numbered from 1. A number that is skipped was lost, or is late: what it brings may be missed either way. */
static void shard_note_hint(struct shard *shard, uint64_t number)
{
    if (number <= shard->hint_number)
        return;
    if (number != shard->hint_number + 1)
        shard->is_hint_lost = true;
    shard->hint_number = number;
}

void shard_take_deliver(struct command *command, struct shard *shard)
{
    struct deliver_command *deliver = container_of(command, struct deliver_command, hint.command);

    shard_note_hint(shard, deliver->hint.number);
    for (uint32_t i = 0; i < deliver->hint.count; i++)
        hub_deliver(&shard->hub, deliver->messages[i]);
    command_free(command);
}

void shard_take_purged(struct command *command, struct shard *shard)
{
    const struct purged_command *purged = container_of(command, struct purged_command, command);

    hub_purge(&shard->hub, purged->channel, purged->epoch, purged->head);
    shard_send(shard, command);
}

void shard_take_moved(struct command *command, struct shard *shard)
{
    struct moved_command *moved = container_of(command, struct moved_command, hint.command);

    shard_note_hint(shard, moved->hint.number);
    for (uint32_t i = 0; i < moved->hint.count; i++) {
        const struct moved_head *head = &moved->heads[i];
        if (head->epoch != 0)
            hub_head_moved(&shard->hub, head->channel, head->epoch, head->head);
    }
    command_free(command);
}

static void shard_send_heartbeat(struct shard *shard)
{
    struct heartbeat_command *heartbeat = calloc(1, sizeof *heartbeat);

    must(heartbeat != NULL);
    heartbeat->command.kind = &heartbeat_kind;
    heartbeat->is_hint_lost = shard->is_hint_lost;
    shard->is_hint_lost     = false;
    shard->is_beating       = true;
    shard_send(shard, &heartbeat->command);
}

/* The answer comes behind all hints that were sent before it: if one of them has not come by now, it is lost. */
void shard_take_heartbeat(struct command *command, struct shard *shard)
{
    struct heartbeat_command *heartbeat = container_of(command, struct heartbeat_command, command);

    must(shard->is_beating);
    shard->is_beating = false;
    if (heartbeat->number > shard->hint_number) {
        shard->hint_number  = heartbeat->number;
        shard->is_hint_lost = true;
    }
    command_free(command);
    if (shard->is_hint_lost)
        shard_send_heartbeat(shard);
}

void shard_take_follow(struct command *command, struct shard *shard)
{
    struct follow_command *follow = container_of(command, struct follow_command, command);

    hub_followed(&shard->hub, follow->channel, follow->question, follow->epoch, follow->first, follow->head);
    command_free(command);
}

void shard_take_publish(struct command *command, struct shard *shard)
{
    struct publish_command *publish = container_of(command, struct publish_command, command);

    shard->away_count--;
    shard->publish_count--;
    shard->publish_bytes -= message_size(publish->append.message);
    publish->answered(publish);
}

void shard_take_read(struct command *command, struct shard *shard)
{
    struct read_command *read = container_of(command, struct read_command, command);

    shard->away_count--;
    read->answered(read);
}

void shard_take_stats(struct command *command, struct shard *shard)
{
    struct stats_command *stats = container_of(command, struct stats_command, command);

    shard->away_count--;
    stats->answered(stats);
}

void shard_take(struct shard *shard, struct command *command)
{
    must(command->kind->at_loop != NULL);
    command->kind->at_loop(command, shard);
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
    if (!shard->is_beating)
        shard_send_heartbeat(shard);
}
