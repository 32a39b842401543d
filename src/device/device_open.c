/* device_open.c - a link of a session comes: the session is loaded, its generation raised, the older link fenced.
 *
 *     take ─▶ line ─▶ begin ─▶ sessions, places, groups ─▶ decide ─▶ heads ─▶ write ─▶ fence ─▶ answer
 *             │        │       (rows of the user, at once)   │ refuse          │         │ stale: anew
 *        too many   another one of                           ▼                 │         ▼
 *        under way  this session                           answer        only of channels without a place
 *
 * One at a time of each session. What is in memory spares the rows of sessions and places, if no other node can have
 * changed them. */
#include <stdlib.h>

#include "base/must.h"
#include "device/open_work.h"

/* --- whose turn it is ------------------------------------------------------------------------------------------- */

static void open_home(struct session_open *open, enum open_outcome outcome)
{
    struct devices *devices = open->devices;

    open->outcome = outcome;
    open_work_free(open);
    if (outcome == OPEN_STALE)
        counter_add(&devices->counters.stale, 1);
    else if (outcome != OPEN_DONE)
        counter_add(&devices->counters.refused, 1);
    devices->writer->port->send(devices->writer->ctx, open->home->loop, &open->command);
}

static void open_begin(struct devices *devices, struct session_open *open)
{
    struct standing *standing = standing_get(devices, open->user, open->device);

    if (standing->op != NULL) {
        struct session_open **end = &standing->op->next;
        while (*end != NULL)
            end = &(*end)->next;
        *end = open;
        devices->line_count++;
        return;
    }
    open->work = calloc(1, sizeof *open->work);
    must(open->work != NULL);
    open->work->open     = open;
    open->work->standing = standing;
    list_init(&open->work->in_storing);
    buf_init(&open->work->prefix, LEDGER_KEY_BYTES_MAX);
    buf_init(&open->work->place_prefix, LEDGER_KEY_BYTES_MAX);
    buf_init(&open->work->after, LEDGER_KEY_BYTES_MAX);
    standing->op = open;
    devices->open_count++;
    standing_settle(devices, standing);
    open_load(open);
}

static bool open_may_begin(const struct devices *devices)
{
    return devices->open_count < devices->limits.opens_max && devices->hold_ticks == 0;
}

void device_open_begin_waiting(struct devices *devices)
{
    while (devices->line != NULL && open_may_begin(devices)) {
        struct session_open *open = devices->line;
        devices->line             = open->next;
        if (devices->line == NULL)
            devices->line_end = &devices->line;
        open->next = NULL;
        devices->line_count--;
        open_begin(devices, open);
    }
}

/* Answers, and lets the next one begin. */
void open_end(struct session_open *open, enum open_outcome outcome)
{
    struct devices      *devices  = open->devices;
    struct standing     *standing = open->work->standing;
    struct session_open *next     = open->next;
    const uint32_t       hash     = standing->node.hash;
    const bool           is_lost  = outcome == OPEN_DONE && open->work->lost_to > standing->generation;

    open->next   = NULL;
    standing->op = NULL;
    devices->open_count--;
    open_home(open, outcome);
    if (is_lost)
        standing_fence(devices, standing, FENCE_REPLACED, NULL);
    if (next != NULL) {
        devices->line_count--;
        open_begin(devices, next);
    } else {
        standing_settle(devices, standing);
    }
    device_calls_go_on(devices, hash);
    device_open_begin_waiting(devices);
}

void open_is_lost(struct session_open *open, uint64_t to)
{
    if (open->work->lost_to < to)
        open->work->lost_to = to;
}

void device_open_take(struct command *command, struct writer *writer)
{
    struct session_open *open    = container_of(command, struct session_open, command);
    struct devices      *devices = open->devices;

    (void)writer;
    if (devices->line_count >= devices->limits.waiting_max) {
        open_home(open, OPEN_BUSY);
    } else if (!open_may_begin(devices)) {
        *devices->line_end = open;
        devices->line_end  = &open->next;
        devices->line_count++;
    } else {
        open_begin(devices, open);
    }
}

static void abandon_in(struct session_open *line, const struct session_abandon *abandon)
{
    for (; line != NULL; line = line->next)
        line->is_abandoned |= line->home == abandon->home && line->key == abandon->key;
}

