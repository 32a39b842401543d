/* device_sweep.c - sessions that have run out: their rows are found page by page, and deleted with their places. What has run
 * out counts as gone already, so this only gives back space. A session whose link has been open for long is marked as seen
 * meanwhile, so that it does not run out. */
#include <stdlib.h>

#include "base/must.h"
#include "device/open_work.h"

enum {
    SWEEP_TICKS     = 50,  /* between two steps: a page of sessions, or the rows of one of them */
    SWEEP_ROWS      = 200,
    SWEEP_BYTES_MAX = 256 * 1024,
};

struct sweep_session {
    uint64_t generation;
    size_t   len;
    char     key[LEDGER_KEY_BYTES_MAX];  /* of the SESSION row */
};

struct device_sweep {
    struct device_read   read;
    struct device_write  write;
    struct devices      *devices;
    struct buf           after;         /* where the next page begins; empty: at the first row */
    struct buf           prefix;        /* of the places being read */
    struct sweep_session found[SWEEP_ROWS];
    size_t               found_count;
    bool                 is_busy;
    struct buf           keys;          /* of the rows being deleted */
    struct ledger_change changes[LEDGER_WRITE_COUNT_MAX];
};

static struct span session_key_user(struct span key)
{
    struct span user = SPAN("");

    span_cut(&key, '\0', &user);
    return user;
}

/* --- one session ------------------------------------------------------------------------------------------------ */

static struct ledger_change *sweep_delete(struct device_sweep *sweep, uint8_t kind, struct span key)
{
    struct ledger_change *change = &sweep->changes[sweep->write.write.count++];
    size_t                from   = sweep->keys.len;

    buf_put(&sweep->keys, key);
    *change = (struct ledger_change){ .op = LEDGER_DELETE, .key = { kind, span_of(sweep->keys.at + from, key.len) } };
    return change;
}

static void sweep_written(struct device_write *write)
{
    struct device_sweep *sweep = container_of(write, struct device_sweep, write);

    ledger_write_fini(&write->write);
    sweep->is_busy = false;
}

static void sweep_dropped(struct device_write *write)
{
    sweep_written(write);
}

static bool is_in_memory(const struct devices *devices, const struct sweep_session *session)
{
    struct span key = span_of(session->key, session->len);

    return standing_find(devices, session_key_user(key), row_key_last(key)) != NULL;
}

/* The session goes with its last places, on the condition that nobody has opened it meanwhile. */
static void sweep_places_came(struct device_read *read)
{
    struct device_sweep  *sweep   = container_of(read, struct device_sweep, read);
    struct sweep_session *session = &sweep->found[sweep->found_count - 1];
    bool                  is_last = read->read.rc == RC_OK && read->read.next.len == 0;

    sweep->write = (struct device_write){ .done = sweep_written, .drop = sweep_dropped,
                                          .write = { .changes = sweep->changes } };
    buf_clear(&sweep->keys);
    for (size_t i = 0; i < read->read.row_count; i++)
        sweep_delete(sweep, ROW_PLACE, read->read.rows[i].key);
    if (is_last) {
        struct ledger_change *change = sweep_delete(sweep, ROW_SESSION, span_of(session->key, session->len));
        change->is_conditional       = true;
        change->if_generation        = session->generation;
    }
    if (is_last || read->read.rc != RC_OK || is_in_memory(sweep->devices, session))
        sweep->found_count--;
    ledger_read_fini(&read->read);
    if (sweep->write.write.count > 0 && !is_in_memory(sweep->devices, session))
        device_write_send(sweep->devices, &sweep->write, WRITE_LAZY);
    else
        sweep->is_busy = false;
}

static void sweep_ask(struct device_sweep *sweep, enum row_kind kind, struct span prefix, struct span after,
                      uint32_t limit, void (*came)(struct device_read *read))
{
    sweep->is_busy   = true;
    sweep->read.came = came;
    sweep->read.read = (struct ledger_read){ .way = LEDGER_SCAN, .kind = (uint8_t)kind, .prefix = prefix, .after = after,
                                             .limit = limit, .bytes_max = SWEEP_BYTES_MAX };
    device_read_send(sweep->devices, &sweep->read);
}

