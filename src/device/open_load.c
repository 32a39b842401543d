/* open_load.c - what the ledger and the stores know of a session that is being opened. */
#include <stdlib.h>

#include "base/must.h"
#include "device/open_work.h"

struct open_heads {
    struct device_heads   heads;
    struct session_open  *open;
    struct channel_name **names;     /* these three behind the struct */
    struct work_place   **places;
    struct store_head     answers[];
};

/* --- its memory ------------------------------------------------------------------------------------------------- */

void work_places_free(struct work_places *places)
{
    for (size_t i = 0; i < places->count; i++) {
        channel_name_unref(places->at[i].name);
        free(places->at[i].spans);
    }
    free(places->at);
    *places = (struct work_places){ 0 };
}

struct work_place *work_places_add(struct work_places *places, struct channel_name *take_name)
{
    if (places->count == places->cap) {
        places->cap = places->cap == 0 ? 8 : places->cap * 2;
        places->at  = reallocarray(places->at, places->cap, sizeof places->at[0]);
        must(places->at != NULL);
    }
    places->at[places->count] = (struct work_place){ .name = take_name };
    return &places->at[places->count++];
}

static int work_place_order(const void *a, const void *b)
{
    const struct work_place *left = a, *right = b;
    return span_order(channel_name_span(left->name), channel_name_span(right->name));
}

void work_places_sort(struct work_places *places)
{
    if (places->count > 1)
        qsort(places->at, places->count, sizeof places->at[0], work_place_order);
}

struct work_place *work_places_find(const struct work_places *places, struct channel_name *name)
{
    const struct work_place key = { .name = name };

    if (places->count == 0)
        return NULL;
    return bsearch(&key, places->at, places->count, sizeof places->at[0], work_place_order);
}

static void open_work_empty(struct open_work *work)
{
    work_places_free(&work->stored);
    work_places_free(&work->groups);
    work_places_free(&work->places);
    for (size_t i = 0; i < OPEN_OWN_COUNT; i++)
        channel_name_unref(work->own[i]);
    memset(work->own, 0, sizeof work->own);
    work->round.round.heads.count = 0;
    free(work->others);
    work->others       = NULL;
    work->other_count  = 0;
    work->device_count = 0;
    work->groups_seq   = 0;
    work->read_generation = 0;
    work->before       = (struct session_row){ .node = SPAN("") };
    work->is_of_memory = work->has_row = work->is_damaged = work->is_new = work->is_behind = work->is_replaced = false;
    buf_clear(&work->after);
}

void open_work_free(struct session_open *open)
{
    struct open_work *work = open->work;

    if (work == NULL)
        return;
    open_work_empty(work);
    list_take(&work->in_storing);
    buf_fini(&work->prefix);
    buf_fini(&work->place_prefix);
    buf_fini(&work->after);
    free(work);
    open->work = NULL;
}

/* --- loading ---------------------------------------------------------------------------------------------------- */

enum { LOAD_ROWS_MAX = 500, LOAD_BYTES_MAX = 256 * 1024 };

/* A page of rows; the first one, as long as `after` is empty. */
static struct ledger_read load_page(const struct open_work *work, enum row_kind kind)
{
    return (struct ledger_read){
        .way = LEDGER_SCAN, .kind = (uint8_t)kind,
        .prefix = buf_span(kind == ROW_PLACE ? &work->place_prefix : &work->prefix), .after = buf_span(&work->after),
        .limit = LOAD_ROWS_MAX, .bytes_max = LOAD_BYTES_MAX,
    };
}

static void load_prefixes(struct open_work *work)
{
    buf_clear(&work->prefix);
    row_key_put(&work->prefix, work->open->user, SPAN(""));
    buf_clear(&work->place_prefix);
    row_key_put(&work->place_prefix, work->open->user, work->open->device);
    row_key_put_third(&work->place_prefix, SPAN(""));
}

