#include "node/shard.h"

#include <stdlib.h>

#include "base/must.h"

static void shard_send(struct shard *shard, struct letter *letter)
{
    letter->loop = shard->loop;
    shard->port->send(shard->ctx, letter);
}

static void shard_send_follow(struct shard *shard, enum letter_kind kind, struct channel_name *name)
{
    struct follow_letter *letter = calloc(1, sizeof *letter);

    must(letter != NULL);
    letter->letter.kind = kind;
    letter->channel     = channel_name_ref(name);
    shard_send(shard, &letter->letter);
}

static void shard_on_follow(void *ctx, struct channel_name *name)
{
    shard_send_follow(ctx, LETTER_FOLLOW, name);
}

static void shard_on_unfollow(void *ctx, struct channel_name *name)
{
    shard_send_follow(ctx, LETTER_UNFOLLOW, name);
}

/* --- pages for subscriptions --- */

/* What the page's answer goes to: the subscription, and the hub that knows it. */
struct page_letter {
    struct read_letter   read;
    struct list          link;   /* in pages.wanted or pages.cold; in neither while it's away */
    struct shard        *shard;
    struct subscription *sub;    /* NULL: it ended meanwhile */
};

static struct page_letter *page_of(struct list *link)
{
    return container_of(link, struct page_letter, link);
}

static bool shard_may_ask_store(const struct shard *shard)
{
    return shard->pages.store_away < shard->limits.pages_store_away_max;
}

static void shard_send_page(struct shard *shard, struct page_letter *page)
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

static void shard_page_came(struct read_letter *letter)
{
    struct page_letter *page    = container_of(letter, struct page_letter, read);
    struct store_read  *read    = &letter->read;
    bool                is_cold = letter->source == READ_MEMORY && read->rc == RC_BUSY;

    page->shard->pages.away--;
    page->shard->pages.store_away -= letter->source == READ_TAIL_OR_STORE;
    if (is_cold && page->sub != NULL) {
        list_push(&page->shard->pages.cold, &page->link);
        return;
    }
    if (page->sub != NULL)
        subscription_read_done(page->sub, &page->shard->hub, read->epoch, read->head, &read->entries,
                               read->entry_count);
    letter_free(&letter->letter);
}

static void shard_on_read(void *ctx, struct subscription *sub, uint64_t after, void **ret_ticket)
{
    struct shard       *shard = ctx;
    struct page_letter *page  = calloc(1, sizeof *page);

    must(page != NULL);
    page->shard            = shard;
    page->sub              = sub;
    page->read.letter.kind = LETTER_READ;
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
    struct page_letter *page = ticket;

    page->sub = NULL;
    if (!list_is_linked(&page->link))
        return;  /* it finds nobody when it comes */
    list_take(&page->link);
    letter_free(&page->read.letter);
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

void shard_publish(struct shard *shard, struct publish_letter *letter)
{
    size_t bytes = message_size(letter->append.message);

    if (shard->publish_count >= shard->limits.publish_count_max ||
        shard->publish_bytes + bytes > shard->limits.publish_bytes_max)
        shard->is_refusing = true;
    if (shard->is_refusing) {
        counter_add(&shard->refused, 1);
        letter->outcome = PUBLISH_BUSY;
        letter->answered(letter);
        return;
    }
    shard->publish_count++;
    shard->publish_bytes += bytes;
    shard->away_count++;
    shard_send(shard, &letter->letter);
}

void shard_read(struct shard *shard, struct read_letter *letter)
{
    shard->away_count++;
    letter->read.wall = shard->wall;
    shard_send(shard, &letter->letter);
}

void shard_ask_stats(struct shard *shard, struct stats_letter *letter)
{
    shard->away_count++;
    letter->letter.kind = LETTER_STATS;
    shard_send(shard, &letter->letter);
}

void shard_count(struct shard *shard, struct count_letter *letter)
{
    shard->away_count++;
    letter->asker = shard->loop;
    shard_send(shard, &letter->letter);
}

/* Another loop's question, or the answer to ours. */
static void shard_take_count(struct shard *shard, struct count_letter *letter)
{
    if (letter->is_home) {
        shard->away_count--;
        letter->answered(letter);
        return;
    }
    letter->count += hub_subscriber_count(&shard->hub, letter->channel);
    shard_send(shard, &letter->letter);
}

static void shard_take_deliveries(struct shard *shard, struct deliver_letter *letter)
{
    for (uint32_t i = 0; i < letter->count; i++)
        hub_deliver(&shard->hub, letter->messages[i]);
    letter_free(&letter->letter);
}

void shard_take(struct shard *shard, struct letter *letter)
{
    if (letter->kind == LETTER_DELIVER) {
        shard_take_deliveries(shard, container_of(letter, struct deliver_letter, letter));
        return;
    }
    if (letter->kind == LETTER_COUNT) {
        shard_take_count(shard, container_of(letter, struct count_letter, letter));
        return;
    }
    if (letter->kind == LETTER_FOLLOW) {
        struct follow_letter *follow = container_of(letter, struct follow_letter, letter);
        hub_followed(&shard->hub, follow->channel, follow->epoch, follow->first, follow->head);
        letter_free(letter);
        return;
    }
    shard->away_count--;
    switch (letter->kind) {
    case LETTER_PUBLISH: {
        struct publish_letter *publish = container_of(letter, struct publish_letter, letter);
        shard->publish_count--;
        shard->publish_bytes -= message_size(publish->append.message);
        publish->answered(publish);
        break;
    }
    case LETTER_READ: {
        struct read_letter *read = container_of(letter, struct read_letter, letter);
        read->answered(read);
        break;
    }
    case LETTER_STATS: {
        struct stats_letter *stats = container_of(letter, struct stats_letter, letter);
        stats->answered(stats);
        break;
    }
    case LETTER_DELIVER:
    case LETTER_FOLLOW:
    case LETTER_COUNT:
    case LETTER_UNFOLLOW:
    case LETTER_COMMITTED:
    case LETTER_HEAD:
    case LETTER_SNAPSHOT:
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

void shard_tend(struct shard *shard)
{
    hub_tend(&shard->hub, shard->now);
}
