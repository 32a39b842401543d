#include "reactor/loop_sim.h"

#include <stdlib.h>

#include "base/must.h"

enum { RECORD_BYTES_MAX = 16384 };  /* what a layer holds; as much as a record of TLS (RFC 8446 5.1) */

/* Bytes under way in one direction. */
struct sim_packet {
    struct list link;
    msec        at;      /* when it arrives */
    size_t      begin;   /* bytes taken already */
    size_t      len;
    bool        is_told; /* the near end knows */
    char        bytes[];
};

struct sim_link {
    struct list      link;       /* in sim.links */
    struct loop_sim *sim;
    struct stream   *stream;     /* NULL: the near end is closed */
    struct sim_wire  wire;
    struct list      in, out;    /* packets: towards the near end, towards the far end */
    msec             in_end_at;  /* when the far end's end arrives; -1: it has not ended */
    uint64_t         in_bytes, out_bytes;  /* read and written by the near end so far */
    size_t           out_waiting;          /* written and not taken */
    struct buf       held;       /* bytes that a layer has taken and could not send yet */
    bool             is_end_told;
    bool             is_shut;    /* the near end has ended */
    bool             is_reset;
    bool             is_reset_told;
    bool             is_let_go;  /* the far end is gone: free when the near end is closed */
};

struct sim_stream {
    struct stream    stream;
    struct sim_link *link;
};

static struct sim_link *sim_link_of(const struct stream *stream)
{
    return container_of(stream, struct sim_stream, stream)->link;
}

/* --- packets ------------------------------------------------------------------------------------------------- */

static void packet_send(struct sim_link *link, struct list *way, struct span bytes)
{
    struct sim_packet *packet = malloc(sizeof *packet + bytes.len);

    must(packet != NULL);
    *packet = (struct sim_packet){ .at = link->sim->loop.now + link->wire.delay_ms, .len = bytes.len };
    if (bytes.len > 0)
        memcpy(packet->bytes, bytes.at, bytes.len);
    list_push(way, &packet->link);
}

static void packet_free(struct sim_packet *packet)
{
    list_take(&packet->link);
    free(packet);
}

static void packets_drop(struct list *way)
{
    while (!list_is_empty(way))
        packet_free(container_of(way->next, struct sim_packet, link));
}

/* The first, if it has arrived. */
static struct sim_packet *packet_next(const struct sim_link *link, const struct list *way)
{
    if (list_is_empty(way))
        return NULL;
    struct sim_packet *packet = container_of(way->next, struct sim_packet, link);
    return packet->at <= link->sim->loop.now ? packet : NULL;
}

static size_t packet_take(struct sim_packet *packet, char *into, size_t len)
{
    size_t left = packet->len - packet->begin;
    size_t take = len < left ? len : left;

    memcpy(into, packet->bytes + packet->begin, take);
    packet->begin += take;
    if (packet->begin == packet->len)
        packet_free(packet);
    return take;
}

static size_t packets_take(const struct sim_link *link, const struct list *way, char *into, size_t len)
{
    struct sim_packet *packet;
    size_t             total = 0;

    while (total < len && (packet = packet_next(link, way)) != NULL)
        total += packet_take(packet, into + total, len - total);
    return total;
}

/* Lost: what had not arrived, in both directions. */
static void sim_link_break(struct sim_link *link)
{
    struct list *ways[] = { &link->in, &link->out };

    link->is_reset = true;
    for (size_t i = 0; i < 2; i++)
        for (struct list *at = ways[i]->next, *next; at != ways[i]; at = next) {
            struct sim_packet *packet = container_of(at, struct sim_packet, link);
            next                      = at->next;
            if (packet->at > link->sim->loop.now)
                packet_free(packet);
        }
}

/* --- the near end -------------------------------------------------------------------------------------------- */

/* `max` 0: any number. */
static size_t at_most(size_t len, size_t max)
{
    return max > 0 && len > max ? max : len;
}

/* How much of `len` bytes a write takes. */
static size_t write_part(const struct sim_wire *wire, size_t len)
{
    size_t part = at_most(len, wire->write_bytes_max);
    return wire->rng != NULL ? (size_t)rng_below(wire->rng, part + 1) : part;
}

