#include "route/bus_links.h"

#include <stdlib.h>

#include "base/list.h"

struct bus_link {
    struct map_node node;
    struct list     link;     /* in links.live or links.gone: in the order in which they came there */
    struct node_id  id;
    uint64_t        sent;     /* the last number; 0: none */
    msec            sent_at;  /* of the last frame that was no beat */
    unsigned        beats;    /* sent since then */
    uint64_t        heard;    /* the last number that came; 0: none */
    bool            is_gone;
};

struct bus_links {
    struct hash_key key;
    struct map      map;
    struct list     live, gone;
    size_t          gone_count;
    uint64_t        skipped;  /* numbers that were left out on all links */
};

struct bus_links *bus_links_new(const struct hash_key *key)
{
    struct bus_links *links = calloc(1, sizeof *links);

    must(links != NULL);
    links->key = *key;
    map_init(&links->map);
    list_init(&links->live);
    list_init(&links->gone);
    return links;
}

static void bus_link_free(struct bus_links *links, struct bus_link *link)
{
    list_take(&link->link);
    map_take(&links->map, &link->node);
    free(link);
}

void bus_links_free(struct bus_links *links)
{
    if (links == NULL)
        return;
    list_move(&links->live, &links->gone);
    while (!list_is_empty(&links->live))
        bus_link_free(links, container_of(links->live.next, struct bus_link, link));
    map_fini(&links->map);
    free(links);
}

static bool link_has_id(const struct map_node *node, const void *key)
{
    const struct node_id *id   = key;
    const struct bus_link *link = container_of(node, struct bus_link, node);

    return link->id.incarnation == id->incarnation && strcmp(link->id.name, id->name) == 0;
}

/* Incarnations are random, so that the name adds little to the hash; it decides where two are equal. */
static uint64_t id_hash(const struct bus_links *links, const struct node_id *id)
{
    return hash_bytes(&links->key, span_of(&id->incarnation, sizeof id->incarnation));
}

static struct bus_link *links_find(const struct bus_links *links, const struct node_id *id)
{
    struct map_node *node = map_find(&links->map, id_hash(links, id), link_has_id, id);
    return node == NULL ? NULL : container_of(node, struct bus_link, node);
}

static struct bus_link *links_get(struct bus_links *links, const struct node_id *id)
{
    struct bus_link *link = links_find(links, id);

    if (link != NULL)
        return link;
    link = calloc(1, sizeof *link);
    must(link != NULL);
    link->id    = *id;
    link->sent  = links->skipped;
    link->beats = links->skipped > 0 ? 0 : BUS_BEATS;
    map_add(&links->map, &link->node, id_hash(links, id));
    list_push(&links->live, &link->link);
    return link;
}

void bus_links_meet(struct bus_links *links, const struct node_id *id)
{
    links_get(links, id);
}

uint64_t bus_links_next(struct bus_links *links, const struct node_id *to, msec now)
{
    struct bus_link *link = links_get(links, to);

    link->sent_at = now;
    link->beats   = 0;
    return ++link->sent;
}

enum bus_verdict bus_links_take(struct bus_links *links, const struct node_id *from, uint64_t number)
{
    struct bus_link *link  = links_get(links, from);
    uint64_t         heard = link->heard;

    if (link->is_gone || number <= heard)
        return BUS_OLD;
    link->heard = number;
    return heard == 0 ? BUS_FIRST : number == heard + 1 ? BUS_NEXT : BUS_HOLE;
}

/* A beat takes a number, too, but does not begin the waiting anew. */
static void bus_link_beat(struct bus_link *link, void (*beat)(void *ctx, const struct node_id *to), void *ctx)
{
    const msec     sent_at = link->sent_at;
    const unsigned beats   = link->beats;

    beat(ctx, &link->id);
    link->sent_at = sent_at;
    link->beats   = beats + 1;
}

static bool bus_link_is_due(const struct bus_link *link, msec now)
{
    return link->beats < BUS_BEATS && now - link->sent_at >= (msec)BUS_BEAT_MS << (2 * link->beats);
}

void bus_links_tick(struct bus_links *links, msec now, void (*beat)(void *ctx, const struct node_id *to), void *ctx)
{
    for (struct list *at = links->live.next; at != &links->live; at = at->next) {
        struct bus_link *link = container_of(at, struct bus_link, link);
        if (bus_link_is_due(link, now))
            bus_link_beat(link, beat, ctx);
    }
}

void bus_links_skip_all(struct bus_links *links, msec now)
{
    links->skipped++;
    for (struct list *at = links->live.next; at != &links->live; at = at->next) {
        struct bus_link *link = container_of(at, struct bus_link, link);
        link->sent++;
        link->sent_at = now;
        link->beats   = 0;
    }
}

void bus_links_forget(struct bus_links *links, const struct node_id *id)
{
    struct bus_link *link = links_get(links, id);

    if (link->is_gone)
        return;
    link->is_gone = true;
    list_take(&link->link);
    list_push(&links->gone, &link->link);
    if (++links->gone_count <= BUS_GONE_KEPT)
        return;
    links->gone_count--;
    bus_link_free(links, container_of(links->gone.next, struct bus_link, link));
}
