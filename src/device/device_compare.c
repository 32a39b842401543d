/* device_compare.c - sessions with a link here are compared with the ledger, where other nodes write too: a question of another node
 * (peer_fence.h) may be lost, and then nobody else tells a link that a newer one has replaced it.
 *
 * A round compares each session with a link once. In peace it takes compare_ms, so that the reads are spread; if what other
 * nodes said may be lost, a round begins at once and goes as fast as the ledger answers, one read at a time, and no faster than
 * devices_compare_pace(). */
#include <stdlib.h>

#include "base/must.h"
#include "device/open_work.h"
#include "message/user_name.h"

enum { COMPARE_ROWS_MAX = 200, COMPARE_BYTES_MAX = 256 * 1024, TICK_MS = 100,
       COMPARE_KEY_BYTES_MAX = USER_NAME_BYTES_MAX + 1 + DEVICE_NAME_BYTES_MAX };

struct device_compare {
    struct device_read read;
    struct devices    *devices;
    uint32_t           round : 20;  /* as standing.compared */
    uint32_t           credit;      /* thousandths of sessions that may be compared now */
    uint32_t           pace;        /* sessions in a tick of a round that is urgent; 0: no bound */
    bool               is_urgent;   /* goes on without a pause until the round ends … */
    bool               is_again;    /* … and then once more, because somebody asked meanwhile */
    bool               is_busy;
    size_t             count;
    struct compared {
        struct ledger_key key;
        uint64_t          generation;
    }                  at[COMPARE_ROWS_MAX];
    struct ledger_key  keys[COMPARE_ROWS_MAX];
    char               key_bytes[COMPARE_ROWS_MAX][COMPARE_KEY_BYTES_MAX];
};

/* --- what the ledger says --------------------------------------------------------------------------------------- */

/* The row that was read for a session that had this generation when it was asked for. */
static bool is_overtaken(const struct devices *devices, const struct ledger_row *row, uint64_t generation,
                         enum fence_reason *ret_reason)
{
    struct session_row session;

    *ret_reason = FENCE_ASTRAY;
    if (row->generation < generation || !session_row_get(row->value, &session))
        return true;  /* its database has lost it */
    if (row->generation > generation || (!session.is_roaming && !devices_have_link_of(devices, &session))) {
        *ret_reason = FENCE_REPLACED;
        return true;
    }
    return false;
}

static void compare_row(struct device_compare *compare, const struct compared *asked, const struct ledger_row *row)
{
    struct devices  *devices = compare->devices;
    struct span      rest    = asked->key.bytes, user = SPAN("");
    enum fence_reason reason;

    span_cut(&rest, '\0', &user);
    struct standing *standing = standing_find(devices, user, rest);
    counter_add(&devices->counters.compared, 1);
    if (standing == NULL || standing->home == NULL || standing->op != NULL || standing->generation != asked->generation ||
        !is_overtaken(devices, row, asked->generation, &reason))
        return;
    counter_add(&devices->counters.overtaken, 1);
    standing_fence(devices, standing, reason, NULL);
    standing_yield(standing);
    standing_forget(standing);
    standing_settle(devices, standing);
}

static void compare_step(struct device_compare *compare, size_t count_max);

static void compare_came(struct device_read *read)
{
    struct device_compare *compare = container_of(read, struct device_compare, read);
    struct ledger_read    *rows    = &read->read;
    bool                   is_ok   = rows->rc == RC_OK;

    for (size_t i = 0; i < rows->row_count && i < compare->count; i++)
        compare_row(compare, &compare->at[i], &rows->rows[i]);
    ledger_read_fini(rows);
    compare->is_busy = false;
    if (compare->is_urgent && compare->pace == 0 && is_ok)
        compare_step(compare, COMPARE_ROWS_MAX);
}

/* --- whom it asks for ------------------------------------------------------------------------------------------- */