/* How much a read gives, if there is so much; at least one byte. */
static size_t read_part(const struct sim_wire *wire, size_t len)
{
    if (!wire->is_layered || len == 0)
        return len;
    size_t part = at_most(len, wire->read_bytes_max);
    return wire->rng != NULL ? (size_t)rng_below(wire->rng, part) + 1 : part;
}

/* What is left of `len` bytes before the link breaks. */
static size_t before_cut(size_t len, uint64_t cut_at, uint64_t moved)
{
    if (cut_at == 0)
        return len;
    uint64_t left = cut_at > moved ? cut_at - moved : 0;
    return len < left ? len : (size_t)left;
}

static bool is_all_in_read(const struct sim_link *link)
{
    return packet_next(link, &link->in) == NULL;
}

static ssize_t sim_stream_read(struct stream *stream, void *into, size_t len)
{
    struct sim_link *link = sim_link_of(stream);
    size_t           max  = before_cut(read_part(&link->wire, len), link->wire.cut_in_at, link->in_bytes);
    size_t           got  = packets_take(link, &link->in, into, max);

    link->in_bytes += got;
    if (link->wire.cut_in_at > 0 && link->in_bytes >= link->wire.cut_in_at)
        sim_link_break(link);
    if (got > 0)
        return (ssize_t)got;
    if (link->is_reset)
        return STREAM_FAULT;
    return link->in_end_at >= 0 && link->in_end_at <= link->sim->loop.now && is_all_in_read(link) ? 0 : STREAM_LATER;
}

static size_t sim_link_room(const struct sim_link *link)
{
    return link->wire.room_bytes > link->out_waiting ? link->wire.room_bytes - link->out_waiting : 0;
}

/* Puts bytes on the wire; breaks the link where the script says so. */
static void sim_link_put(struct sim_link *link, struct span bytes)
{
    if (bytes.len > 0)
        packet_send(link, &link->out, bytes);
    link->out_waiting += bytes.len;
    link->out_bytes += bytes.len;
    if (link->wire.cut_out_at > 0 && link->out_bytes >= link->wire.cut_out_at)
        sim_link_break(link);
}

/* How many of `len` bytes the wire takes now. */
static size_t sim_link_fit(const struct sim_link *link, size_t len)
{
    size_t room = sim_link_room(link);
    return before_cut(write_part(&link->wire, len < room ? len : room), link->wire.cut_out_at, link->out_bytes);
}

/* The bytes that a layer holds leave as soon as there is room, even if the near end is closed. */
static void sim_link_flush(struct sim_link *link)
{
    if (link->held.len == 0 || link->is_reset || link->is_let_go)
        return;
    size_t put = sim_link_fit(link, link->held.len);
    sim_link_put(link, span_head(buf_span(&link->held), put));
    buf_drop(&link->held, put);
}

static ssize_t sim_stream_write(struct stream *stream, struct span bytes)
{
    struct sim_link *link = sim_link_of(stream);

    if (link->is_reset || link->is_shut || link->is_let_go)
        return STREAM_FAULT;
    size_t put = link->held.len > 0 ? 0 : sim_link_fit(link, bytes.len);
    sim_link_put(link, span_head(bytes, put));
    if (link->wire.is_layered && link->held.len == 0 && put < bytes.len && !link->is_reset) {
        struct span record = span_head(span_skip(bytes, put), RECORD_BYTES_MAX);
        buf_put(&link->held, record);
        put += record.len;
    }
    if (link->held.len > 0 || put < bytes.len)
        stream->is_full = true;
    return (ssize_t)put;
}

static void sim_stream_shut(struct stream *stream)
{
    sim_link_of(stream)->is_shut = true;
}

/* A socket that is closed with bytes unread resets its link (RFC 9293 3.6.1). What was sent still arrives. */
static void sim_stream_close(struct stream *stream)
{
    struct sim_link *link = sim_link_of(stream);

    if (!list_is_empty(&link->in))
        link->is_reset = true;
    link->is_shut = true;
    link->stream  = NULL;
    packets_drop(&link->in);
}

static bool sim_stream_is_dead(const struct stream *stream, msec silence_ms)
{
    (void)silence_ms;
    return sim_link_of(stream)->wire.is_dead;
}

static const struct stream_ops plain_ops = {
    .read = sim_stream_read, .write = sim_stream_write, .shut = sim_stream_shut, .close = sim_stream_close,
    .is_dead = sim_stream_is_dead, .is_paced = true, .is_drained_by_short_read = true,
};

