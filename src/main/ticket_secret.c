#include "main/ticket_secret.h"

#include <pthread.h>

#include "base/must.h"
#include "device/row_kind.h"

/* Waits for done(), which comes on a thread of the store, or at once. */
struct ledger_wait {
    pthread_mutex_t     lock;
    pthread_cond_t      is_over;
    bool                is_done;
    struct ledger_read  read;
    struct ledger_batch batch;
};

static const struct ledger_key tickets_key = { ROW_SECRET, { "tickets", 7 } };

static void wait_init(struct ledger_wait *wait)
{
    *wait = (struct ledger_wait){ .is_done = false };
    must(pthread_mutex_init(&wait->lock, NULL) == 0 && pthread_cond_init(&wait->is_over, NULL) == 0);
}

static void wait_fini(struct ledger_wait *wait)
{
    pthread_cond_destroy(&wait->is_over);
    pthread_mutex_destroy(&wait->lock);
}

static void wait_end(struct ledger_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    wait->is_done = true;
    pthread_cond_signal(&wait->is_over);
    pthread_mutex_unlock(&wait->lock);
}

static void wait_for(struct ledger_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    while (!wait->is_done)
        pthread_cond_wait(&wait->is_over, &wait->lock);
    wait->is_done = false;
    pthread_mutex_unlock(&wait->lock);
}

static void on_secret_read(struct ledger_read *read)
{
    wait_end(container_of(read, struct ledger_wait, read));
}

static void on_secret_written(struct ledger_batch *batch)
{
    wait_end(container_of(batch, struct ledger_wait, batch));
}

static enum rc secret_read(struct ledger *ledger, struct ledger_wait *wait, msec wall, bool *ret_is_there,
                           char ret[TICKET_SECRET_BYTES])
{
    struct ledger_read *read = &wait->read;

    *read = (struct ledger_read){ .way = LEDGER_GET, .keys = &tickets_key, .key_count = 1,
                                  .bytes_max = LEDGER_VALUE_BYTES_MAX, .wall = wall, .done = on_secret_read };
    ledger->ops->read(ledger, read);
    wait_for(wait);
    enum rc rc    = read->rc;
    *ret_is_there = rc == RC_OK && read->row_count == 1 && read->rows[0].generation != 0 &&
                    read->rows[0].value.len == TICKET_SECRET_BYTES;
    if (*ret_is_there)
        memcpy(ret, read->rows[0].value.at, TICKET_SECRET_BYTES);
    ledger_read_fini(read);
    return rc;
}

/* Only if nobody else has made one meanwhile. */
static void secret_write(struct ledger *ledger, struct ledger_wait *wait, msec wall, struct span secret)
{
    struct ledger_change change = { .op = LEDGER_PUT, .key = tickets_key, .value = secret, .generation = 1,
                                    .is_conditional = true };
    struct ledger_write  write  = { .changes = &change, .count = 1 };

    wait->batch = (struct ledger_batch){ .change_count = 1, .wall = wall, .done = on_secret_written };
    list_init(&wait->batch.writes);
    list_push(&wait->batch.writes, &write.link);
    ledger->ops->write(ledger, &wait->batch);
    wait_for(wait);
    ledger_write_fini(&write);
}

enum rc ticket_secret_get(struct ledger *ledger, msec wall, const char fresh[TICKET_SECRET_BYTES],
                          char ret[TICKET_SECRET_BYTES])
{
    struct ledger_wait wait;
    bool               is_there = false;

    wait_init(&wait);
    enum rc rc = secret_read(ledger, &wait, wall, &is_there, ret);
    if (rc == RC_OK && !is_there) {
        secret_write(ledger, &wait, wall, span_of(fresh, TICKET_SECRET_BYTES));
        rc = secret_read(ledger, &wait, wall, &is_there, ret);
    }
    wait_fini(&wait);
    return rc == RC_OK && !is_there ? RC_IO : rc;
}