static void sweep_session_out(struct device_sweep *sweep)
{
    const struct sweep_session *session = &sweep->found[sweep->found_count - 1];

    if (is_in_memory(sweep->devices, session)) {
        sweep->found_count--;  /* somebody opens it now */
        return;
    }
    buf_clear(&sweep->prefix);
    buf_put(&sweep->prefix, span_of(session->key, session->len));
    buf_putc(&sweep->prefix, '\0');
    sweep_ask(sweep, ROW_PLACE, buf_span(&sweep->prefix), SPAN(""), LEDGER_WRITE_COUNT_MAX - 1, sweep_places_came);
}

/* --- a page of sessions ----------------------------------------------------------------------------------------- */

static void sweep_found(struct device_sweep *sweep, const struct ledger_row *row)
{
    struct sweep_session *found = &sweep->found[sweep->found_count++];

    found->generation = row->generation;
    found->len        = row->key.len;
    memcpy(found->key, row->key.at, row->key.len);
}

static void sweep_look(struct device_sweep *sweep, const struct ledger_row *row)
{
    struct devices    *devices  = sweep->devices;
    msec               wall     = devices->writer->wall, ttl = devices->limits.session_ttl_ms;
    struct standing   *standing = standing_find(devices, session_key_user(row->key), row_key_last(row->key));
    struct session_row session;

    if (!session_row_get(row->value, &session))
        return;
    if (standing != NULL && standing->home != NULL && session.seen + ttl / 4 < wall) {
        standing->seen          = wall;
        standing->is_seen_dirty = standing->is_loaded;
        standing_settle(devices, standing);
    } else if (session.seen + ttl <= wall) {
        if (standing != NULL && standing->is_idle && standing->seen + ttl <= wall) {
            standing_forget(standing);
            standing_settle(devices, standing);
            standing = NULL;
        }
        if (standing == NULL)
            sweep_found(sweep, row);
    }
}

static void sweep_sessions_came(struct device_read *read)
{
    struct device_sweep *sweep = container_of(read, struct device_sweep, read);

    for (size_t i = 0; i < read->read.row_count; i++)
        sweep_look(sweep, &read->read.rows[i]);
    buf_clear(&sweep->after);
    buf_put(&sweep->after, read->read.next);
    ledger_read_fini(&read->read);
    sweep->is_busy = false;
}

void device_sweep_tick(struct devices *devices)
{
    struct device_sweep *sweep = devices->sweep;

    if (devices->tick % SWEEP_TICKS != 0 || sweep->is_busy || devices->pause_ticks > 0)
        return;
    if (sweep->found_count > 0)
        sweep_session_out(sweep);
    else
        sweep_ask(sweep, ROW_SESSION, SPAN(""), buf_span(&sweep->after), SWEEP_ROWS, sweep_sessions_came);
}

struct device_sweep *device_sweep_new(struct devices *devices)
{
    struct device_sweep *sweep = calloc(1, sizeof *sweep);

    must(sweep != NULL);
    sweep->devices = devices;
    buf_init(&sweep->after, LEDGER_KEY_BYTES_MAX);
    buf_init(&sweep->prefix, LEDGER_KEY_BYTES_MAX);
    buf_init(&sweep->keys, LEDGER_WRITE_COUNT_MAX * LEDGER_KEY_BYTES_MAX);
    must(buf_extend(&sweep->keys, LEDGER_WRITE_COUNT_MAX * LEDGER_KEY_BYTES_MAX) != NULL);
    sweep->keys.len = 0;
    return sweep;
}

void device_sweep_free(struct device_sweep *sweep)
{
    buf_fini(&sweep->after);
    buf_fini(&sweep->prefix);
    buf_fini(&sweep->keys);
    free(sweep);
}