void device_abandon_take(struct command *command, struct writer *writer)
{
    struct session_abandon *abandon  = container_of(command, struct session_abandon, command);
    struct standing        *standing = standing_find(abandon->devices, abandon->user, abandon->device);

    (void)writer;
    abandon_in(abandon->devices->line, abandon);
    if (standing != NULL)
        abandon_in(standing->op, abandon);
    command_free(command);
}

/* --- in memory -------------------------------------------------------------------------------------------------- */

static void standing_take_place(struct devices *devices, struct standing *standing, const struct work_place *from)
{
    struct standing_place *place = standing_place_find(standing, channel_name_span(from->name));

    if (place == NULL)
        place = standing_place_add(standing, from->name);
    else if (place->is_gone)
        return;
    else if (standing_place_epoch(devices, standing, place) == from->epoch ? place->seq >= from->seq : place->is_dirty)
        return;
    standing_place_set_epoch(devices, standing, place, from->epoch);
    place->seq     = from->seq;
    place->is_kept = from->is_kept;
}

/* Not as new: the older link's node may have stored a place since the rows were read, and that stays if it is further. */
void standing_store_new(struct open_work *work)
{
    for (size_t i = 0; i < work->places.count; i++) {
        const struct work_place *from = &work->places.at[i];
        standing_take_place(work->open->devices, work->standing, from);
        if (!from->is_asked)
            continue;
        standing_place_find(work->standing, channel_name_span(from->name))->is_dirty = true;
    }
}

static uint8_t from_back_of(const struct open_work *work)
{
    uint64_t back = work->row.from == 0 ? 0 : work->row_generation - work->row.from;

    return back > UINT8_MAX ? 0 : (uint8_t)back;
}

/* Where other nodes write too: has one of them had the session since this one knew it? Then what is in memory is of an older
 * generation, which can store nothing any more. */
static bool open_was_overtaken(const struct open_work *work)
{
    return !work->open->devices->writer->durable.store->has_one_writer &&
           work->standing->generation != work->read_generation;
}

/* Where no other node writes, a generation between the link's and this one was given to nobody: nobody knew what became of its raise. */
static uint8_t link_back_of(const struct open_work *work)
{
    const struct standing *standing = work->standing;
    uint64_t               back     = work->row_generation - standing->generation + standing->link_back;

    if (standing->home == NULL && !standing->is_fencing)
        return 0;
    return open_was_overtaken(work) || work->row_generation < standing->generation || back > LINK_LOST ? LINK_LOST : (uint8_t)back;
}

/* What was loaded counts from now on. A place that moved meanwhile stays. */
void standing_take(struct session_open *open)
{
    struct open_work *work     = open->work;
    struct standing  *standing = work->standing;

    if (open_was_overtaken(work)) {
        if (standing->generation < work->read_generation)
            device_peer_remember(open->devices, standing);
        standing_drop_places(standing);
    }
    bool is_other = !standing->is_loaded && standing->since != work->row.since;
    if (work->is_new || (is_other && standing->handle_count == 0 && !standing->is_writing && !standing_has_news(standing)))
        standing_places_free(standing);
    for (size_t i = 0; i < work->places.count; i++)
        standing_take_place(open->devices, standing, &work->places.at[i]);
    if (standing->generation != work->row_generation)
        standing->is_seen_dirty = false;
    standing->is_yielded = false;
    standing->link_back  = link_back_of(work);
    if (standing->generation != work->row_generation || work->raised != 0)
        standing_set_life(open->devices, standing, work->epoch);
    standing->generation = work->row_generation;
    standing->since      = work->row.since;
    standing->seen       = work->row.seen;
    standing->from_back  = from_back_of(work);
    standing->is_unsettled = work->is_unsettled;
    standing->is_loaded  = true;
    standing_set_class(standing, work->row.device_class);
}

static bool place_is_behind(const struct devices *devices, const struct standing *standing, const struct work_place *stored)
{
    const struct standing_place *place = standing_place_find(standing, channel_name_span(stored->name));

    if (place == NULL)
        return true;
    return !place->is_gone && (standing_place_epoch(devices, standing, place) != stored->epoch || place->seq < stored->seq);
}

