#include "lib/laws.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/must.h"
#include "base/rng.h"

enum {
    TRANSCRIPT_BYTES_MAX = 1 << 24,
    PLACES_MAX      = 8,     /* cuts of one random draw */
    SINGLE_CUTS_MAX = 1024,
};

/* Bytes that end where reading is forbidden:
 *
 *   | room, writable … [input] | forbidden page | */
struct fence {
    char  *at;
    size_t scratch;
    size_t page;
};

struct cuts {
    struct span   wire;
    const size_t *places;  /* ascending; where a piece ends before the end of the wire */
    size_t        place_count, place;
    size_t        step;    /* bytes of every piece; if it is not 0 `places` is ignored */
    size_t        given;
    struct span   input;   /* the last one given out */
    struct fence  fence;
};

static void fence_init(struct fence *fence, size_t bytes_max)
{
    fence->page = (size_t)sysconf(_SC_PAGESIZE);
    fence->scratch = (bytes_max / fence->page + 1) * fence->page;
    fence->at   = mmap(NULL, fence->scratch + fence->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(fence->at != MAP_FAILED);
    must(mprotect(fence->at + fence->scratch, fence->page, PROT_NONE) == 0);
}

static void fence_fini(struct fence *fence)
{
    must(munmap(fence->at, fence->scratch + fence->page) == 0);
}

static size_t piece_end(struct cuts *cuts)
{
    if (cuts->step > 0)
        return cuts->given + cuts->step < cuts->wire.len ? cuts->given + cuts->step : cuts->wire.len;
    return cuts->place < cuts->place_count ? cuts->places[cuts->place++] : cuts->wire.len;
}

bool cuts_next(struct cuts *cuts, size_t kept, struct span *ret_input)
{
    must(kept <= cuts->input.len);
    if (cuts->given == cuts->wire.len)
        return false;

    size_t end   = piece_end(cuts);
    size_t piece = end - cuts->given;
    char  *to    = cuts->fence.at + cuts->fence.scratch - piece - kept;
    memmove(to, cuts->input.at + cuts->input.len - kept, kept);
    memcpy(to + kept, cuts->wire.at + cuts->given, piece);
    cuts->given = end;
    cuts->input = span_of(to, kept + piece);
    *ret_input  = cuts->input;
    return true;
}

/* One check: the same wire is told again and again with other cuts. */
struct law {
    struct span  wire;
    void       (*tell)(struct cuts *cuts, void *context, struct buf *transcript);
    void        *context;
    struct fence fence;
    struct buf   whole;  /* or, once a cut made a difference, the explanation */
};

static void tell_cut(struct law *law, const size_t *places, size_t count, size_t step, struct buf *transcript)
{
    struct cuts cuts = { .wire = law->wire, .places = places, .place_count = count, .step = step,
                         .input = span_of(law->fence.at, 0), .fence = law->fence };
    law->tell(&cuts, law->context, transcript);
    must(!buf_is_over(transcript));
}

static bool is_same(struct law *law, const char *how, const size_t *places, size_t count, size_t step)
{
    struct buf transcript;

    buf_init(&transcript, TRANSCRIPT_BYTES_MAX);
    tell_cut(law, places, count, step, &transcript);
    bool is_same = span_eq(buf_span(&transcript), buf_span(&law->whole));
    if (!is_same) {
        buf_putf(&law->whole, "\nis the transcript of the whole; %s (first at %zu) makes it\n", how,
                 count > 0 ? places[0] : step);
        buf_put(&law->whole, buf_span(&transcript));
    }
    buf_fini(&transcript);
    return is_same;
}

static bool single_cuts_hold(struct law *law)
{
    for (size_t at = 1; at < law->wire.len; at += 1 + law->wire.len / SINGLE_CUTS_MAX)
        if (!is_same(law, "a single cut", &at, 1, 0))
            return false;
    return true;
}

static int by_size(const void *a, const void *b)
{
    size_t left = *(const size_t *)a, right = *(const size_t *)b;
    return (left > right) - (left < right);
}

static bool random_cuts_hold(struct law *law, unsigned draws)
{
    struct rng rng = { law->wire.len };
    size_t     places[PLACES_MAX];

    for (unsigned draw = 0; draw < draws; draw++) {
        size_t count = 2 + rng_below(&rng, PLACES_MAX - 1);
        for (size_t i = 0; i < count; i++)
            places[i] = rng_below(&rng, law->wire.len + 1);
        qsort(places, count, sizeof places[0], by_size);
        if (!is_same(law, "a random draw of cuts", places, count, 0))
            return false;
    }
    return true;
}

bool laws_hold(struct span wire, void (*tell)(struct cuts *cuts, void *context, struct buf *transcript), void *context,
               unsigned draws, struct buf *ret_transcript)
{
    struct law law = { .wire = wire, .tell = tell, .context = context };

    fence_init(&law.fence, wire.len);
    buf_init(&law.whole, 2 * TRANSCRIPT_BYTES_MAX);
    tell_cut(&law, NULL, 0, 0, &law.whole);
    bool is_held = single_cuts_hold(&law) && is_same(&law, "a byte at a time", NULL, 0, 1) &&
                   random_cuts_hold(&law, draws);
    fence_fini(&law.fence);
    *ret_transcript = law.whole;
    return is_held;
}

void laws_tell(struct span wire, void (*tell)(struct cuts *cuts, void *context, struct buf *transcript), void *context,
               struct buf *transcript)
{
    struct law law = { .wire = wire, .tell = tell, .context = context };

    fence_init(&law.fence, wire.len);
    tell_cut(&law, NULL, 0, 0, transcript);
    fence_fini(&law.fence);
}
