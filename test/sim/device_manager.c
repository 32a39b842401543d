#include "device_manager.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device_asker.h"
#include "device_phone.h"
#include "device_truth.h"
#include "store_sim.h"

enum {
    MANAGERS_MAX = 3, PAUSE_MS_MAX = 120, REVOKES_ONE_IN = 12, QUIET_MS = 2500, ACKS_ONE_IN = 4,
    REPEATED_LATE_S = 3,  /* an earlier try of a request may be carried out so long after a later one was answered */
};

enum task { TASK_MEMBER, TASK_REVOKE, TASK_ACK };

struct manager {
    struct asker  asker;
    enum task     task;
    unsigned      user, no;      /* no: group, or phone */
    bool          joins;
    unsigned      revocation;    /* in managers.revoked */
    uint64_t      generation;    /* that an ack names … */
    bool          is_stale;      /* … which was not the newest any more */
    msec          next_at;
};

struct managers *managers_new(struct device_world *all)
{
    struct managers *managers = calloc(1, sizeof *managers);

    must(managers != NULL);
    managers->all   = all;
    managers->count = 1 + (unsigned)draw(&all->wire.world, OF_PLAN, MANAGERS_MAX);
    managers->at    = calloc(managers->count, sizeof managers->at[0]);
    must(managers->at != NULL);
    object_reader_init(&managers->objects, &all->wire.world);
    for (unsigned i = 0; i < managers->count; i++)
        asker_init(&managers->at[i].asker, &all->wire, OF_ASKERS);
    return managers;
}

void managers_free(struct managers *managers)
{
    for (unsigned i = 0; i < managers->count; i++)
        asker_fini(&managers->at[i].asker);
    object_reader_fini(&managers->objects);
    free(managers->at);
    free(managers);
}

static const char *name_behind(const struct managers *managers, unsigned channel)
{
    return strchr(managers->all->wire.world.channels[channel]->text, ':') + 1;
}

/* --- members --- */

static void member_begin(struct managers *managers, struct manager *manager)
{
    struct device_world *all   = managers->all;
    struct world        *world = &all->wire.world;
    char                 path[120];

    manager->task = TASK_MEMBER;
    manager->user = (unsigned)draw(world, OF_ASKERS, all->user_count);
    manager->no   = (unsigned)draw(world, OF_ASKERS, all->group_count);
    struct member_truth *member = &all->truth->members[manager->user][manager->no];
    if (member->is_busy || member->quiet_until > world->now || member->count == SPANS_MAX - 1)
        return;
    manager->joins   = !truth_is_member(all->truth, manager->user, manager->no) || one_in(world, OF_ASKERS, 6);
    member->is_busy  = true;
    member->low_head = store_sim_shown(world->disk, channel_of_group(all, manager->no));
    snprintf(path, sizeof path, "/v1/groups/%s/members/%s", name_behind(managers, channel_of_group(all, manager->no)),
             name_behind(managers, channel_of_user(manager->user)));
    tell(world, "user %u shall %s group %u", manager->user, manager->joins ? "join" : "leave", manager->no);
    asker_ask(&manager->asker, "app", manager->joins ? "PUT" : "DELETE", path, "", manager->joins ? "" : NULL);
}

static void member_answered(struct managers *managers, struct manager *manager, unsigned status)
{
    struct world        *world  = &managers->all->wire.world;
    struct truth        *truth  = managers->all->truth;
    struct member_truth *member = &truth->members[manager->user][manager->no];

    truth_scan(truth);
    promise(world, status == 200, "a change of members is answered %u: %.*s", status,
            SPAN_ARG(buf_span(&manager->asker.body)));
    uint64_t seq = object_number(&managers->objects, object_read(&managers->objects, buf_span(&manager->asker.body)), "seq");
    tell(world, "user %u is %s group %u since %" PRIu64, manager->user, manager->joins ? "in" : "not in", manager->no, seq);
    promise(world, truth_is_member(truth, manager->user, manager->no) == manager->joins && seq == member->seq,
            "user %u is said to be %s group %u since %" PRIu64 ", the log says %s since %" PRIu64, manager->user,
            manager->joins ? "in" : "not in", manager->no, seq,
            truth_is_member(truth, manager->user, manager->no) ? "in" : "not in", member->seq);
    if (manager->asker.tries > 1)
        member->quiet_until = world->now + QUIET_MS;
    truth_answered(truth, manager->user, manager->no);
}

/* --- revocations --- */

static void revoke_put_what(const struct managers *managers, const struct told_revocation *told, char *body, size_t size)
{
    const struct device_world *all = managers->all;

    switch (told->what) {
    case REVOKE_USER:
        snprintf(body, size, "{\"user\":\"%s\"}", name_behind(managers, channel_of_user(told->user)));
        break;
    case REVOKE_PHONE:
        snprintf(body, size, "{\"device\":\"%s\"}", name_behind(managers, channel_of_phone(all, told->user, told->no)));
        break;
    case REVOKE_JTI:
        snprintf(body, size, "{\"jti\":\"j%" PRIu64 "\"}", told->jti);
        break;
    case REVOKE_CONNECTION:
        snprintf(body, size, "{\"connection\":\"%016" PRIx64 "\"}", told->connection);
        break;
    }
}