/* What was kept when the rows were read, and has no row now, was dropped by the older link. */
static bool standing_drop_unstored(struct open_work *work)
{
    struct standing *standing = work->standing;
    bool             is_any   = false;

    for (uint32_t i = 0; i < standing->place_count && !standing->is_writing; i++) {
        struct standing_place *place = &standing->places[i];
        if (!place->is_kept || place->is_dirty || work_places_find(&work->stored, place->name) != NULL)
            continue;
        place->is_gone = true;
        is_any         = true;
    }
    standing_take_gone(standing);
    return is_any;
}

bool standing_take_stored(struct open_work *work)
{
    bool was_behind;

    work_places_sort(&work->stored);
    was_behind = standing_drop_unstored(work);
    for (size_t i = 0; i < work->stored.count; i++) {
        was_behind |= place_is_behind(work->open->devices, work->standing, &work->stored.at[i]);
        standing_take_place(work->open->devices, work->standing, &work->stored.at[i]);
    }
    return was_behind;
}

/* --- deciding --------------------------------------------------------------------------------------------------- */

static bool open_is_current(const struct session_open *open)
{
    const struct open_work *work = open->work;

    return open->generation == work->row_generation && open->since == work->row.since;
}

/* Has the present generation been opened by somebody who named the same one? Then its answer was lost on the way, and
 * the client comes with what it had before. */
static bool open_is_again(const struct session_open *open)
{
    const struct open_work *work = open->work;

    return open->generation != 0 && open->generation == work->row.from && open->since == work->row.since;
}

/* Has the client come by a newer link since it asked for this one? Then that one stays: the older one is dead, and was only
 * longer under way. */
static bool open_is_late(const struct session_open *open)
{
    const struct standing *standing = open->work->standing;

    return standing->home != NULL && open->asked_at != 0 && open->asked_at < standing->asked_at;
}

/* OPEN_DONE: go on. */
static enum open_outcome open_judge(const struct session_open *open, bool is_there)
{
    const struct open_work *work = open->work;

    if (open->is_abandoned)
        return OPEN_STALE;
    switch (open->way) {
    case OPEN_NEWER:
        if (open_is_late(open))
            return OPEN_STALE;
        return !is_there && work->device_count >= open->devices->limits.devices_max ? OPEN_FULL : OPEN_DONE;
    case OPEN_TICKET:
        return is_there && open_is_current(open) ? OPEN_DONE : OPEN_STALE;
    case OPEN_STREAM:
        if (open_is_late(open))
            return OPEN_STALE;
        return is_there && (open_is_current(open) || open_is_again(open)) ? OPEN_DONE : OPEN_STALE;
    case OPEN_CURSOR:
        if (!is_there)
            return OPEN_NONE;
        return open_is_current(open) ? OPEN_DONE : OPEN_STALE;
    case OPEN_ACK:
        if (!is_there)
            return OPEN_NONE;
        return open->generation == 0 || open->generation == work->row_generation ? OPEN_DONE : OPEN_STALE;
    }
    return OPEN_AWAY;
}

static void decide_again(struct open_work *work)
{
    open_decide(work->open);
}

/* Another node has had the session since there was a link of it here. Only that node is told what was acknowledged on that link: all of
 * it has to be in memory before the places that were read take its place. */
static bool open_waits_for_link(struct session_open *open)
{
    struct open_work *work     = open->work;
    struct standing  *standing = work->standing;

    if (!open_was_overtaken(work) || work->read_generation < standing->generation)
        return false;
    standing_fence(open->devices, standing, FENCE_REPLACED, NULL);
    if (!standing_waits_for_loop(open->devices, standing))
        return false;
    work->link_told = decide_again;
    return true;
}

void open_decide(struct session_open *open)
{
    if (open_waits_for_link(open))
        return;

    struct open_work *work     = open->work;
    struct standing  *standing = work->standing;
    bool              is_there = work->has_row && (standing->home != NULL || !row_has_run_out(open->devices, &work->row));

    enum open_outcome outcome = open_judge(open, is_there);
    if (outcome != OPEN_DONE) {
        open_end(open, outcome);
        return;
    }
    work->is_new    = !is_there;
    work->is_parked = work->is_new && standing->is_writing;
    if (work->is_parked)
        return;  /* what is being written belongs to the session that ended */
    open_gather(work);
    if (open->way == OPEN_ACK)
        open_ack_begin(open);
    else
        open_ask_heads(open);
}

