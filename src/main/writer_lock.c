#include "main/writer_lock.h"

#include "base/must.h"

enum { LOOKS = 200 };  /* about 10 µs */

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

/* The mail is in the mailbox before it is asked whether it need not wake, and the number is there before the writer looks for mail for the
 * last time: so a number that is too old lets nothing lie that the writer does not see. */
void writer_lock_note(struct writer_lock *lock)
{
    atomic_store(&lock->leave, (int)writer_leave_count(lock->writer));
}

/* 0: something in it is for now. */
static int bundle_leave_count(const struct writer_lock *lock, const struct bundle *bundle)
{
    int count = 0;

    for (struct mail *mail = bundle->newest; mail != NULL; mail = mail->next, count++)
        if (!writer_may_leave(lock->writer, command_of(mail)))
            return 0;
    return count;
}

void writer_lock_tell(struct writer_lock *lock, struct bundle *bundle)
{
    const int count = bundle_leave_count(lock, bundle);

    mailbox_leave(lock->mailbox, bundle);
    if (count == 0 || atomic_fetch_sub(&lock->leave, count) < count)
        mailbox_wake(lock->mailbox);
}

static void rest_a_moment(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A visitor's turn is over in a few µs, and who comes too late for it wakes the writer's thread, and with its mail sends all others there
 * until that thread runs (docs/decisions/0160). So it looks again for a moment, but for less than such a wake takes. */
static bool lock_soon(struct writer_lock *lock)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        if (pthread_mutex_trylock(&lock->mutex) == 0)
            return true;
        if (!mailbox_is_empty(lock->mailbox))
            return false;
        rest_a_moment();
    }
    return false;
}

bool writer_lock_try(struct writer_lock *lock)
{
    if (!lock_soon(lock))
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
    if (!lock_soon(lock))
        return false;
    const enum visit visit = visit_for(lock, bundle);
    if (visit == VISIT_PUBLISH)
        turn->publish(ctx, bundle_take(bundle), now, wall);
    else if (visit == VISIT_WHOLE)
        turn->whole(ctx, bundle_take(bundle), now, wall);
    must(pthread_mutex_unlock(&lock->mutex) == 0);
    return visit != VISIT_NONE;
}