static void revoke_begin(struct managers *managers, struct manager *manager)
{
    struct device_world *all   = managers->all;
    struct world        *world = &all->wire.world;
    char                 body[80];

    if (managers->revoked_count == REVOKED_MAX)
        return;
    const struct phone *phone = phones_draw(all->phones, OF_ASKERS);
    manager->task             = TASK_REVOKE;
    manager->revocation       = managers->revoked_count++;
    struct told_revocation *told = &managers->revoked[manager->revocation];
    *told = (struct told_revocation){
        .what = (enum revoke_what)draw(world, OF_ASKERS, 4), .user = phone->user, .no = phone->no, .jti = phone->token.jti,
        .connection = phone->ticket.connection, .from_s = world_wall(world) / 1000, .until_s = INT64_MAX, .answered_at = -1,
    };
    revoke_put_what(managers, told, body, sizeof body);
    tell(world, "it is revoked: %s", body);
    asker_ask(&manager->asker, "app", "POST", "/v1/revocations", "Content-Type: application/json\r\n", body);
}

static void revoke_answered(struct managers *managers, struct manager *manager, unsigned status)
{
    struct world           *world = &managers->all->wire.world;
    struct told_revocation *told  = &managers->revoked[manager->revocation];

    promise(world, status == 200, "a revocation is answered %u: %.*s", status, SPAN_ARG(buf_span(&manager->asker.body)));
    told->answered_at = world->now;
    told->until_s     = world_wall(world) / 1000 + (manager->asker.tries > 1 ? REPEATED_LATE_S : 0);
    tell(world, "revocation %u holds", manager->revocation);
}

/* --- acknowledging for a phone --- */

/* In the name of its newest generation, what it has; or in that of an older one, far more. */
static void ack_begin(struct managers *managers, struct manager *manager)
{
    struct device_world *all   = managers->all;
    struct world        *world = &all->wire.world;
    struct phone        *phone = phones_draw(all->phones, OF_ASKERS);
    unsigned             channel = channel_of_user(phone->user);
    char                 body[200], token[PHONE_TOKEN_BYTES];

    if (!phone->has_session || !phone->has[channel].is_known)
        return;
    manager->task       = TASK_ACK;
    manager->user       = phone->user;
    manager->no         = phone->no;
    manager->is_stale   = phone->generation > 1 && one_in(world, OF_ASKERS, 2);
    manager->generation = phone->generation - (manager->is_stale ? 1 : 0);
    uint64_t seq        = manager->is_stale ? 1000000 : phone->has[channel].seq;
    phone_token_text(phone, &phone->token, token);
    snprintf(body, sizeof body, "{\"places\":{\"%s\":%" PRIu64 "},\"generation\":%" PRIu64 ",\"device\":\"%s\"}",
             world->channels[channel]->text, seq, manager->generation, phone->name);
    asker_ask(&manager->asker, token, "POST", "/v1/ack", "Content-Type: application/json\r\n", body);
}

static void ack_answered(struct managers *managers, struct manager *manager, unsigned status)
{
    struct device_world     *all     = managers->all;
    struct world            *world   = &all->wire.world;
    struct phone            *phone   = phones_at(all->phones, manager->user, manager->no);
    unsigned                 channel = channel_of_user(phone->user);

    if (status == 401)
        return;  /* its token has ended, or is revoked */
    promise(world, status == 200 || status == 409, "an ack is answered %u: %.*s", status,
            SPAN_ARG(buf_span(&manager->asker.body)));
    promise(world, status == 409 || !manager->is_stale, "an ack of the generation %" PRIu64 " counts, the newest is %" PRIu64,
            manager->generation, phone->generation);
    if (status != 200)
        return;
    const struct json_token *root   = object_read(&managers->objects, buf_span(&manager->asker.body));
    const struct json_token *places = json_member(&managers->objects.doc, root, SPAN("places"));
    phone_take_called(phone, channel, object_number(&managers->objects, places, world->channels[channel]->text));
}

/* --- all of them --- */

static void manager_begin(struct managers *managers, struct manager *manager)
{
    struct world *world = &managers->all->wire.world;

    if (one_in(world, OF_ASKERS, REVOKES_ONE_IN))
        revoke_begin(managers, manager);
    else if (one_in(world, OF_ASKERS, ACKS_ONE_IN))
        ack_begin(managers, manager);
    else
        member_begin(managers, manager);
    manager->next_at = world->now + (msec)draw(world, OF_ASKERS, PAUSE_MS_MAX);
}

void managers_turn(struct managers *managers)
{
    static void (*const answered[])(struct managers *, struct manager *, unsigned) = {
        [TASK_MEMBER] = member_answered, [TASK_REVOKE] = revoke_answered, [TASK_ACK] = ack_answered,
    };
    struct world *world = &managers->all->wire.world;

    for (unsigned i = 0; i < managers->count; i++) {
        struct manager *manager = &managers->at[i];
        unsigned        status  = asker_turn(&manager->asker);
        if (status != 0)
            answered[manager->task](managers, manager, status);
        if (asker_is_idle(&manager->asker) && manager->next_at <= world->now && !world->is_healing && !managers->are_leaving)
            manager_begin(managers, manager);
    }
}

void managers_cut(struct managers *managers, struct loop_range range)
{
    for (unsigned i = 0; i < managers->count; i++)
        if (loop_is_in(range, managers->at[i].asker.link.loop))
            asker_cut(&managers->at[i].asker);
}

void managers_leave(struct managers *managers)
{
    managers->are_leaving = true;
    managers_cut(managers, world_loops(&managers->all->wire.world));
}

bool managers_are_done(const struct managers *managers)
{
    for (unsigned i = 0; i < managers->count; i++)
        if (!asker_is_idle(&managers->at[i].asker))
            return false;
    return true;
}