static const struct stream_ops layered_ops = {
    .read = sim_stream_read, .write = sim_stream_write, .shut = sim_stream_shut, .close = sim_stream_close,
    .is_dead = sim_stream_is_dead, .is_paced = true, .is_drained_by_short_read = false,
};

/* --- the far end --------------------------------------------------------------------------------------------- */

struct sim_link *sim_link_new(struct loop_sim *sim, const struct sim_wire *wire, struct stream **ret)
{
    struct sim_link   *link   = calloc(1, sizeof *link);
    struct stream     *stream = stream_make(wire->is_layered ? &sim->layered : &sim->plain, -1);

    must(link != NULL && (wire->read_bytes_max == 0 || wire->is_layered));
    link->sim       = sim;
    link->stream    = stream;
    link->wire      = *wire;
    link->in_end_at = -1;
    list_init(&link->in);
    list_init(&link->out);
    buf_init(&link->held, RECORD_BYTES_MAX);
    list_push(&sim->links, &link->link);
    container_of(stream, struct sim_stream, stream)->link = link;
    *ret = stream;
    return link;
}

void sim_link_free(struct sim_link *link)
{
    if (link == NULL)
        return;
    must(!link->is_let_go);
    sim_send_end(link);
    link->is_let_go = true;
    packets_drop(&link->out);
}

struct sim_wire *sim_link_wire(struct sim_link *link)
{
    return &link->wire;
}

void loop_sim_hurry(struct loop_sim *sim)
{
    for (struct list *at = sim->links.next; at != &sim->links; at = at->next) {
        struct sim_link *link = container_of(at, struct sim_link, link);
        if (!link->is_let_go)
            continue;
        link->wire.read_bytes_max = link->wire.write_bytes_max = 0;
        link->wire.rng            = NULL;
    }
}

void sim_send(struct sim_link *link, struct span bytes)
{
    must(!link->is_let_go && link->in_end_at < 0);
    if (bytes.len == 0 || link->is_reset)
        return;
    if (link->stream == NULL)
        link->is_reset = true;  /* RFC 9293 3.10.7.1: the far end is gone, so the answer is a reset */
    else
        packet_send(link, &link->in, bytes);
}

size_t sim_unread(const struct sim_link *link)
{
    size_t total = 0;

    for (const struct list *at = link->in.next; at != &link->in; at = at->next) {
        const struct sim_packet *packet = container_of(at, struct sim_packet, link);
        total += packet->len - packet->begin;
    }
    return total;
}

void sim_send_end(struct sim_link *link)
{
    if (link->in_end_at < 0)
        link->in_end_at = link->sim->loop.now + link->wire.delay_ms;
}

void sim_reset(struct sim_link *link)
{
    sim_link_break(link);
}

size_t sim_take(struct sim_link *link, struct buf *into, size_t bytes_max)
{
    struct sim_packet *packet;
    size_t             total = 0;

    while (total < bytes_max && (packet = packet_next(link, &link->out)) != NULL) {
        size_t left = packet->len - packet->begin;
        size_t take = left < bytes_max - total ? left : bytes_max - total;
        packet_take(packet, buf_extend(into, take), take);
        total += take;
    }
    link->out_waiting -= total;
    return total;
}

enum sim_end sim_link_end(const struct sim_link *link)
{
    if (!list_is_empty(&link->out) || (link->held.len > 0 && !link->is_reset))
        return SIM_OPEN;
    return link->is_reset ? SIM_RESET : link->is_shut ? SIM_ENDED : SIM_OPEN;
}

bool sim_link_is_closed(const struct sim_link *link)
{
    return link->stream == NULL;
}

/* --- turns --------------------------------------------------------------------------------------------------- */

