/* request_group.c - where no other node writes rows of requests, calls that begin in one turn share a row CALLS.
 *
 *     claims ──▶ row is written, each id is checked ──▶ calls ──▶ all have a response ──▶ spare ──▶ used again, or deleted
 *
 * A repeated id is found in memory while its call is under way, and by its REQUEST row later; the row CALLS is for the next start of
 * this node alone. So it is written once, and not when one of its calls ends: which of them have ended is told by their REQUEST
 * rows. What is under way for long moves to a new row, so that no row relies on REQUEST rows that may be forgotten. */
#include <stdlib.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "uplink/requests_priv.h"

enum {
    GROUP_CALLS      = 200,        /* with their checks they fit into a batch */
    GROUP_BYTES      = 60 * 1024,  /* of the row's value */
    CALL_EXTRA_BYTES = 20,
    SPARE_MS         = 1000,
};

struct call_group {
    struct list          link;      /* in requests.groups or spare */
    struct requests     *requests;
    struct calls_place   place;
    struct list          works;     /* whose call is under way */
    struct call_group   *from;      /* its calls move here */
    bool                 is_writing, is_moving, has_abandoned;
    bool                 is_doubtful;  /* the row that its calls stood in was to go with this one; which of the two is there? */
    msec                 since;     /* it was written, or is spare */
    struct request_write write;
    struct ledger_change changes[2];
    struct buf           bytes;     /* key and value */
    void               (*adopted)(struct requests *requests, bool is_done);
};

/* --- its life ------------------------------------------------------------------------------------------------------ */

static struct call_group *group_new(struct requests *requests)
{
    struct call_group *group = calloc(1, sizeof *group);

    must(group != NULL);
    group->requests = requests;
    group->place    = (struct calls_place){ requests->setup.self.incarnation, ++requests->group_count };
    list_init(&group->works);
    buf_init(&group->bytes, SIZE_MAX / 2);
    return group;
}

static void group_free(struct call_group *group)
{
    must(list_is_empty(&group->works));
    list_take(&group->link);
    buf_fini(&group->bytes);
    free(group);
}

/* No call of it is under way. A row with a call that was abandoned stays for the next start. */
static void group_rest_if_empty(struct call_group *group)
{
    if (group->is_writing || group->is_moving || !list_is_empty(&group->works))
        return;
    if (group->has_abandoned) {
        group_free(group);
        return;
    }
    list_take(&group->link);
    list_push(&group->requests->spare, &group->link);
    group->since = group->requests->now;
}

static struct call_group *group_take(struct requests *requests)
{
    struct list       *link  = list_pop(&requests->spare);
    struct call_group *group = link == NULL ? group_new(requests) : container_of(link, struct call_group, link);

    list_push(&requests->groups, &group->link);
    group->is_writing  = true;
    group->is_doubtful = false;
    group->since       = requests->now;
    buf_clear(&group->bytes);
    calls_key_put(&group->bytes, group->place);
    return group;
}

static void work_leave(struct request_work *work, bool is_abandoned)
{
    struct call_group *group = work->group;

    list_take(&work->in_group);
    work->group = NULL;
    if (group == NULL)
        return;
    group->has_abandoned |= is_abandoned;
    group_rest_if_empty(group);
}

void request_group_leave(struct request_work *work)
{
    work_leave(work, false);
}

void request_group_abandon(struct request_work *work)
{
    work_leave(work, true);
}

/* --- its row ------------------------------------------------------------------------------------------------------- */

static void group_put(struct call_group *group, struct list *line, void (*done)(struct request_write *), enum ledger_op op)
{
    struct calls_place place;
    const size_t       key_len = sizeof place.incarnation + sizeof place.number;

    group->changes[0] = (struct ledger_change){ .op = op, .key = { ROW_CALLS, span_head(buf_span(&group->bytes), key_len) },
                                                .generation = REQUEST_GENERATION };
    must(calls_key_get(group->changes[0].key.bytes, &place) && place.number == group->place.number);
    if (op == LEDGER_PUT)
        group->changes[0].value = span_skip(buf_span(&group->bytes), key_len);
    group->write = (struct request_write){ .done = done, .write = { .changes = group->changes, .count = 1 } };
    request_write_put(group->requests, line, &group->write);
}

static void group_written(struct request_write *write)
{
    struct call_group *group = container_of(write, struct call_group, write), *from = group->from;

    group->is_writing = false;
    if (from != NULL) {
        group->from     = NULL;
        from->is_moving = false;
        if (write->write.outcome == LEDGER_DONE) {
            for (struct list *at = from->works.next; at != &from->works; at = at->next)
                container_of(at, struct request_work, in_group)->group = group;
            list_move(&group->works, &from->works);
        }
        group_rest_if_empty(from);
    }
    group_rest_if_empty(group);
}

/* --- claims -------------------------------------------------------------------------------------------------------- */

void request_group_add(struct request_work *work)
{
    work->is_grouped = true;
    list_push(&work->requests->claims, &work->in_group);
}

/* The row is written before it is looked at whether the id was new: it comes first in the batch. */
static void grouped_claim_written(struct request_write *write)
{
    struct request_work *work    = container_of(write, struct request_work, write);
    enum ledger_outcome  outcome = work->group->write.write.outcome;

    if (outcome == LEDGER_DONE)
        outcome = write->write.outcome;
    if (outcome != LEDGER_DONE)
        request_group_leave(work);
    request_claim_settled(work, outcome);
}