static void compare_add(struct device_compare *compare, const struct standing *standing)
{
    size_t at   = compare->count++;
    char  *text = compare->key_bytes[at];

    const struct span user = standing_user(standing), device = standing_device(standing);
    const size_t      len  = user.len + 1 + device.len;

    memcpy(text, user.at, user.len);
    text[user.len] = '\0';
    memcpy(text + user.len + 1, device.at, device.len);
    compare->keys[at] = (struct ledger_key){ ROW_SESSION, span_of(text, len) };
    compare->at[at]   = (struct compared){ .key = compare->keys[at], .generation = standing->generation };
}

/* Those that were compared in this round are at the end of the list. One that was moved among them has just stored
 * something, and what it stores says its generation. True: the round has ended. */
static bool compare_gather(struct device_compare *compare, size_t count_max)
{
    struct devices *devices = compare->devices;

    for (size_t looked = 0; looked < 4 * count_max && compare->count < count_max; looked++) {
        if (near_list_is_empty(&devices->lists->held))
            return true;
        struct standing *standing = container_of(near_list_next(&devices->lists->held), struct standing, link);
        if (standing->compared == compare->round)
            return true;
        standing->compared = compare->round;
        near_list_take(&standing->link);
        near_list_push(&devices->lists->held, &standing->link);
        if (standing->home != NULL && standing->op == NULL)
            compare_add(compare, standing);
    }
    return false;
}

static void compare_end_round(struct device_compare *compare)
{
    compare->round++;
    compare->is_urgent = compare->is_again;
    compare->is_again  = false;
}

static void compare_step(struct device_compare *compare, size_t count_max)
{
    compare->count = 0;
    if (compare_gather(compare, count_max))
        compare_end_round(compare);
    if (compare->count == 0)
        return;
    compare->is_busy   = true;
    compare->read.came = compare_came;
    compare->read.read = (struct ledger_read){ .way = LEDGER_GET, .keys = compare->keys, .key_count = compare->count,
                                               .bytes_max = COMPARE_BYTES_MAX };
    device_read_send(compare->devices, &compare->read);
}

/* --- when ------------------------------------------------------------------------------------------------------- */

/* So many that all are compared once in compare_ms; no more than a read holds. */
static size_t compare_due(struct device_compare *compare)
{
    uint64_t linked = counter_get(&compare->devices->counters.linked);
    uint64_t ticks  = (uint64_t)compare->devices->limits.compare_ms / TICK_MS + 1;
    uint64_t credit = compare->credit + linked * 1000 / ticks + 1;

    credit          = credit < COMPARE_ROWS_MAX * 1000 ? credit : COMPARE_ROWS_MAX * 1000;
    compare->credit = (uint32_t)(credit % 1000);
    return (size_t)(credit / 1000);
}

/* Not fewer than in peace. */
static size_t compare_urgent(struct device_compare *compare)
{
    const size_t due  = compare_due(compare);
    const size_t pace = compare->pace > due ? compare->pace : due;

    return compare->pace == 0 || pace > COMPARE_ROWS_MAX ? COMPARE_ROWS_MAX : pace;
}

/* A node alone never needs one. */
static struct device_compare *compare_of(struct devices *devices)
{
    if (devices->compare != NULL)
        return devices->compare;
    devices->compare = calloc(1, sizeof *devices->compare);
    must(devices->compare != NULL);
    devices->compare->devices = devices;
    devices->compare->round   = 1;
    return devices->compare;
}

void device_compare_tick(struct devices *devices)
{
    struct device_compare *compare = compare_of(devices);

    if (compare->is_busy || devices->pause_ticks > 0)
        return;
    size_t due = compare->is_urgent ? compare_urgent(compare) : compare_due(compare);
    if (due > 0)
        compare_step(compare, due);
}

void devices_compare_now(struct devices *devices)
{
    struct device_compare *compare = compare_of(devices);

    if (compare->is_urgent) {
        compare->is_again = true;
        return;
    }
    compare->round++;  /* also those that were compared a moment ago */
    compare->is_urgent = true;
}

void devices_compare_pace(struct devices *devices, uint32_t sessions)
{
    compare_of(devices)->pace = sessions;
}

void device_compare_free(struct device_compare *compare)
{
    free(compare);
}