static void load_ask(struct open_work *work, enum row_kind kind, void (*came)(struct device_read *read))
{
    if (kind == ROW_GROUP && work->after.len == 0)
        work->groups_moved = work->open->devices->groups_moved;
    work->read.came = came;
    work->read.read = load_page(work, kind);
    device_read_send(work->open->devices, &work->read);
}

/* The next page, if there is one. */
static bool load_goes_on(struct open_work *work, const struct ledger_read *read)
{
    buf_clear(&work->after);
    buf_put(&work->after, read->next);
    return work->after.len > 0;
}

/* A damaged row is left out, and the rest is read. Else the ledger can't be asked. */
static bool load_is_there(struct open_work *work, const struct ledger_read *read)
{
    work->is_damaged |= read->rc == RC_CORRUPT;
    return read->rc == RC_OK || read->rc == RC_CORRUPT;
}

static void load_fail(struct open_work *work, enum rc rc)
{
    open_end(work->open, rc == RC_FULL ? OPEN_BUSY : OPEN_AWAY);
}

static struct channel_name *name_new(struct devices *devices, struct span first, struct span second)
{
    struct channel_name *name = NULL;
    struct buf           text;

    buf_init(&text, NAMESPACE_NAME_BYTES_MAX + 1 + CHANNEL_NAME_BYTES_MAX);
    buf_put(&text, first);
    buf_put(&text, second);
    if (buf_is_over(&text) || channel_name_new(devices->namespaces, devices->hash_key, buf_span(&text), &name) !=
                                  CHANNEL_NAME_OK)
        name = NULL;
    buf_fini(&text);
    return name == NULL ? NULL : writer_share_name(devices->writer, name);
}

static struct channel_name *user_channel_new(const struct session_open *open)
{
    return name_new(open->devices, SPAN("user:"), open->user);
}

static struct channel_name *device_channel_ref(const struct session_open *open)
{
    return channel_name_ref(open->work->standing->channel);
}

/* --- … groups --- */

/* Groups that the user has left count too: a device that was away gets what was published before. */
static void take_group_row(struct open_work *work, const struct ledger_row *row)
{
    struct group_spans   spans;
    struct channel_name *name;

    if (!group_spans_get(row->value, &spans))
        return;
    name = name_new(work->open->devices, SPAN("group:"), row_key_last(row->key));
    if (name == NULL)
        return;
    struct work_place *place = work_places_add(&work->groups, name);
    place->generation        = row->generation;
    place->spans             = malloc(sizeof *place->spans);
    must(place->spans != NULL);
    *place->spans = spans;
}

/* The whole list was one page without a row, and no membership was changing while it was read. */
static void note_groupless(struct open_work *work, const struct ledger_read *read)
{
    const struct devices *devices = work->open->devices;

    work->standing->is_groupless = read->rc == RC_OK && read->row_count == 0 && read->next.len == 0 && work->after.len == 0 &&
                                   devices->groups_moving == 0 && devices->groups_moved == work->groups_moved;
}

/* A page shows its rows as they are at one time, and later pages what is newer: so what the first page knows all know. */
static void take_group_rows(struct open_work *work, const struct ledger_read *read)
{
    bool is_first = work->after.len == 0;

    note_groupless(work, read);
    for (size_t i = 0; i < read->row_count; i++) {
        take_group_row(work, &read->rows[i]);
        if (is_first && read->rows[i].generation > work->groups_seq)
            work->groups_seq = read->rows[i].generation;
    }
}

/* --- … places --- */

static void take_place_row(struct open_work *work, const struct ledger_row *row)
{
    struct place_row     stored;
    struct channel_name *name;

    if (!place_row_get(row->value, &stored))
        return;
    name = name_new(work->open->devices, SPAN(""), row_key_last(row->key));
    if (name == NULL)
        return;  /* its namespace is no longer configured */
    struct work_place *place = work_places_add(&work->stored, name);
    place->epoch             = stored.epoch;
    place->seq               = row->generation - 1;
    place->is_kept           = stored.is_kept;
}

/* --- … sessions of the user --- */

