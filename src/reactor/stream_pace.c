#include "reactor/stream_pace.h"

#include <stdlib.h>

#include "base/must.h"
#include "reactor/loop.h"

enum { NS_A_MS = 1000000, NS_A_S = 1000000000, RESTS_A_SECOND = 16 };

struct stream_pace {
    struct map_node node;
    struct timer    timer;
    struct stream  *stream;
    uint64_t        full_ns;       /* when its bucket will be full */
    bool            is_held_back;
};

static uint64_t hash_of_stream(const struct stream *stream)
{
    return (uint64_t)(uintptr_t)stream * UINT64_C(0x9e3779b97f4a7c15) >> 16;
}

static bool is_of_stream(const struct map_node *node, const void *stream)
{
    return container_of(node, struct stream_pace, node)->stream == stream;
}

static struct stream_pace *pace_of(const struct stream *stream)
{
    struct map_node *node = map_find(&stream_loop(stream)->paces.map, hash_of_stream(stream), is_of_stream, stream);

    return node == NULL ? NULL : container_of(node, struct stream_pace, node);
}

static void pace_free(struct stream_pace *pace)
{
    struct loop *loop = stream_loop(pace->stream);

    wheel_disarm(&loop->wheel, &pace->timer);
    map_take(&loop->paces.map, &pace->node);
    free(pace);
}

/* The bucket is full, or there is room again. */
static void pace_fire(struct timer *timer, msec now)
{
    struct stream_pace *pace   = container_of(timer, struct stream_pace, timer);
    struct stream      *stream = pace->stream;
    const bool          reads  = pace->is_held_back;

    pace->is_held_back = false;
    if ((uint64_t)now * NS_A_MS >= pace->full_ns)
        pace_free(pace);
    else
        wheel_arm(&stream_loop(stream)->wheel, timer, (msec)(pace->full_ns / NS_A_MS) + 1);
    if (reads)
        stream_more(stream);
}

static struct stream_pace *pace_new(struct stream *stream)
{
    struct stream_pace *pace = calloc(1, sizeof *pace);

    must(pace != NULL);
    pace->stream     = stream;
    pace->timer.fire = pace_fire;
    map_add(&stream_loop(stream)->paces.map, &pace->node, hash_of_stream(stream));
    return pace;
}

static uint64_t now_ns_of(const struct stream *stream)
{
    return (uint64_t)stream_loop(stream)->now * NS_A_MS;
}

/* Until 1/16 s is worth reading again. */
static void hold_back(struct stream_pace *pace)
{
    struct loop *loop = stream_loop(pace->stream);

    pace->is_held_back = true;
    counter_add(&loop->paces.rests, 1);
    wheel_arm(&loop->wheel, &pace->timer, (msec)((pace->full_ns - NS_A_S + NS_A_S / RESTS_A_SECOND) / NS_A_MS) + 1);
}

size_t stream_pace_room(struct stream *stream, size_t len)
{
    const uint64_t      per_s = stream_loop(stream)->paces.bytes_per_s, now = now_ns_of(stream);
    struct stream_pace *pace  = pace_of(stream);

    if (pace == NULL || pace->full_ns <= now)
        return len < per_s ? len : (size_t)per_s;
    if (pace->is_held_back)
        return 0;
    const uint64_t left = now + NS_A_S > pace->full_ns ? now + NS_A_S - pace->full_ns : 0;
    const uint64_t room = left * per_s / NS_A_S;
    if (left < NS_A_S / RESTS_A_SECOND) {
        hold_back(pace);
        return 0;
    }
    return room == 0 ? 1 : room < len ? (size_t)room : len;
}

/* Room that was used up by a caller that would have read more is a rest: it takes a read that fills less than it asked
 * for as a sign that there is nothing more. */
void stream_pace_took(struct stream *stream, size_t got, size_t room, size_t len)
{
    struct loop        *loop = stream_loop(stream);
    struct stream_pace *pace = pace_of(stream);
    const uint64_t      now  = now_ns_of(stream);

    if (pace == NULL)
        pace = pace_new(stream);
    pace->full_ns = (pace->full_ns > now ? pace->full_ns : now) + got * (uint64_t)NS_A_S / loop->paces.bytes_per_s;
    if (got == room && room < len)
        hold_back(pace);
    else
        wheel_arm(&loop->wheel, &pace->timer, (msec)(pace->full_ns / NS_A_MS) + 1);
}

void stream_pace_forget(struct stream *stream)
{
    struct stream_pace *pace = pace_of(stream);

    if (pace != NULL)
        pace_free(pace);
}

bool stream_is_held_back(const struct stream *stream)
{
    const struct stream_pace *pace = stream_loop(stream)->paces.map.count == 0 ? NULL : pace_of(stream);

    return pace != NULL && (pace->is_held_back || stream->is_again);
}

void stream_paces_fini(struct stream_paces *paces)
{
    must(paces->map.count == 0);
    map_fini(&paces->map);
}
