#include "auth/identify.h"

#include <stdlib.h>

#include "base/must.h"

struct identification {
    struct list        link;        /* in identifier.under_way */
    struct timer       timer;
    struct identifier *identifier;
    void             (*done)(void *owner, const struct identified *answer);
    void              *owner;
    void              *work;        /* the maker's */
};

void identification_set_work(struct identification *identification, void *work)
{
    identification->work = work;
}

void *identification_work(const struct identification *identification)
{
    return identification->work;
}

void identifier_init(struct identifier *identifier, const struct identifier_ops *ops, struct wheel *wheel,
                     const struct identifier_limits *limits)
{
    *identifier = (struct identifier){ .ops = ops, .wheel = wheel, .limits = *limits };
    list_init(&identifier->under_way);
}

void identifier_fini(struct identifier *identifier)
{
    must(identifier->count == 0 && list_is_empty(&identifier->under_way));
}

static void identification_free(struct identification *identification)
{
    struct identifier *identifier = identification->identifier;

    must(identifier->count > 0);
    identifier->count--;
    list_take(&identification->link);
    wheel_disarm(identifier->wheel, &identification->timer);
    free(identification);
}

void identify_end(struct identification *identification, const struct identified *answer)
{
    struct identification ended = *identification;

    must((answer->identity == NULL) == (answer->refusal.status != 0));
    identification_free(identification);
    ended.done(ended.owner, answer);
}

void identify_cancel(struct identification *identification)
{
    struct identifier *identifier = identification->identifier;

    identifier->ops->cancel(identifier, identification);
    identification_free(identification);
}

static void identification_timed_out(struct timer *timer, msec now)
{
    struct identification *identification = container_of(timer, struct identification, timer);
    struct identifier     *identifier     = identification->identifier;

    (void)now;
    identifier->ops->cancel(identifier, identification);
    identify_end(identification, &(struct identified){
        .refusal = { .status = 503, .reason = "who you are could not be found out in time; try again a little later" },
    });
}

static struct identification *identification_new(struct identifier *identifier, msec now,
                                                 void (*done)(void *owner, const struct identified *answer),
                                                 void *owner)
{
    struct identification *identification = calloc(1, sizeof *identification);

    must(identification != NULL);
    identification->timer.fire = identification_timed_out;
    identification->identifier = identifier;
    identification->done       = done;
    identification->owner      = owner;
    list_push(&identifier->under_way, &identification->link);
    identifier->count++;
    wheel_arm(identifier->wheel, &identification->timer, now + identifier->limits.timeout_ms);
    return identification;
}

struct identification *identify(struct identifier *identifier, const struct credential *credential, msec now,
                                void (*done)(void *owner, const struct identified *answer), void *owner,
                                struct identified *ret)
{
    *ret = (struct identified){ 0 };
    if (identifier->ops->look(identifier, credential, ret)) {
        must((ret->identity == NULL) == (ret->refusal.status != 0));
        return NULL;
    }
    if (identifier->count >= identifier->limits.count_max) {
        ret->refusal = (struct verdict){ .status = 503, .reason = "too many wait to be identified; try again a little later" };
        return NULL;
    }
    struct identification *identification = identification_new(identifier, now, done, owner);
    identifier->ops->begin(identifier, identification, credential);
    return identification;
}
