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

/* What this loop said before waits in the mailbox or was carried out: the writer takes its mail under the lock. */
static bool writer_is_ready(const struct writer_lock *lock, const struct bundle *bundle)
{
    if (!mailbox_is_empty(lock->mailbox))
        return false;
    for (struct mail *mail = bundle->newest; mail != NULL; mail = mail->next)
        if (!writer_publishes_at_once(lock->writer, command_of(mail)))
            return false;
    return true;
}

bool writer_lock_publish(struct writer_lock *lock, struct bundle *bundle, msec wall, void (*post)(void *ctx), void *ctx)
{
    if (pthread_mutex_trylock(&lock->mutex) != 0)
        return false;
    bool is_ready = writer_is_ready(lock, bundle);
    if (is_ready) {
        writer_publish_at_once(lock->writer, bundle_take(bundle), wall);
        post(ctx);
    }
    must(pthread_mutex_unlock(&lock->mutex) == 0);
    return is_ready;
}
