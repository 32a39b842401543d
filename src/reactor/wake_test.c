/* Mail between threads: nothing lost, each sender's in its order, and a sleeping owner always woken. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "reactor/loop.h"

#include <cmocka.h>

enum { SENDERS = 4, NOTES_EACH = 20000, CALLS_EACH = 5000, DEADLINE_S = 280 };

struct note {
    struct mail    mail;
    struct sender *from;
    unsigned       number;
};

struct sender {
    pthread_t       thread;
    struct mailbox *to;
    sem_t           heard;    /* the owner has read a note: for those who wait for each */
    unsigned        next;     /* the number the owner expects */
    struct note     notes[NOTES_EACH];
};

struct owner {
    struct loop   loop;
    struct sender senders[SENDERS];
    unsigned      left;       /* notes still to come */
    bool          is_calling; /* each note is waited for */
};

static void owner_on_mail(void *ctx, struct mail *mail)
{
    struct owner *owner = ctx;
    struct note  *note  = container_of(mail, struct note, mail);

    assert_int_equal(note->number, note->from->next);
    note->from->next++;
    owner->left--;
    if (owner->is_calling)
        sem_post(&note->from->heard);
    if (owner->left == 0)
        loop_stop(&owner->loop);
}

static const struct loop_hooks owner_hooks = { .mail = owner_on_mail };

static int owner_open(void **state)
{
    struct owner *owner = calloc(1, sizeof *owner);

    assert_int_equal(loop_init(&owner->loop, &owner_hooks, owner), RC_OK);
    for (unsigned i = 0; i < SENDERS; i++) {
        struct sender *sender = &owner->senders[i];
        sender->to            = &owner->loop.mailbox;
        assert_int_equal(sem_init(&sender->heard, 0, 0), 0);
        for (unsigned j = 0; j < NOTES_EACH; j++)
            sender->notes[j] = (struct note){ .from = sender, .number = j };
    }
    alarm(DEADLINE_S);  /* a wake-up that is missed is waited for without end */
    *state = owner;
    return 0;
}

static int owner_close(void **state)
{
    struct owner *owner = *state;

    alarm(0);
    for (unsigned i = 0; i < SENDERS; i++)
        sem_destroy(&owner->senders[i].heard);
    loop_fini(&owner->loop);
    free(owner);
    return 0;
}

static void run(struct owner *owner, void *(*send)(void *), unsigned notes_each)
{
    owner->left = SENDERS * notes_each;
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&owner->senders[i].thread, NULL, send, &owner->senders[i]), 0);
    loop_run(&owner->loop);
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(owner->senders[i].thread, NULL);
        assert_int_equal(owner->senders[i].next, notes_each);
    }
    assert_null(mailbox_take(&owner->loop.mailbox));
}

/* In bundles of one to seven. */
static void *send_many(void *ctx)
{
    struct sender *sender = ctx;

    for (unsigned i = 0; i < NOTES_EACH;) {
        struct bundle bundle = { NULL, NULL };
        for (unsigned size = 1 + i % 7; size > 0 && i < NOTES_EACH; size--)
            bundle_add(&bundle, &sender->notes[i++].mail);
        mailbox_put(sender->to, &bundle);
        assert_null(bundle.newest);
    }
    return NULL;
}

static void many_senders_lose_nothing_and_keep_their_order(void **state)  /* threat 28 */
{
    run(*state, send_many, NOTES_EACH);
}

/* Each note is waited for, so the owner falls asleep between them: one ring too few and nobody goes on. */
static void *send_and_wait(void *ctx)
{
    struct sender *sender = ctx;

    for (unsigned i = 0; i < CALLS_EACH; i++) {
        struct bundle bundle = { NULL, NULL };
        bundle_add(&bundle, &sender->notes[i].mail);
        mailbox_put(sender->to, &bundle);
        while (sem_wait(&sender->heard) != 0)
            ;
    }
    return NULL;
}

static void an_owner_that_falls_asleep_is_always_woken(void **state)  /* threat 28 */
{
    struct owner *owner = *state;

    owner->is_calling = true;
    run(owner, send_and_wait, CALLS_EACH);
}

static void an_empty_bundle_is_no_mail(void **state)
{
    struct owner *owner  = *state;
    struct bundle bundle = { NULL, NULL };

    mailbox_put(&owner->loop.mailbox, &bundle);
    assert_true(mailbox_may_sleep(&owner->loop.mailbox));
    mailbox_is_awake(&owner->loop.mailbox);
}

static void who_has_mail_may_not_sleep(void **state)
{
    struct owner   *owner   = *state;
    struct mailbox *mailbox = &owner->loop.mailbox;
    struct note    *notes   = owner->senders[0].notes;
    struct bundle   bundle  = { NULL, NULL };

    bundle_add(&bundle, &notes[0].mail);
    bundle_add(&bundle, &notes[1].mail);
    mailbox_put(mailbox, &bundle);
    assert_false(mailbox_may_sleep(mailbox));
    struct mail *mail = mailbox_take(mailbox);
    assert_ptr_equal(mail, &notes[0].mail);
    assert_ptr_equal(mail->next, &notes[1].mail);
    assert_null(mail->next->next);
    assert_true(mailbox_may_sleep(mailbox));
    mailbox_is_awake(mailbox);
}

static bool bell_rings(struct mailbox *mailbox)
{
    uint64_t count;

    return read(mailbox->bell, &count, sizeof count) == sizeof count;
}

/* It wakes nobody, and it is not lost: it stands before the mail that wakes the owner, and keeps the owner from falling asleep. */
static void mail_that_is_left_waits_for_the_next_wake(void **state)
{
    struct owner   *owner   = *state;
    struct mailbox *mailbox = &owner->loop.mailbox;
    struct note    *notes   = owner->senders[0].notes;
    struct bundle   bundle  = { NULL, NULL };

    assert_true(mailbox_may_sleep(mailbox));
    bundle_add(&bundle, &notes[0].mail);
    mailbox_leave(mailbox, &bundle);
    assert_null(bundle.newest);
    assert_false(bell_rings(mailbox));
    bundle_add(&bundle, &notes[1].mail);
    mailbox_put(mailbox, &bundle);
    assert_true(bell_rings(mailbox));
    struct mail *mail = mailbox_take(mailbox);
    assert_ptr_equal(mail, &notes[0].mail);
    assert_ptr_equal(mail->next, &notes[1].mail);
    assert_null(mail->next->next);
    bundle_add(&bundle, &notes[2].mail);
    mailbox_leave(mailbox, &bundle);
    assert_false(mailbox_may_sleep(mailbox));
    assert_ptr_equal(mailbox_take(mailbox), &notes[2].mail);
    mailbox_leave(mailbox, &bundle);
    assert_true(mailbox_may_sleep(mailbox));
    mailbox_wake(mailbox);
    assert_true(bell_rings(mailbox));
    mailbox_wake(mailbox);  /* it does not sleep any more */
    assert_false(bell_rings(mailbox));
    mailbox_is_awake(mailbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_senders_lose_nothing_and_keep_their_order, owner_open, owner_close),
        cmocka_unit_test_setup_teardown(an_owner_that_falls_asleep_is_always_woken, owner_open, owner_close),
        cmocka_unit_test_setup_teardown(an_empty_bundle_is_no_mail, owner_open, owner_close),
        cmocka_unit_test_setup_teardown(who_has_mail_may_not_sleep, owner_open, owner_close),
        cmocka_unit_test_setup_teardown(mail_that_is_left_waits_for_the_next_wake, owner_open, owner_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