bool row_has_run_out(const struct devices *devices, const struct session_row *row)
{
    return row->is_ended || row->seen + devices->limits.session_ttl_ms <= devices->writer->wall;
}

void row_keep_link(struct session_row *to, const struct session_row *from, char node[DEVICE_NODE_BYTES_MAX])
{
    if (from->node.len > 0)
        memcpy(node, from->node.at, from->node.len);
    to->node        = span_of(node, from->node.len);
    to->incarnation = from->incarnation;
    to->is_roaming  = from->is_roaming;
    to->seen        = from->seen;
}

void open_take_row(struct open_work *work, const struct session_row *row, uint64_t generation)
{
    struct span class_of = span_head(row->device_class, sizeof work->row_class);

    work->has_row        = true;
    work->row_generation = generation;
    work->row            = *row;
    if (class_of.len > 0)
        memcpy(work->row_class, class_of.at, class_of.len);
    work->row.device_class = span_of(work->row_class, class_of.len);
    work->row.node         = SPAN("");
}

static void open_take_read_row(struct open_work *work, const struct session_row *row, uint64_t generation)
{
    open_take_row(work, row, generation);
    work->read_generation = generation;
    row_keep_link(&work->before, row, work->before_node);
    device_unsure_find(work);
}

/* Does a session that begins with this link end that one? */
static bool policy_ends(const struct session_open *open, struct span device_class)
{
    if (open->way != OPEN_NEWER)
        return false;
    switch (open->devices->limits.policy) {
    case DEVICES_ALL: return false;
    case DEVICES_ONE_PER_CLASS: return span_eq(open->device_class, device_class);
    case DEVICES_NEWEST: return true;
    }
    return false;
}

static void take_other_row(struct open_work *work, const struct session_row *row, uint64_t generation,
                           struct span device)
{
    struct work_device *other;

    if (!policy_ends(work->open, row->device_class) || device.len > DEVICE_TEXT_MAX) {
        work->device_count++;
        return;
    }
    work->others = reallocarray(work->others, work->other_count + 1, sizeof work->others[0]);
    must(work->others != NULL);
    other             = &work->others[work->other_count++];
    other->row        = *row;
    other->generation = generation;
    other->len        = device.len;
    memcpy(other->name, device.at, device.len);
    other->row.device_class = SPAN("");
    row_keep_link(&other->row, row, other->node);
}

static void take_session_row(struct open_work *work, const struct ledger_row *row)
{
    struct session_row session;
    struct span        device = row_key_last(row->key);

    if (!session_row_get(row->value, &session))
        work->is_damaged = true;
    else if (span_eq(device, work->open->device))
        open_take_read_row(work, &session, row->generation);
    else if (!row_has_run_out(work->open->devices, &session))
        take_other_row(work, &session, row->generation, device);
}

/* --- … one after the other --- */

static void load_take(struct open_work *work, const struct ledger_read *read)
{
    if (read->kind == ROW_GROUP)
        take_group_rows(work, read);
    for (size_t i = 0; read->kind == ROW_PLACE && i < read->row_count; i++)
        take_place_row(work, &read->rows[i]);
    for (size_t i = 0; read->kind == ROW_SESSION && i < read->row_count; i++)
        take_session_row(work, &read->rows[i]);
}

/* In this order: places must not be older than the session's row. */
static const enum row_kind load_order[] = { ROW_SESSION, ROW_PLACE, ROW_GROUP };

enum { LOAD_KINDS = sizeof load_order / sizeof load_order[0] };

static void load_page_came(struct device_read *read)
{
    struct open_work *work  = container_of(read, struct open_work, read);
    uint8_t           kind  = read->read.kind;
    enum rc           rc    = read->read.rc;
    bool              is_ok = load_is_there(work, &read->read), goes_on;

    if (is_ok)
        load_take(work, &read->read);
    goes_on = load_goes_on(work, &read->read);
    ledger_read_fini(&read->read);
    if (!is_ok)
        load_fail(work, rc);
    else if (goes_on)
        load_ask(work, (enum row_kind)kind, load_page_came);
    else if (kind == ROW_GROUP)
        open_decide(work->open);
    else
        load_ask(work, kind == ROW_SESSION ? ROW_PLACE : ROW_GROUP, load_page_came);
}

