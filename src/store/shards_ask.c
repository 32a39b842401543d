/* Questions that concern several shards: heads and listings. */
#include <stdlib.h>

#include "base/must.h"
#include "store/shards_priv.h"

/* --- heads -------------------------------------------------------------------------------------------------------- */

struct heads_ask {
    struct store_heads   *whole;
    struct parts          parts;
    struct channel_name **names;  /* by shard */
    struct store_head    *heads;
    size_t               *at;     /* where each stands in the whole */
    struct heads_part {
        struct store_heads question;
        struct heads_ask  *ask;
    } of[SHARDS_MAX];
};

static void heads_end(struct heads_ask *ask)
{
    struct store_heads *whole = ask->whole;

    for (size_t i = 0; i < whole->count; i++)
        whole->heads[ask->at[i]] = ask->heads[i];
    free(ask->names);
    free(ask->heads);
    free(ask->at);
    free(ask);
    whole->done(whole);
}

static void heads_on_part(struct store_heads *question)
{
    struct heads_ask *ask = container_of(question, struct heads_part, question)->ask;

    if (parts_end(&ask->parts))
        heads_end(ask);
}

static struct heads_ask *heads_ask_new(struct store_heads *whole)
{
    struct heads_ask *ask = calloc(1, sizeof *ask);

    must(ask != NULL);
    ask->whole = whole;
    ask->names = calloc(whole->count, sizeof *ask->names);
    ask->heads = calloc(whole->count, sizeof *ask->heads);
    ask->at    = calloc(whole->count, sizeof *ask->at);
    must(ask->names != NULL && ask->heads != NULL && ask->at != NULL);
    return ask;
}

/* Lays the names of one shard behind those of the shards before it. */
static size_t heads_lay(struct shards *shards, struct heads_ask *ask, size_t shard, size_t from)
{
    struct store_heads *whole = ask->whole, *part = &ask->of[shard].question;

    ask->of[shard].ask = ask;
    *part              = (struct store_heads){ .names = ask->names + from, .heads = ask->heads + from, .wall = whole->wall,
                                               .done = heads_on_part };
    for (size_t i = 0; i < whole->count; i++)
        if (shard_of_name(shards, whole->names[i]) == shard) {
            ask->at[from + part->count]    = i;
            part->names[part->count++] = whole->names[i];
        }
    return from + part->count;
}

void shards_heads(struct store *store, struct store_heads *question)
{
    struct shards    *shards = shards_of(store);
    struct heads_ask *ask    = heads_ask_new(question);
    size_t            from   = 0;

    must(question->count >= 1 && question->count <= STORE_HEADS_MAX);
    for (size_t i = 0; i < shards->count; i++)
        from = heads_lay(shards, ask, i, from);
    parts_begin(&ask->parts);
    for (size_t i = 0; i < shards->count; i++) {
        if (ask->of[i].question.count == 0)
            continue;
        parts_add(&ask->parts);
        shards->stores[i]->ops->heads(shards->stores[i], &ask->of[i].question);
    }
    if (parts_end(&ask->parts))
        heads_end(ask);
}

/* --- listings ----------------------------------------------------------------------------------------------------- */

/* Each shard gives a page. What lies behind the earliest of their ends may lack channels of a shard whose page ended
 * there, so the merged page ends there, too. */
struct listing_ask {
    struct store_listing *whole;
    struct parts          parts;
    size_t                count;
    struct listing_part {
        struct store_listing listing;
        struct listing_ask  *ask;
        size_t               taken;  /* of its channels */
    } of[SHARDS_MAX];
};

static struct span listed_text(const struct listed_channel *channel)
{
    return channel_name_span(channel->name);
}

/* The page whose next channel comes first, or NULL: all are empty. */
static struct listing_part *listing_first(struct listing_ask *ask)
{
    struct listing_part *first = NULL;

    for (size_t i = 0; i < ask->count; i++) {
        struct listing_part *part = &ask->of[i];
        if (part->taken < part->listing.count &&
            (first == NULL || span_order(listed_text(&part->listing.channels[part->taken]),
                                         listed_text(&first->listing.channels[first->taken])) < 0))
            first = part;
    }
    return first;
}

/* The earliest end of a page that is not the last one; empty: all are the last. */
static struct span listing_bound(const struct listing_ask *ask)
{
    struct span bound = SPAN("");

    for (size_t i = 0; i < ask->count; i++) {
        struct span reached = buf_span(&ask->of[i].listing.reached);
        if (reached.len > 0 && (bound.len == 0 || span_order(reached, bound) < 0))
            bound = reached;
    }
    return bound;
}

static void listings_merge(struct listing_ask *ask)
{
    struct store_listing *whole = ask->whole;
    struct span           bound = listing_bound(ask);
    struct listing_part  *part;

    while ((part = listing_first(ask)) != NULL) {
        struct listed_channel *channel = &part->listing.channels[part->taken];
        if (bound.len > 0 && span_order(listed_text(channel), bound) > 0)
            break;
        if (whole->count == whole->limit) {
            bound = listed_text(&whole->channels[whole->count - 1]);
            break;
        }
        part->taken++;
        struct channel_name   *name  = channel_name_ref(channel->name);
        struct listed_channel  copy  = *channel;
        struct listed_channel *added = store_listing_add(whole, &name);
        copy.name                    = added->name;
        *added                       = copy;
    }
    if (bound.len > 0)
        store_listing_end_at(whole, bound);
}

static void listing_end(struct listing_ask *ask)
{
    struct store_listing *whole = ask->whole;

    whole->rc = RC_OK;
    for (size_t i = 0; i < ask->count; i++)
        if (ask->of[i].listing.rc != RC_OK)
            whole->rc = ask->of[i].listing.rc;
    if (whole->rc == RC_OK)
        listings_merge(ask);
    for (size_t i = 0; i < ask->count; i++)
        store_listing_fini(&ask->of[i].listing);
    free(ask);
    whole->done(whole);
}

static void listing_on_part(struct store_listing *listing)
{
    struct listing_ask *ask = container_of(listing, struct listing_part, listing)->ask;

    if (parts_end(&ask->parts))
        listing_end(ask);
}

void shards_list(struct store *store, struct store_listing *listing)
{
    struct shards      *shards = shards_of(store);
    struct listing_ask *ask    = calloc(1, sizeof *ask);

    must(ask != NULL);
    store_listing_begin(listing);
    ask->whole = listing;
    ask->count = shards->count;
    parts_begin(&ask->parts);
    for (size_t i = 0; i < shards->count; i++) {
        ask->of[i] = (struct listing_part){ .ask = ask, .listing = {
            .prefix = listing->prefix, .after = listing->after, .limit = listing->limit, .wall = listing->wall,
            .done = listing_on_part,
        } };
        parts_add(&ask->parts);
        shards->stores[i]->ops->list(shards->stores[i], &ask->of[i].listing);
    }
    if (parts_end(&ask->parts))
        listing_end(ask);
}
