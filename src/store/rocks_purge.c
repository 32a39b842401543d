/* Purges: the retention floor rises to head + 1, in the commit of the appends around it. The rows are reclaimed as
 * retention's are. */
#include "base/must.h"
#include "store/rocks_commit.h"

void purge_decide(struct rocks *rocks, struct commit *commit, struct commit_row *row, msec wall)
{
    struct append         *append = row->append;
    struct channel_change *change = &row->channel->change;
    uint64_t               first  = 0;

    append->outcome = APPEND_NO_TARGET;
    if (change->number == 0)
        return;
    append->outcome = APPEND_BROKEN;
    if (row_floor(rocks, row, wall, &first) != RC_OK)
        return;
    must(first <= change->head + 1);
    append->purged     = (struct purge_answer){ rocks->epoch, first, change->head };
    append->outcome    = APPEND_PURGED;
    change->floor      = change->head + 1;
    change->bytes_more = change->bytes_less = 0;
    floor_save(rocks, commit->write, change->number, change->floor);
}

/* The same order as in retention: the table first, then the filter. */
void purges_publish(struct rocks *rocks, const struct commit *commit)
{
    uint64_t rows = 0;

    pthread_mutex_lock(&rocks->table.lock);
    rocks->table.changes++;
    pthread_mutex_unlock(&rocks->table.lock);
    for (size_t i = 0; i < commit->row_count; i++) {
        const struct append *append = commit->rows[i].append;
        if (append->outcome != APPEND_PURGED)
            continue;
        filter_floors_set(&rocks->filter_floors, commit->rows[i].channel->change.number, append->purged.head + 1);
        rows += append->purged.head + 1 - append->purged.first;
    }
    maintenance_note_purge(rocks, rows);
}