/* --- … the first pages at once --- */

static void own_name_put(struct open_work *work, struct channel_name *take_name)
{
    struct store_heads *heads = &work->round.round.heads;

    if (take_name != NULL && take_name->space->durability == DURABLE)
        work->own[heads->count++] = take_name;
    else
        channel_name_unref(take_name);
}

/* A new session begins at the heads of its own channels. Where the ledger is far away they are asked for beforehand. */
static void own_heads_want(struct open_work *work)
{
    struct store_heads *heads = &work->round.round.heads;

    heads->names = work->own;
    heads->heads = work->own_heads;
    heads->count = 0;
    if (work->open->devices->writer->durable.store->has_one_writer || work->open->way != OPEN_NEWER)
        return;
    own_name_put(work, user_channel_new(work->open));
    own_name_put(work, device_channel_ref(work->open));
}

static bool round_is_there(struct open_work *work, enum rc *ret_rc)
{
    for (size_t i = 0; i < LOAD_KINDS; i++) {
        *ret_rc = work->round.round.of[i].read.rc;
        if (!load_is_there(work, &work->round.round.of[i].read))
            return false;
    }
    return true;
}

/* Of the first kind that has another page all pages are read before the kinds that follow, which are read anew. */
static size_t round_take(struct open_work *work)
{
    size_t i = 0;

    for (buf_clear(&work->after); i < LOAD_KINDS; i++) {
        load_take(work, &work->round.round.of[i].read);
        if (load_goes_on(work, &work->round.round.of[i].read))
            break;
    }
    return i;
}

static void round_came(struct device_round *round)
{
    struct open_work *work  = container_of(round, struct open_work, round);
    enum rc           rc    = RC_OK;
    bool              is_ok = round_is_there(work, &rc);
    size_t            taken = is_ok ? round_take(work) : 0;

    for (size_t i = 0; i < LOAD_KINDS; i++)
        ledger_read_fini(&round->round.of[i].read);
    if (!is_ok)
        load_fail(work, rc);
    else if (taken < LOAD_KINDS)
        load_ask(work, load_order[taken], load_page_came);
    else
        open_decide(work->open);
}

static void load_round(struct open_work *work)
{
    work->groups_moved           = work->open->devices->groups_moved;
    work->is_unsettled           = work->open->devices->is_unsettled;
    work->round.came             = round_came;
    work->round.round.read_count = LOAD_KINDS;
    own_heads_want(work);
    for (size_t i = 0; i < LOAD_KINDS; i++)
        work->round.round.of[i].read = load_page(work, load_order[i]);
    device_round_send(work->open->devices, &work->round);
}

/* What is in memory is the ledger's, where no other node writes. */
static void take_memory(struct open_work *work)
{
    const struct standing   *standing = work->standing;
    const struct session_row row      = { .since = standing->since, .seen = standing->seen, .from = standing_from(standing),
                                          .device_class = standing_class(standing) };

    work->is_of_memory = true;
    work->is_unsettled = standing->is_unsettled;
    open_take_row(work, &row, standing->generation);
    for (uint32_t i = 0; i < standing->place_count; i++) {
        const struct standing_place *known = &standing->places[i];
        if (known->is_gone)
            continue;
        struct work_place *place = work_places_add(&work->stored, channel_name_ref(known->name));
        place->epoch             = standing_place_epoch(work->open->devices, standing, known);
        place->seq               = known->seq;
        place->is_kept           = known->is_kept;
    }
}

static bool open_may_believe_memory(const struct session_open *open)
{
    const struct devices *devices = open->devices;

    return open->work->standing->is_loaded && devices->writer->durable.store->has_one_writer &&
           (open->way != OPEN_NEWER || devices->limits.policy == DEVICES_ALL);
}

/* An opening that is refused begins the next one. Within a decision that one asks the ledger all the same, so that a long line
 * does not become a deep stack. */