/* Who could not store them goes on: then they are told as far as they are stored. */
static void open_stored(struct session_open *open, enum ledger_outcome outcome)
{
    struct standing *standing = open->work->standing;

    if ((outcome == LEDGER_DONE || outcome == LEDGER_STALE) && standing_has_news(standing)) {
        open_store(open);
        return;
    }
    open->work->has_stored = true;
    standing_settle(open->devices, standing);
    open_answer(open);
}

void open_store(struct session_open *open)
{
    list_push(&open->devices->storing, &open->work->in_storing);
    standing_settle(open->devices, open->work->standing);
}

static void open_store_ended(struct session_open *open, enum ledger_outcome outcome)
{
    list_take(&open->work->in_storing);
    if (open->way == OPEN_ACK)
        open_ack_stored(open, outcome);
    else
        open_stored(open, outcome);
}

void device_open_go_on(struct standing *standing, enum ledger_outcome outcome)
{
    struct session_open *open = standing->op;

    if (open->work->is_parked)
        open_decide(open);
    else if (list_is_linked(&open->work->in_storing))
        open_store_ended(open, outcome);
}

bool device_open_is_storing(const struct standing *standing)
{
    return standing->op != NULL && list_is_linked(&standing->op->work->in_storing);
}

struct standing *device_open_first_unwritten(const struct devices *devices)
{
    for (struct list *at = devices->storing.next; at != &devices->storing; at = at->next) {
        struct open_work *work = container_of(at, struct open_work, in_storing);
        if (!work->standing->is_writing)
            return work->standing;
    }
    return NULL;
}

void device_opens_refused(struct devices *devices)
{
    struct standing *standing;

    while ((standing = device_open_first_unwritten(devices)) != NULL)
        open_store_ended(standing->op, devices->refused_with);
}

/* --- acting ----------------------------------------------------------------------------------------------------- */

/* The first poll of a session says so in its row, because the link may be on any node from then on. */
static bool open_begins_roaming(const struct session_open *open)
{
    return open->devices->node[0] != '\0' && !open->work->before.is_roaming;
}

void open_act(struct session_open *open)
{
    if (open->is_abandoned) {
        open_end(open, OPEN_STALE);
    } else if (open->way == OPEN_ACK) {
        open_acknowledge(open);
    } else if (open->way == OPEN_CURSOR && !open_begins_roaming(open)) {
        standing_take(open);
        standing_store_new(open->work);
        open_fence(open);
    } else {
        open_write(open);
    }
}

/* --- fencing ---------------------------------------------------------------------------------------------------- */

/* What was gathered, and what the session keeps by a word that is not stored yet: its older link may have said it behind the
 * read of the rows. What it has dropped in the same way is followed no more. */
static bool session_follows(const struct standing_place *place, const struct work_place *gathered)
{
    bool is_group = span_eq(span_str(place->name->space->name), SPAN("group"));

    if (place->is_gone && !is_group)
        return false;
    return gathered != NULL ? !gathered->is_over || gathered->is_replayed : place->is_kept && !place->is_gone;
}

static void answer_places(struct session_open *open)
{
    struct open_work      *work     = open->work;
    const struct standing *standing = work->standing;

    open->places = calloc(standing->place_count + 1, sizeof open->places[0]);
    must(open->places != NULL);
    for (uint32_t i = 0; i < standing->place_count; i++) {
        const struct standing_place *place    = &standing->places[i];
        struct work_place           *gathered = work_places_find(&work->places, place->name);
        if (!session_follows(place, gathered))
            continue;
        open->places[open->place_count++] = (struct session_place){
            .name = channel_name_ref(place->name), .epoch = standing_place_epoch(open->devices, standing, place),
            .seq = place->seq, .is_kept = place->is_kept, .is_of_member = gathered != NULL && gathered->is_group && !gathered->is_over,
            .is_over = gathered != NULL && gathered->is_over, .spans = gathered == NULL ? NULL : gathered->spans,
        };
        if (gathered != NULL)
            gathered->spans = NULL;
    }
}

/* The next poll may come to any node, which reads the rows and asks nobody. What the older link acknowledged a moment ago has to be there. While
 * nothing is tried, because a write was refused a moment ago, this is: the ledger has just taken the row of this opening. */
