#include "main/writer_lock.h"

#include "base/must.h"

void writer_lock_init(struct writer_lock *lock, struct writer *writer, struct mailbox *mailbox)
{
    *lock = (struct writer_lock){ .writer = writer, .mailbox = mailbox };
    must(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

void writer_lock_fini(struct writer_lock *lock)
{
    must(pthread_mutex_destroy(&lock->mutex) == 0);
}

void writer_lock_take(struct writer_lock *lock)
{
    must(pthread_mutex_lock(&lock->mutex) == 0);
}

void writer_lock_give(struct writer_lock *lock)
{
    must(pthread_mutex_unlock(&lock->mutex) == 0);
}

bool writer_lock_try(struct writer_lock *lock)
{
    if (pthread_mutex_trylock(&lock->mutex) != 0)
        return false;
    if (mailbox_is_empty(lock->mailbox))
        return true;
    writer_lock_give(lock);
    return false;
}

enum visit { VISIT_NONE, VISIT_PUBLISH, VISIT_WHOLE };

/* What this loop said before waits in the mailbox or was carried out: the writer takes its mail under the lock. */
static enum visit visit_for(const struct writer_lock *lock, const struct bundle *bundle)
{
    enum visit visit = VISIT_PUBLISH;

    if (!mailbox_is_empty(lock->mailbox))
        return VISIT_NONE;
    for (struct mail *mail = bundle->newest; mail != NULL; mail = mail->next) {
        if (writer_publishes_at_once(lock->writer, command_of(mail)))
            continue;
        if (!command_of(mail)->kind->is_brief || lock->writer->cluster != NULL)
            return VISIT_NONE;
        visit = VISIT_WHOLE;
    }
    return visit;
}

bool writer_lock_visit(struct writer_lock *lock, struct bundle *bundle, const struct writer_turn *turn, void *ctx, msec now, msec wall)
{
    if (pthread_mutex_trylock(&lock->mutex) != 0)
        return false;
    const enum visit visit = visit_for(lock, bundle);
    if (visit == VISIT_PUBLISH)
        turn->publish(ctx, bundle_take(bundle), now, wall);
    else if (visit == VISIT_WHOLE)
        turn->whole(ctx, bundle_take(bundle), now, wall);
    must(pthread_mutex_unlock(&lock->mutex) == 0);
    return visit != VISIT_NONE;
}