static void load_groups(struct session_open *open)
{
    struct devices *devices = open->devices;

    if (devices->is_opening || !standing_is_groupless(devices, open->work->standing)) {
        load_ask(open->work, ROW_GROUP, load_page_came);
        return;
    }
    devices->is_opening = true;
    open_decide(open);
    devices->is_opening = false;
}

void open_load(struct session_open *open)
{
    open_work_empty(open->work);
    load_prefixes(open->work);
    if (open_may_believe_memory(open)) {
        take_memory(open->work);
        load_groups(open);
    } else {
        load_round(open->work);
    }
}

/* --- what it follows, and from where ---------------------------------------------------------------------------- */

static struct work_place *gather(struct open_work *work, struct channel_name *name)
{
    struct work_place *stored = work_places_find(&work->stored, name);
    struct work_place *place  = work_places_add(&work->places, channel_name_ref(name));

    if (stored != NULL)
        stored->is_used = true;
    if (work->is_new || stored == NULL)
        return place;
    place->is_known = true;
    place->epoch    = stored->epoch;
    place->seq      = stored->seq;
    place->is_kept  = stored->is_kept;
    return place;
}

/* How far the session has acknowledged the user's log: the first place that was gathered. */
static uint64_t user_log_seen(const struct open_work *work)
{
    return work->places.count > 0 && work->places.at[0].is_known ? work->places.at[0].seq : UINT64_MAX;
}

/* Where the session goes on in a group, if there is anything for it there: behind its place, or where it has not been. */
static bool group_begins(const struct work_place *group, const struct work_place *stored, uint64_t seen,
                         struct group_span *ret)
{
    uint64_t next = stored == NULL ? 0 : group_spans_next(group->spans, stored->epoch, stored->seq + 1);

    if (stored == NULL)
        return group_spans_first(group->spans, group->generation, seen, ret);
    *ret = (struct group_span){ .epoch = stored->epoch, .after = next - 1 };
    return next != 0;
}

/* Is all behind `after` the user's? */
static bool group_has_no_bound(const struct group_spans *spans, uint64_t epoch, uint64_t after)
{
    const struct group_span *last = &spans->spans[spans->count - 1];

    return group_spans_is_member(spans) && (last->epoch != epoch || last->after <= after);
}

/* A new session remembers where its user left the group, and not the head, which is asked for later: the user may have joined again by
 * then, and all from there on is the session's. */
static void place_where_left(struct work_place *place, const struct group_spans *spans)
{
    const struct group_span *last = &spans->spans[spans->count - 1];

    place->epoch    = last->epoch;
    place->seq      = last->until;
    place->is_known = place->is_asked = true;
}

static void gather_group(struct open_work *work, struct work_place *group)
{
    struct group_span  first  = { 0 };
    struct work_place *stored = work_places_find(&work->stored, group->name), *place;
    bool               is_of_now = work->is_new || (stored != NULL && stored->is_kept);

    bool is_over = is_of_now ? !group_spans_is_member(group->spans)
                             : !group_begins(group, stored, user_log_seen(work), &first);
    if (is_over && !work->is_new && stored == NULL)
        return;
    place          = gather(work, group->name);
    place->is_over = is_over;
    place->is_group = true;
    place->is_replayed = is_over && group->generation > work->groups_seq;
    if (work->is_new && is_over)
        place_where_left(place, group->spans);
    if (work->is_new || is_over)
        return;
    if (!place->is_kept) {
        place->epoch    = first.epoch;
        place->seq      = first.after;
        place->is_known = true;
        place->is_asked = stored == NULL;
    }
    if (group_has_no_bound(group->spans, place->epoch, place->seq))
        return;
    place->spans = group->spans;
    group->spans = NULL;
}

static void gather_own(struct open_work *work, struct channel_name *take_name)
{
    if (take_name == NULL)
        return;  /* longer than a channel may be called */
    gather(work, take_name);
    channel_name_unref(take_name);
}