static struct ledger_change check_absent(enum row_kind kind, struct span key)
{
    return (struct ledger_change){ .op = LEDGER_CHECK, .key = { kind, key }, .is_conditional = true, .if_generation = 0 };
}

static void group_claim(struct call_group *group, struct request_work *work)
{
    calls_row_add(&group->bytes, work->hash, work_key(work));
    list_push(&group->works, &work->in_group);
    work->group      = group;
    work->changes[0] = check_absent(ROW_REQUEST, work_key(work));
    work->changes[1] = check_absent(ROW_CALL, work_key(work));
    work->write      = (struct request_write){
        .done  = grouped_claim_written,
        .write = { .changes = work->changes, .count = work->requests->are_calls_known ? 1 : 2 },
    };
}

void request_groups_form(struct requests *requests, struct list *line)
{
    size_t count = 0;

    if (list_is_empty(&requests->claims))
        return;
    struct call_group *group = group_take(requests);
    calls_row_begin(&group->bytes, requests->setup.writer->wall);
    while (!list_is_empty(&requests->claims) && count++ < GROUP_CALLS) {
        struct request_work *work = container_of(requests->claims.next, struct request_work, in_group);
        if (group->bytes.len + CALL_EXTRA_BYTES + work->key_len > GROUP_BYTES)
            break;
        list_take(&work->in_group);
        group_claim(group, work);
    }
    group_put(group, line, group_written, LEDGER_PUT);
    for (struct list *at = group->works.next; at != &group->works; at = at->next)
        request_write_put(requests, line, &container_of(at, struct request_work, in_group)->write);
}

/* --- calls of a start before --------------------------------------------------------------------------------------- */

struct call_group *request_group_adopt(struct requests *requests)
{
    struct call_group *group = group_take(requests);

    calls_row_begin(&group->bytes, requests->setup.writer->wall);
    return group;
}

void request_group_join(struct call_group *group, struct request_work *work)
{
    calls_row_add(&group->bytes, work->hash, work_key(work));
    list_push(&group->works, &work->in_group);
    work->group = group;
}

bool request_group_holds(const struct request_work *work)
{
    return work->group != NULL && !work->group->is_doubtful;
}

void request_group_disband(struct call_group *group)
{
    for (struct list *at; (at = list_pop(&group->works)) != NULL;)
        container_of(at, struct request_work, in_group)->group = NULL;
    group->is_writing = false;
    group_rest_if_empty(group);
}

/* A write that failed may have been carried out: its calls stay, so that nothing else is written over what may be their only row. */
static void group_adopted(struct request_write *write)
{
    struct call_group *group    = container_of(write, struct call_group, write);
    struct requests   *requests = group->requests;
    const bool         is_done  = write->write.outcome == LEDGER_DONE;

    void (*adopted)(struct requests *, bool) = group->adopted;
    group->is_writing                        = false;
    group->is_doubtful                       = !is_done;
    group_rest_if_empty(group);
    adopted(requests, is_done);
}

void request_group_replace(struct call_group *group, struct span key, void (*adopted)(struct requests *, bool))
{
    group->adopted = adopted;
    group_put(group, &group->requests->writes, group_adopted, LEDGER_PUT);
    if (key.len == 0)
        return;  /* the other one stays */
    group->changes[1]        = (struct ledger_change){ .op = LEDGER_DELETE, .key = { ROW_CALLS, key } };
    group->write.write.count = 2;
}

/* --- time ---------------------------------------------------------------------------------------------------------- */

static void group_move(struct call_group *from)
{
    struct requests   *requests = from->requests;
    struct call_group *group    = group_take(requests);

    group->from     = from;
    from->is_moving = true;
    calls_row_begin(&group->bytes, requests->setup.writer->wall);
    for (struct list *at = from->works.next; at != &from->works; at = at->next) {
        const struct request_work *work = container_of(at, struct request_work, in_group);
        calls_row_add(&group->bytes, work->hash, work_key(work));
    }
    group_put(group, &requests->writes, group_written, LEDGER_PUT);
}

static void spare_deleted(struct request_write *write)
{
    struct call_group *group = container_of(write, struct call_group, write);

    group->is_writing = false;
    if (write->write.outcome == LEDGER_DONE)
        group_free(group);
    else
        group_rest_if_empty(group);
}

static void spare_delete(struct call_group *group)
{
    list_take(&group->link);
    list_push(&group->requests->groups, &group->link);
    group->is_writing = true;
    buf_clear(&group->bytes);
    calls_key_put(&group->bytes, group->place);
    group_put(group, &group->requests->writes, spare_deleted, LEDGER_DELETE);
}

void request_groups_tick(struct requests *requests)
{
    for (struct list *at = requests->spare.next, *next; at != &requests->spare; at = next) {
        struct call_group *group = container_of(at, struct call_group, link);
        next                     = at->next;
        if (group->since + SPARE_MS <= requests->now || requests->is_stopping)
            spare_delete(group);
    }
    for (struct list *at = requests->groups.next, *next; at != &requests->groups; at = next) {
        struct call_group *group = container_of(at, struct call_group, link);
        next                     = at->next;
        if (!group->is_writing && !group->is_moving && group->since + CALLS_MOVE_MS <= requests->now)
            group_move(group);
    }
}

void request_groups_fini(struct requests *requests)
{
    while (!list_is_empty(&requests->groups))
        group_free(container_of(requests->groups.next, struct call_group, link));
    while (!list_is_empty(&requests->spare))
        group_free(container_of(requests->spare.next, struct call_group, link));
}
