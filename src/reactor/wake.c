#include "reactor/wake.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/must.h"

enum rc mailbox_init(struct mailbox *mailbox)
{
    int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bell < 0)
        return errno == EMFILE || errno == ENFILE ? RC_FULL : RC_NOMEM;
    atomic_init(&mailbox->newest, NULL);
    atomic_init(&mailbox->is_asleep, false);
    mailbox->bell = bell;
    return RC_OK;
}

void mailbox_fini(struct mailbox *mailbox)
{
    must(atomic_load(&mailbox->newest) == NULL);
    close(mailbox->bell);
}

void mailbox_ring(struct mailbox *mailbox)
{
    uint64_t one = 1;
    /* EAGAIN would mean that 2^64 - 2 rings are unread. The owner is woken all the same. */
    ssize_t written = write(mailbox->bell, &one, sizeof one);
    (void)written;
}

void mailbox_leave(struct mailbox *mailbox, struct bundle *bundle)
{
    if (bundle->newest == NULL)
        return;
    must(bundle->oldest != NULL && bundle->oldest->next == NULL);

    struct mail *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do
        bundle->oldest->next = newest;
    while (!atomic_compare_exchange_weak(&mailbox->newest, &newest, bundle->newest));
    *bundle = (struct bundle){ NULL, NULL };
}

void mailbox_wake(struct mailbox *mailbox)
{
    /* Sequentially consistent, as in mailbox_may_sleep(): either we see that the owner sleeps, or it sees the mail. */
    if (atomic_load(&mailbox->is_asleep) && atomic_exchange(&mailbox->is_asleep, false))
        mailbox_ring(mailbox);
}

void mailbox_put(struct mailbox *mailbox, struct bundle *bundle)
{
    if (bundle->newest == NULL)
        return;
    mailbox_leave(mailbox, bundle);
    mailbox_wake(mailbox);
}

struct mail *mailbox_take(struct mailbox *mailbox)
{
    if (atomic_load_explicit(&mailbox->newest, memory_order_relaxed) == NULL)
        return NULL;
    return mail_oldest_first(atomic_exchange(&mailbox->newest, NULL));
}

bool mailbox_is_empty(const struct mailbox *mailbox)
{
    return atomic_load(&mailbox->newest) == NULL;
}

bool mailbox_may_sleep(struct mailbox *mailbox)
{
    atomic_store(&mailbox->is_asleep, true);
    if (atomic_load(&mailbox->newest) == NULL)
        return true;
    atomic_store(&mailbox->is_asleep, false);
    return false;
}

void mailbox_is_awake(struct mailbox *mailbox)
{
    atomic_store_explicit(&mailbox->is_asleep, false, memory_order_relaxed);
}