/* The heads that came with the round count where the session has no place. */
static void take_own_heads(struct open_work *work)
{
    for (size_t i = 0; i < work->round.round.heads.count; i++) {
        struct work_place *place = work_places_find(&work->places, work->own[i]);
        if (place == NULL || place->is_known || work->own_heads[i].rc != RC_OK)
            continue;
        place->epoch    = work->own_heads[i].epoch;
        place->seq      = work->own_heads[i].head;
        place->is_known = place->is_asked = true;
        work->is_behind |= place->name->space->membership == MEMBER_IS_USER;
    }
}

void open_gather(struct open_work *work)
{
    const struct session_open *open = work->open;

    work_places_sort(&work->stored);
    gather_own(work, user_channel_new(open));
    gather_own(work, device_channel_ref(open));
    for (size_t i = 0; i < work->groups.count; i++)
        gather_group(work, &work->groups.at[i]);
    for (size_t i = 0; !work->is_new && i < work->stored.count; i++)
        if (work->stored.at[i].is_kept && !work->stored.at[i].is_used)
            gather(work, work->stored.at[i].name);
    work_places_sort(&work->places);
    take_own_heads(work);
}

/* --- groups once more --------------------------------------------------------------------------------------------
 *
 * While a session was opened its older link may have acknowledged messages of the user's log, and a new session may begin
 * behind some, that say more of groups than the rows did when they were read. Nobody tells the link of them any more. */

static bool place_is_at(const struct open_work *work, const struct standing_place *place, const struct work_place *gathered)
{
    return standing_place_epoch(work->open->devices, work->standing, place) == gathered->epoch && place->seq == gathered->seq;
}

/* Has the older link acknowledged something, since the rows were read, in a group that the user was no member of by then? Then it
 * has joined, and the newer link is not to begin there anew. */
static bool group_is_missed(const struct open_work *work)
{
    const struct standing *standing = work->standing;

    for (uint32_t i = 0; i < standing->place_count; i++) {
        const struct standing_place *place    = &standing->places[i];
        const struct work_place     *gathered = work_places_find(&work->places, place->name);
        if (!span_eq(span_str(place->name->space->name), SPAN("group")))
            continue;
        if (gathered == NULL || (gathered->is_over && !place_is_at(work, place, gathered)))
            return true;
    }
    return false;
}

bool open_groups_are_old(const struct open_work *work)
{
    const struct work_place     *user = NULL;
    const struct standing_place *now;

    if (standing_is_groupless(work->open->devices, work->standing))
        return false;
    if (group_is_missed(work))
        return true;
    if (work->is_new && !work->is_behind)
        return true;
    for (size_t i = 0; i < work->places.count && user == NULL; i++)
        if (work->places.at[i].name->space->membership == MEMBER_IS_USER)
            user = &work->places.at[i];
    if (user == NULL)
        return false;
    now = standing_place_find(work->standing, channel_name_span(user->name));
    return now != NULL && !place_is_at(work, now, user);
}

static void groups_came_again(struct device_read *read)
{
    struct open_work *work  = container_of(read, struct open_work, read);
    enum rc           rc    = read->read.rc;
    bool              is_ok = load_is_there(work, &read->read), goes_on;

    if (is_ok)
        take_group_rows(work, &read->read);
    goes_on = load_goes_on(work, &read->read);
    ledger_read_fini(&read->read);
    if (!is_ok) {
        load_fail(work, rc);
        return;
    }
    if (goes_on) {
        load_ask(work, ROW_GROUP, groups_came_again);
        return;
    }
    work_places_free(&work->stored);
    work_places_free(&work->places);
    take_memory(work);
    work->is_new = false;
    open_gather(work);
    standing_store_new(work);
    open_answer(work->open);
}

void open_load_groups_again(struct open_work *work)
{
    work_places_free(&work->groups);
    work->groups_seq = 0;
    buf_clear(&work->after);
    load_ask(work, ROW_GROUP, groups_came_again);
}