/* What an edge-triggered kernel would say now. Says it once if `is_told` is set. */
static unsigned sim_link_news(struct sim_link *link, bool is_told)
{
    msec     now  = link->sim->loop.now;
    unsigned news = 0;

    for (struct list *at = link->in.next; at != &link->in; at = at->next) {
        struct sim_packet *packet = container_of(at, struct sim_packet, link);
        if (packet->at > now)
            break;
        if (!packet->is_told)
            news |= STREAM_IS_READABLE;
        packet->is_told |= is_told;
    }
    bool is_end_due = link->in_end_at >= 0 && link->in_end_at <= now;
    if ((is_end_due && !link->is_end_told) || (link->is_reset && !link->is_reset_told))
        news |= STREAM_IS_ENDED;
    if (is_told) {
        link->is_end_told   = is_end_due;
        link->is_reset_told = link->is_reset;
    }
    if (link->stream->is_full &&
        ((sim_link_room(link) > 0 && link->held.len == 0) || link->is_reset || link->is_let_go))
        news |= STREAM_IS_WRITABLE;
    return news;
}

static void sim_links_bury(struct loop_sim *sim)
{
    for (struct list *at = sim->links.next, *next; at != &sim->links; at = next) {
        struct sim_link *link = container_of(at, struct sim_link, link);
        next                  = at->next;
        if (!link->is_let_go || link->stream != NULL)
            continue;
        list_take(&link->link);
        packets_drop(&link->in);
        packets_drop(&link->out);
        buf_fini(&link->held);
        free(link);
    }
}

void loop_sim_init(struct loop_sim *sim, const struct loop_hooks *hooks, void *ctx, msec now, msec wall)
{
    *sim = (struct loop_sim){ .wall_offset = wall - now };
    loop_begin(&sim->loop, hooks, ctx, now, wall);
    sim->loop.mailbox.bell = -1;  /* a simulated loop never sleeps, so no bell is needed */
    sim->loop.input        = malloc(LOOP_INPUT_BYTES);
    must(sim->loop.input != NULL);
    stream_maker_init(&sim->plain, &plain_ops, &sim->loop, sizeof(struct sim_stream));
    stream_maker_init(&sim->layered, &layered_ops, &sim->loop, sizeof(struct sim_stream));
    list_init(&sim->links);
}

void loop_sim_fini(struct loop_sim *sim)
{
    sim_links_bury(sim);
    must(list_is_empty(&sim->links));
    loop_end(&sim->loop);
    stream_maker_fini(&sim->plain);
    stream_maker_fini(&sim->layered);
}

void loop_sim_turn(struct loop_sim *sim, msec now)
{
    must(now >= sim->loop.now);
    loop_turn_begin(&sim->loop, now, now + sim->wall_offset);
    for (struct list *at = sim->links.next; at != &sim->links; at = at->next) {
        struct sim_link *link = container_of(at, struct sim_link, link);
        sim_link_flush(link);
        unsigned news = link->stream == NULL ? 0 : sim_link_news(link, true);
        if (news != 0)
            stream_tell(link->stream, news);
    }
    loop_turn_end(&sim->loop, true);
    sim_links_bury(sim);
}

bool loop_sim_is_quiet(const struct loop_sim *sim)
{
    if (sim->loop.again != NULL)
        return false;
    for (struct list *at = sim->links.next; at != &sim->links; at = at->next) {
        struct sim_link *link = container_of(at, struct sim_link, link);
        if (link->stream != NULL && sim_link_news(link, false) != 0)
            return false;
        if (link->held.len > 0 && sim_link_room(link) > 0 && !link->is_reset && !link->is_let_go)
            return false;
    }
    return true;
}

/* The earlier of two times, of which -1 is none. */
static msec earlier(msec a, msec b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Arrivals at the near end or at the far end that are yet to come. */
static msec sim_link_next(const struct sim_link *link)
{
    const struct list *ways[] = { &link->in, &link->out };
    msec               now    = link->sim->loop.now, next = link->in_end_at > now ? link->in_end_at : -1;

    for (size_t i = 0; i < 2; i++)
        for (const struct list *at = ways[i]->next; at != ways[i]; at = at->next) {
            const struct sim_packet *packet = container_of(at, const struct sim_packet, link);
            if (packet->at > now)
                next = earlier(next, packet->at);
        }
    return next;
}

msec loop_sim_next(const struct loop_sim *sim)
{
    msec now   = sim->loop.now;
    int  sleep = wheel_sleep_ms(&sim->loop.wheel, now);
    msec next  = sleep < 0 ? -1 : now + sleep;

    if (!loop_sim_is_quiet(sim))
        return now;
    for (const struct list *at = sim->links.next; at != &sim->links; at = at->next)
        next = earlier(next, sim_link_next(container_of(at, const struct sim_link, link)));
    return next;
}