static bool open_has_to_store(const struct session_open *open)
{
    const struct devices  *devices  = open->devices;
    const struct standing *standing = open->work->standing;

    return open->is_poll && devices->peers != NULL && (devices->pause_ticks == 0 || open->work->raised != 0) && !open->work->has_stored &&
           (standing->is_writing || standing_has_news(standing));
}

void open_answer(struct session_open *open)
{
    struct devices   *devices  = open->devices;
    struct open_work *work     = open->work;
    struct standing  *standing = work->standing;

    if (work->is_untold) {
        work->is_untold = false;
        open_load_places_again(work);
        return;
    }
    if (!work->is_again && open_groups_are_old(work)) {
        work->is_again = true;
        work->was_new  = work->is_new;
        open_load_groups_again(work);
        return;
    }
    if (open_has_to_store(open)) {
        open_store(open);
        return;
    }
    answer_places(open);
    open->generation     = standing->generation;
    standing->is_roaming = open->is_poll;
    open->since          = standing->since;
    open->groups_seq     = work->groups_seq;
    open->is_resumed     = !work->is_new && !work->was_new;
    open->standing       = standing;
    standing->home       = open->home;
    standing->key        = open->key;
    standing->asked_at   = open->asked_at;
    standing->link_back  = 0;
    standing_set_transport(devices, standing, open->transport);
    standing->is_between = standing->is_parted = false;
    standing->handle_count++;
    counter_add(&devices->counters.linked, 1);
    counter_add(&devices->counters.opens, 1);
    counter_add(&devices->counters.resumes, open->is_resumed);
    open_end(open, OPEN_DONE);
}

static void fence_back(struct open_work *work)
{
    must(work->fences_left > 0);
    if (--work->fences_left == 0)
        open_answer(work->open);
}

static void fence_over(struct fence_wait *wait)
{
    struct open_work *work = container_of(wait, struct open_work, wait);

    must(work->loops_left > 0);
    work->loops_left--;
    fence_back(work);
}

/* The last one may be what the opening waited for. */
void open_loops_ended(struct session_open *open)
{
    for (uint32_t left = open->work->loops_left; left > 0; left--)
        fence_over(&open->work->wait);
}

void open_peer_back(struct session_open *open)
{
    fence_back(open->work);
}

static void fence_own(struct session_open *open)
{
    struct open_work *work = open->work;

    standing_fence(open->devices, work->standing, FENCE_REPLACED, NULL);
    if (!standing_waits_for_loop(open->devices, work->standing))
        return;
    work->fences_left++;
    work->link_told = fence_back;
}

/* A session that ends because of this one. */
static void fence_other(struct session_open *open, const struct work_device *other)
{
    struct span      device   = span_of(other->name, other->len);
    struct standing *standing = standing_find(open->devices, open->user, device);

    counter_add(&open->devices->counters.ended, 1);
    device_peer_ask(open, device, &other->row, other->generation + 1, false);
    if (standing == NULL)
        return;
    const bool waits = standing->home != NULL && !open->devices->have_loops_ended;
    open->work->loops_left += waits;
    open->work->fences_left += waits;
    standing_fence(open->devices, standing, FENCE_REPLACED, waits ? &open->work->wait : NULL);
    if (standing->op != NULL)
        open_is_lost(standing->op, other->generation + 1);
    else
        standing->generation = other->generation + 1;  /* what it acknowledges from now on is dropped, and what it acknowledged before, too */
    standing_forget(standing);
    device_link_forget(open->devices, standing);
}

/* A poll goes on in its generation, so the link before it is of that one, too. */
static uint64_t fenced_below(const struct session_open *open)
{
    return open->work->row_generation + (open->way == OPEN_CURSOR);
}

/* The answer waits until the loops of the older links have let them go. */
void open_fence(struct session_open *open)
{
    struct open_work *work = open->work;

    work->wait.over   = fence_over;
    work->fences_left = 1;
    fence_own(open);
    if (open->way != OPEN_CURSOR || !work->before.is_roaming)
        device_peer_ask(open, open->device, &work->before, fenced_below(open), true);
    if (work->is_replaced)
        device_unsure_ask(open);
    for (size_t i = 0; i < work->other_count; i++)
        fence_other(open, &work->others[i]);
    fence_back(work);
}
