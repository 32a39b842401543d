#include "device_poster.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device_asker.h"
#include "device_truth.h"
#include "store_sim.h"

enum { POSTERS_MAX = 3, PAUSE_MS_MAX = 60 };

struct device_poster {
    struct asker asker;
    unsigned     no;       /* of the message under way */
    msec         next_at;
};

struct application {
    struct device_world *all;
    struct object_reader objects;
    unsigned             count;
    unsigned             last_channel;  /* channels below it have had their last message */
    bool                 says_last, are_leaving;
    struct device_poster at[POSTERS_MAX];
};

struct application *application_new(struct device_world *all)
{
    struct application *application = calloc(1, sizeof *application);

    must(application != NULL);
    application->all   = all;
    application->count = 1 + (unsigned)draw(&all->wire.world, OF_PLAN, POSTERS_MAX);
    object_reader_init(&application->objects, &all->wire.world);
    for (unsigned i = 0; i < application->count; i++)
        asker_init(&application->at[i].asker, &all->wire, OF_PUBLISHERS);
    return application;
}

void application_free(struct application *application)
{
    for (unsigned i = 0; i < application->count; i++)
        asker_fini(&application->at[i].asker);
    object_reader_fini(&application->objects);
    free(application);
}

/* --- one message --- */

/* More for groups than for the others. */
static unsigned draw_channel(struct device_world *all)
{
    struct world *world = &all->wire.world;

    if (one_in(world, OF_PUBLISHERS, 2))
        return channel_of_group(all, (unsigned)draw(world, OF_PUBLISHERS, all->group_count));
    return 1 + (unsigned)draw(world, OF_PUBLISHERS, world->channel_count - 1);
}

static void poster_begin(struct application *application, struct device_poster *poster, unsigned channel)
{
    struct device_world *all   = application->all;
    struct world        *world = &all->wire.world;
    char                 path[120], field[60], body[20];
    const char          *name  = world->channels[channel]->text;
    const char          *slash = strchr(name, '/');

    must(all->posted_count < POSTED_MAX);
    poster->no              = all->posted_count++;
    all->posted[poster->no] = (struct posted){ .channel = channel, .begun_at = world->now };
    if (slash == NULL)
        snprintf(path, sizeof path, "/v1/channels/%s/messages", name);
    else
        snprintf(path, sizeof path, "/v1/channels/%.*s%%2F%s/messages", (int)(slash - name), name, slash + 1);
    snprintf(field, sizeof field, "Idempotency-Key: k%u\r\nContent-Type: text/plain\r\n", poster->no);
    snprintf(body, sizeof body, "%u", poster->no);
    asker_ask(&poster->asker, "app", "POST", path, field, body);
}

static void poster_answered(struct application *application, struct device_poster *poster, unsigned status)
{
    struct world            *world  = &application->all->wire.world;
    struct posted           *posted = &application->all->posted[poster->no];
    const char              *name   = world->channels[posted->channel]->text;

    promise(world, status == 201 || status == 200, "the message %u to %s is answered %u: %.*s", poster->no, name, status,
            SPAN_ARG(buf_span(&poster->asker.body)));
    uint64_t seq = object_number(&application->objects, object_read(&application->objects, buf_span(&poster->asker.body)), "seq");
    tell(world, "message %u is in %s as %" PRIu64, poster->no, name, seq);
    truth_scan(application->all->truth);
    promise(world, posted->seq == seq, "the message %u is acknowledged as %" PRIu64 " of %s, and is there as %" PRIu64,
            poster->no, seq, name, posted->seq);
    posted->is_acked = true;
    poster->next_at  = world->now + (application->says_last ? 0 : (msec)draw(world, OF_PUBLISHERS, PAUSE_MS_MAX));
}

/* --- all of them --- */

static void poster_go_on(struct application *application, struct device_poster *poster)
{
    struct device_world *all = application->all;

    if (application->says_last && application->last_channel < all->wire.world.channel_count)
        poster_begin(application, poster, application->last_channel++);
    else if (!application->says_last && !all->wire.world.is_healing && all->posted_count < POSTED_MAX - 2 * CHANNELS_MAX)
        poster_begin(application, poster, draw_channel(all));
}

void application_turn(struct application *application)
{
    for (unsigned i = 0; i < application->count; i++) {
        struct device_poster *poster = &application->at[i];
        unsigned              status = asker_turn(&poster->asker);
        if (status != 0)
            poster_answered(application, poster, status);
        if (asker_is_idle(&poster->asker) && poster->next_at <= application->all->wire.world.now && !application->are_leaving)
            poster_go_on(application, poster);
    }
}

void application_cut(struct application *application, struct loop_range range)
{
    for (unsigned i = 0; i < application->count; i++)
        if (loop_is_in(range, application->at[i].asker.link.loop))
            asker_cut(&application->at[i].asker);
}

void application_leave(struct application *application)
{
    application->are_leaving = true;
    application_cut(application, world_loops(&application->all->wire.world));
}

void application_say_last(struct application *application)
{
    application->says_last    = true;
    application->last_channel = 1;
}

bool application_is_done(const struct application *application)
{
    for (unsigned i = 0; i < application->count; i++)
        if (!asker_is_idle(&application->at[i].asker))
            return false;
    return !application->says_last || application->last_channel == application->all->wire.world.channel_count;
}