/* --- places once more --------------------------------------------------------------------------------------------
 *
 * The older link's node may store a place after the places were read, and before the generation is raised. It tells so
 * when it is asked, if it can be, and remembers the session. Else the rows are read again: behind the raise nobody else
 * can store any. */

static void places_are_there_again(struct open_work *work)
{
    if (!standing_take_stored(work)) {
        open_answer(work->open);
        return;
    }
    work->is_again = true;  /* the user's log may be among them */
    work->was_new  = work->is_new;
    open_load_groups_again(work);
}

static void places_came_again(struct device_read *read)
{
    struct open_work *work  = container_of(read, struct open_work, read);
    enum rc           rc    = read->read.rc;
    bool              is_ok = load_is_there(work, &read->read), goes_on;

    if (is_ok)
        load_take(work, &read->read);
    goes_on = load_goes_on(work, &read->read);
    ledger_read_fini(&read->read);
    if (!is_ok)
        load_fail(work, rc);
    else if (goes_on)
        load_ask(work, ROW_PLACE, places_came_again);
    else
        places_are_there_again(work);
}

void open_load_places_again(struct open_work *work)
{
    work_places_free(&work->stored);
    buf_clear(&work->after);
    load_ask(work, ROW_PLACE, places_came_again);
}

/* --- heads of channels without a place -------------------------------------------------------------------------- */

static void heads_came(struct device_heads *heads)
{
    struct open_heads   *asked = container_of(heads, struct open_heads, heads);
    struct session_open *open  = asked->open;
    bool                 is_ok = true;

    for (size_t i = 0; i < heads->heads.count; i++) {
        const struct store_head *answer = &asked->answers[i];
        is_ok &= answer->rc == RC_OK;
        asked->places[i]->epoch    = answer->epoch;
        asked->places[i]->seq      = answer->head;
        asked->places[i]->is_known = asked->places[i]->is_asked = true;
    }
    free(asked);
    if (is_ok)
        open_ask_heads(open);
    else
        open_end(open, OPEN_AWAY);
}

static bool place_is_to_be_asked(const struct work_place *place, bool is_durable)
{
    return !place->is_known && (place->name->space->durability == DURABLE) == is_durable;
}

static struct open_heads *open_heads_alloc(struct session_open *open, size_t count_max)
{
    struct open_heads *asked;

    asked = malloc(sizeof *asked + count_max * (sizeof asked->answers[0] + sizeof asked->names[0] + sizeof asked->places[0]));
    must(asked != NULL);
    asked->open   = open;
    asked->names  = (struct channel_name **)(void *)&asked->answers[count_max];
    asked->places = (struct work_place **)(void *)&asked->names[count_max];
    asked->heads  = (struct device_heads){ .came  = heads_came,
                                           .heads = { .names = asked->names, .heads = asked->answers } };
    return asked;
}

/* Of one store at a time. NULL: no head of it is to be asked for. */
static struct open_heads *open_heads_new(struct session_open *open, bool is_durable)
{
    struct work_places *places = &open->work->places;
    size_t              count  = 0;

    for (size_t i = 0; i < places->count && count < STORE_HEADS_MAX; i++)
        count += place_is_to_be_asked(&places->at[i], is_durable);
    if (count == 0)
        return NULL;

    struct open_heads *asked = open_heads_alloc(open, count);
    for (size_t i = 0; i < places->count && asked->heads.heads.count < count; i++) {
        if (!place_is_to_be_asked(&places->at[i], is_durable))
            continue;
        asked->names[asked->heads.heads.count]    = places->at[i].name;
        asked->places[asked->heads.heads.count++] = &places->at[i];
    }
    return asked;
}

void open_ask_heads(struct session_open *open)
{
    struct devices    *devices = open->devices;
    struct open_heads *asked   = open_heads_new(open, true);

    if (asked != NULL) {
        device_heads_send(devices, devices->writer->durable.store, &asked->heads);
        return;
    }
    asked = open_heads_new(open, false);
    if (asked != NULL)
        device_heads_send(devices, devices->writer->memory.store, &asked->heads);
    else
        open_act(open);
}
