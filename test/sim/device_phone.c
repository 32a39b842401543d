#include "device_phone.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/row.h"
#include "device/row_kind.h"
#include "device_manager.h"
#include "device_roam.h"
#include "device_truth.h"
#include "store_sim.h"
#include "wire_node.h"

enum {
    AWAY_MS_MAX    = 150,
    STAY_MS_MAX    = 1500,
    GHOST_MS_MAX   = 500,
    NEWBORN_MS     = 1000,  /* the contract: revocations hold everywhere within a second */
    LONG_GHOST_MS_MAX = 4000,  /* where another node may find it late that it is fenced */
    OPENING_MS     = 2500,
    PATIENCE_MS    = 2 * LINK_HEARTBEAT_MS + 300,
    EXPIRY_MS      = 60,     /* a loop's turn may come so late */
    FAR_SEQ        = 1000000,
};

static const msec NEVER_MS = INT64_MAX / 2;

static struct device_world *all_of(const struct phone *phone)
{
    return phone->all->all;
}

static struct world *world_of(const struct phone *phone)
{
    return &phone->all->all->wire.world;
}

static int64_t now_s(const struct phone *phone)
{
    return world_wall(world_of(phone)) / 1000;
}

static const char *text_of(const struct phone *phone, unsigned channel)
{
    return world_of(phone)->channels[channel]->text;
}

static const struct phone_says *says(const struct phone_link *link)
{
    return link->is_native ? &phone_native : &phone_json;
}

static struct phone_link *other_of(struct phone_link *link)
{
    return &link->phone->links[link == &link->phone->links[0]];
}

static bool is_current(const struct phone_link *link)
{
    return link == &link->phone->links[link->phone->now];
}

/* Does the phone follow it, if all is well? */
static bool phone_follows(const struct phone *phone, unsigned channel)
{
    const struct device_world *all = all_of(phone);

    switch (all->roles[channel].role) {
    case ROLE_CONTROL: return false;
    case ROLE_USER: return all->roles[channel].user == phone->user;
    case ROLE_PHONE: return all->roles[channel].user == phone->user && all->roles[channel].no == phone->no;
    case ROLE_GROUP: return true;
    case ROLE_TOPIC: return phone->keep == KEEP_HEARD;
    }
    return false;
}

/* --- tokens --- */

void phone_token_text(const struct phone *phone, const struct phone_token *token, char ret[PHONE_TOKEN_BYTES])
{
    snprintf(ret, PHONE_TOKEN_BYTES, "u%u.%s.j%" PRIu64 ".%lld.%lld", phone->user, token->names_device ? phone->name : "-",
             token->jti, (long long)token->issued_s, (long long)token->ends_s);
}

static void phone_log_in(struct phone *phone)
{
    struct world *world = world_of(phone);

    phone->token = (struct phone_token){ .jti = ++phone->all->jti, .issued_s = now_s(phone),
                                         .names_device = one_in(world, OF_READERS, 2) };
    if (!world->is_healing && one_in(world, OF_READERS, 4))
        phone->token.ends_s = now_s(phone) + 1 + (int64_t)draw(world, OF_READERS, 3);
    phone->is_refused = false;
}

static bool token_ends(const struct phone *phone, const struct phone_token *token)
{
    return token->ends_s != 0 && token->ends_s <= now_s(phone) + 1;
}

/* Does the revocation mean it? */
static bool revokes_token(const struct told_revocation *told, const struct phone *phone, const struct phone_token *token,
                          bool names_device)
{
    switch (told->what) {
    case REVOKE_USER: return told->user == phone->user;
    case REVOKE_PHONE: return told->user == phone->user && told->no == phone->no && names_device;
    case REVOKE_JTI: return told->jti == token->jti;
    case REVOKE_CONNECTION: return false;
    }
    return false;
}

/* When it was known at the latest that this is refused; NEVER_MS: it need not be. */
static msec revoked_at(const struct phone *phone, const struct phone_token *token, const struct phone_ticket *ticket,
                       uint64_t connection)
{
    const struct managers *managers = all_of(phone)->managers;
    msec                   at       = NEVER_MS;

    for (unsigned i = 0; i < managers->revoked_count; i++) {
        const struct told_revocation *told = &managers->revoked[i];
        bool is_token = revokes_token(told, phone, token, token->names_device || ticket != NULL) &&
                        token->issued_s <= told->from_s;
        bool is_ticket = ticket != NULL && told->what == REVOKE_CONNECTION && told->connection == ticket->connection &&
                         ticket->issued_s <= told->from_s;
        bool is_link = told->what == REVOKE_CONNECTION && connection != 0 && told->connection == connection;
        if (told->answered_at >= 0 && (is_token || is_ticket || is_link) && told->answered_at < at)
            at = told->answered_at;
    }
    return at;
}

/* A node that is not known to the others yet learns of it by the log alone. */
static msec revoked_late_ms(const struct phone *phone)
{
    return all_of(phone)->roam == NULL ? 0 : NEWBORN_MS + roam_late_ms(all_of(phone));
}

/* May it be refused because of a revocation? */
static bool may_be_revoked(const struct phone *phone, const struct phone_token *token, uint64_t connection)
{
    const struct managers *managers = all_of(phone)->managers;

    for (unsigned i = 0; i < managers->revoked_count; i++) {
        const struct told_revocation *told = &managers->revoked[i];
        if (revokes_token(told, phone, token, true) && token->issued_s <= told->until_s)
            return true;
        if (told->what == REVOKE_CONNECTION && told->connection == connection)
            return true;
    }
    return false;
}

/* --- coming and going --- */

static uint64_t sure_stored(struct phone *phone, unsigned channel);

/* A node that does not know the others yet may open the session, though the phone will not hear of it: then the node of the link before is
 * not asked what was acknowledged there. (In main/cluster_host.c openings wait until it knows them.) */
static void phone_doubt(struct phone *phone)
{
    phone->doubtful_until   = world_of(phone)->now + OPENING_MS;
    phone->is_keep_doubtful = true;
    for (unsigned i = 0; i < world_of(phone)->channel_count; i++) {
        uint64_t stored    = sure_stored(phone, i);
        phone->has[i].sure = stored;
        for (unsigned j = 0; j < PHONE_LINKS; j++)
            if (phone->links[j].at_place[i].sure > stored)
                phone->links[j].at_place[i].sure = stored;
    }
}

static bool is_doubtful(const struct phone *phone)
{
    return world_of(phone)->now < phone->doubtful_until;
}

void phone_link_go(struct phone_link *link, const char *why)
{
    struct phone *phone = link->phone;
    struct world *world = world_of(phone);

    if (link->state == LINK_AWAY)
        return;
    tell(world, "u%u/%s leaves link %u: %s", phone->user, phone->name, link->came_no, why);
    client_link_close(&link->link);
    if (link->state == LINK_OPENING && all_of(phone)->roam != NULL && link->asks_nobody)
        phone_doubt(phone);
    link->state = LINK_AWAY;
    if (is_current(link))
        phone->at = world->now + (msec)draw(world, OF_READERS, AWAY_MS_MAX);
}

/* Who becomes a member now may begin before the head that is seen now. */
static bool is_joining(const struct phone *phone, unsigned channel)
{
    const struct device_world *all = all_of(phone);
    unsigned                   no  = all->roles[channel].no;

    return all->roles[channel].role == ROLE_GROUP &&
           (!truth_is_member(all->truth, phone->user, no) || all->truth->members[phone->user][no].is_busy);
}

static void set_floors(struct phone *phone)
{
    for (unsigned i = 0; i < world_of(phone)->channel_count; i++) {
        struct phone_place *place = &phone->has[i];
        if (!phone_follows(phone, i) || place->has_floor || all_of(phone)->roles[i].role == ROLE_TOPIC)
            continue;
        /* Until a broken store has reopened a session begins at the head that reads tell. */
        place->has_floor = true;
        place->floor     = is_joining(phone, i) ? 0 : store_sim_shown(world_of(phone)->disk, i);
    }
}

bool phone_names_place(const struct phone_link *link, unsigned channel)
{
    const struct phone        *phone = link->phone;
    const struct device_world *all   = all_of(phone);
    unsigned                   no    = all->roles[channel].no;

    if (!phone_follows(phone, channel) || !phone->has[channel].is_known || phone->has[channel].seq == 0)
        return false;
    return all->roles[channel].role != ROLE_GROUP ||
           (truth_is_member(all->truth, phone->user, no) && !all->truth->members[phone->user][no].is_busy);
}

/* --- what is on the disk --- */

static uint64_t stored_place(struct phone *phone, unsigned channel, bool *ret_is_kept)
{
    struct place_row row = { 0 };
    struct buf       key, value;
    char             user[12];

    snprintf(user, sizeof user, "u%u", phone->user);
    buf_init(&key, 512);
    buf_init(&value, 512);
    row_key_put(&key, span_str(user), span_str(phone->name));
    row_key_put_third(&key, span_str(text_of(phone, channel)));
    uint64_t generation = store_sim_row(world_of(phone)->disk, ROW_PLACE, buf_span(&key), &value);
    *ret_is_kept        = generation != 0 && place_row_get(buf_span(&value), &row) && row.is_kept;
    buf_fini(&key);
    buf_fini(&value);
    return generation == 0 ? 0 : generation - 1;
}

/* Does what was acknowledged or kept since the last write always count? */
static bool is_sure(const struct phone *phone)
{
    return all_of(phone)->roam == NULL || roam_tells_all(all_of(phone));
}

static uint64_t sure_stored(struct phone *phone, unsigned channel)
{
    uint64_t sure = phone->has[channel].sure;
    bool     is_kept;

    if (all_of(phone)->roam == NULL || sure == 0)
        return 0;
    uint64_t stored = stored_place(phone, channel, &is_kept);
    return stored < sure ? stored : sure;
}

/* Where a node could not be asked what was acknowledged there, what was on the disk counts. */
static uint64_t link_sure(const struct phone_link *link, unsigned channel)
{
    return all_of(link->phone)->roam == NULL || is_sure(link->phone) ? link->at_place[channel].sure : link->at_place[channel].stored;
}

/* What is kept is stored within a second: until then a crash takes it back. So does a move to another node, if the older link's node can't
 * be asked: then the new link says whether it follows the channel. */
static void phone_check_kept(struct phone *phone, const struct phone_link *link)
{
    unsigned            channel = channel_of_topic(all_of(phone));
    struct phone_place *place   = &phone->has[channel];
    bool                is_kept;

    stored_place(phone, channel, &is_kept);
    bool was_told = phone->keep == KEEP_HEARD && link != NULL && !link->asks_nobody && !phone->is_keep_doubtful;
    bool is_safe  = all_of(phone)->roam == NULL ? is_kept : is_sure(phone) && (is_kept || was_told);
    phone->is_keep_doubtful = false;
    if (is_safe || phone->keep == KEEP_NOT)
        return;
    phone->keep = KEEP_ASKED;
    *place      = (struct phone_place){ .has_floor = true, .floor = place->floor };
}

static void link_connect(struct phone_link *link)
{
    struct world *world        = world_of(link->phone);
    bool          names_places = link->phone->has_session && !world->is_healing && one_in(world, OF_READERS, 3);

    link->asked_at    = world->now;
    link->asks_nobody = roam_is_newborn(all_of(link->phone), link->link.loop / world->loops_a_node);
    if (roam_knows_nobody(all_of(link->phone), link->link.loop / world->loops_a_node))
        phone_doubt(link->phone);
    for (unsigned i = 0; i < world->channel_count; i++) {
        link->at_place[i].named = 0;
        link->at_place[i].sure   = is_sure(link->phone) ? link->phone->has[i].sure : 0;
        link->at_place[i].stored = sure_stored(link->phone, i);
    }
    set_floors(link->phone);
    says(link)->connect(link, link->by_ticket, names_places);
}

/* One of an older generation, now and then. */
static void link_choose_credential(struct phone_link *link)
{
    struct phone *phone = link->phone;
    struct world *world = world_of(phone);

    if (phone->is_refused || phone->token.jti == 0 || token_ends(phone, &phone->token) ||
        (!world->is_healing && one_in(world, OF_READERS, 8)))
        phone_log_in(phone);
    link->by_ticket = phone->ticket.is_there && (world->is_healing || !one_in(world, OF_READERS, 3));
    if (link->by_ticket)
        link->ticket = phone->older.is_there && !world->is_healing && one_in(world, OF_READERS, 5) ? phone->older : phone->ticket;
    link->token = link->by_ticket ? link->ticket.token : phone->token;
}

static void phone_come(struct phone *phone)
{
    struct world      *world = world_of(phone);
    struct phone_link *link  = &phone->links[phone->links[0].state != LINK_AWAY];

    must(link->state == LINK_AWAY);
    link->is_native = one_in(world, OF_READERS, 2);
    if (!client_link_open(&link->link, link->is_native)) {
        phone->at = world->now + 1 + (msec)draw(world, OF_READERS, AWAY_MS_MAX);
        return;
    }
    phone->now      = link == &phone->links[1];
    link->came_no   = ++phone->came_count;
    link->is_told   = link->is_refreshing = link->has_lied = link->may_be_forgotten = link->was_refused = link->is_turned_away = false;
    link->fenced_at = -1;
    link->asked_at  = -1;
    link->opened_at = world->now;
    link->at        = world->now + 1 + (msec)draw(world, OF_READERS, STAY_MS_MAX);
    link->connection = link->generation = 0;
    memset(link->at_place, 0, sizeof link->at_place);
    bin_aliases_fini(&link->aliases);
    link_choose_credential(link);
    phone->all->came_count++;
    tell(world, "u%u/%s comes by link %u to loop %u, %s, with %s", phone->user, phone->name, link->came_no, link->link.loop,
         link->is_native ? "native" : "WebSocket", link->by_ticket ? "a ticket" : "a token");
    link->state = link->is_native ? LINK_OPENING : LINK_UPGRADING;
    if (link->is_native)
        link_connect(link);
    else
        ws_ask_upgrade(&link->link, "");
}

/* --- what it is told of its session --- */

static void check_connected(struct phone_link *link, const struct phone_connected *connected)
{
    struct phone *phone = link->phone;
    struct world *world = world_of(phone);

    promise(world, connected->generation > phone->generation,
            "generations rise: u%u/%s was told %" PRIu64 ", and is told %" PRIu64, phone->user, phone->name, phone->generation,
            connected->generation);
    promise(world, !link->by_ticket || link->ticket.generation >= phone->generation,
            "u%u/%s opens its session with a ticket of generation %" PRIu64 ", the newest is %" PRIu64, phone->user,
            phone->name, link->ticket.generation, phone->generation);
    promise(world, connected->is_resumed || !phone->has_session, "the session of u%u/%s is there no more", phone->user,
            phone->name);
    promise(world, revoked_at(phone, &link->token, link->by_ticket ? &link->ticket : NULL, 0) >= link->asked_at - revoked_late_ms(phone),
            "u%u/%s is let in with %s that was revoked", phone->user, phone->name, link->by_ticket ? "a ticket" : "a token");
}

static void take_ticket(struct phone_link *link, const struct phone_connected *connected)
{
    struct phone *phone = link->phone;

    if (connected->ticket.len == 0)
        return;
    must(connected->ticket.len < PHONE_TICKET_BYTES);
    phone->older  = phone->ticket;
    phone->ticket = (struct phone_ticket){ .is_there = true, .generation = connected->generation,
                                           .connection = connected->connection, .issued_s = now_s(phone),
                                           .token = link->token, .came_no = link->came_no };
    memcpy(phone->ticket.text, connected->ticket.at, connected->ticket.len);
}

static void set_ceilings(struct phone *phone)
{
    for (unsigned i = 0; i < world_of(phone)->channel_count; i++) {
        struct phone_place *place = &phone->has[i];
        if (!place->has_floor || place->has_ceiling || all_of(phone)->roles[i].role == ROLE_TOPIC)
            continue;
        place->has_ceiling = true;
        place->ceiling     = all_of(phone)->truth->heads[i];
    }
}

/* The link had a session, and its client has shown a fresh token. */
static void take_refreshed(struct phone_link *link, const struct phone_connected *connected)
{
    promise(world_of(link->phone), link->is_refreshing && connected->generation == link->generation,
            "u%u/%s is told `connected` again", link->phone->user, link->phone->name);
    link->token         = link->next_token;
    link->is_refreshing = false;
    if (link->fenced_at < 0)
        take_ticket(link, connected);
}

void phone_take_connected(struct phone_link *link, const struct phone_connected *connected)
{
    struct phone      *phone = link->phone;
    struct world      *world = world_of(phone);
    struct phone_link *other = other_of(link);

    tell(world, "u%u/%s is told `connected` on link %u, generation %" PRIu64, phone->user, phone->name, link->came_no,
         connected->generation);
    if (link->state == LINK_OPEN) {
        take_refreshed(link, connected);
        return;
    }
    truth_scan(all_of(phone)->truth);
    check_connected(link, connected);
    phone->generation = link->generation = connected->generation;
    phone->has_session = true;
    link->connection   = connected->connection;
    link->state        = LINK_OPEN;
    take_ticket(link, connected);
    if (all_of(phone)->roam != NULL || !is_sure(phone))
        phone_check_kept(phone, link);
    set_ceilings(phone);
    if (other->state == LINK_OPEN && other->fenced_at < 0) {
        other->fenced_at        = world->now;
        other->may_be_forgotten = roam_is_newborn(all_of(phone), link->link.loop / world->loops_a_node);
    }
}

void phone_take_subscribed(struct phone_link *link, unsigned channel, uint64_t epoch, uint64_t head)
{
    struct phone              *phone = link->phone;
    struct world              *world = world_of(phone);
    const struct device_world *all   = all_of(phone);
    struct phone_place        *place = &phone->has[channel];
    bool                       is_kept = all->roles[channel].role == ROLE_TOPIC && phone->keep != KEEP_NOT;

    (void)epoch;
    promise(world, phone_follows(phone, channel) || is_kept, "u%u/%s is told that it follows %s", phone->user, phone->name,
            text_of(phone, channel));
    promise(world, head <= all->truth->heads[channel], "the head of %s is %" PRIu64 ", and said to be %" PRIu64,
            text_of(phone, channel), all->truth->heads[channel], head);
    link->at_place[channel].is_placed = true;
    if (!is_kept || phone->keep == KEEP_HEARD)
        return;
    phone->keep        = KEEP_HEARD;
    place->has_ceiling = true;
    place->ceiling     = all->truth->heads[channel];
}

/* --- messages --- */

/* Who names a place in a group that its session has not heard of yet asks to follow it like any member, who may read all. */
static bool reads_as_member(const struct phone_link *link, unsigned channel)
{
    const struct device_world *all = all_of(link->phone);

    return all->roam != NULL && link->at_place[channel].named > 0 && all->roles[channel].role == ROLE_GROUP &&
           truth_is_member(all->truth, link->phone->user, all->roles[channel].no);
}

static void check_order(struct phone_link *link, unsigned channel, uint64_t seq)
{
    struct phone             *phone = link->phone;
    struct world             *world = world_of(phone);
    const struct truth       *truth = all_of(phone)->truth;
    const struct phone_place *place = &phone->has[channel];
    bool                      has_begun = link->at_place[channel].is_known;
    uint64_t                  sure = link_sure(link, channel), named = link->at_place[channel].named;
    uint64_t                  low = named > 0 ? named : sure;  /* who names an earlier place goes back to that */
    uint64_t                  had = place->is_known ? place->seq : place->ceiling;

    if (place->floor > low)
        low = place->floor;
    if (has_begun)
        low = had = link->at_place[channel].seq;
    promise(world, seq > low, "nothing comes twice: u%u/%s on link %u of %s has %" PRIu64 ", gets %" PRIu64, phone->user,
            phone->name, link->came_no, text_of(phone, channel), low, seq);
    promise(world, truth_next(truth, phone->user, channel, had + 1) >= seq,
            "nothing is missed: u%u/%s on link %u of %s has %" PRIu64 ", gets %" PRIu64, phone->user, phone->name,
            link->came_no, text_of(phone, channel), had, seq);
    promise(world, truth_may(truth, phone->user, channel, seq) || reads_as_member(link, channel),
            "u%u/%s gets %" PRIu64 " of %s, and was no member then", phone->user, phone->name, seq, text_of(phone, channel));
}

/* What was published after the link came to its end. */
static void check_end(const struct phone_link *link, unsigned channel, uint64_t seq, msec begun_at)
{
    struct phone *phone = link->phone;
    struct world *world = world_of(phone);
    msec          ends  = link->token.ends_s == 0 ? INT64_MAX : (msec)link->token.ends_s * 1000 + EXPIRY_MS;

    promise(world, link->fenced_at < 0 || link->may_be_forgotten || begun_at <= link->fenced_at + roam_late_ms(all_of(phone)),
            "link %u of u%u/%s gets %" PRIu64 " of %s, which was published after a newer link had the session", link->came_no,
            phone->user, phone->name, seq, text_of(phone, channel));
    promise(world, world_wall(world) - world->now + begun_at <= ends,
            "link %u of u%u/%s gets %" PRIu64 " of %s, which was published after its token had ended", link->came_no,
            phone->user, phone->name, seq, text_of(phone, channel));
    promise(world, begun_at <= revoked_at(phone, &link->token, NULL, link->connection) + revoked_late_ms(phone),
            "link %u of u%u/%s gets %" PRIu64 " of %s, which was published after it was revoked", link->came_no, phone->user,
            phone->name, seq, text_of(phone, channel));
}

void phone_take_message(struct phone_link *link, unsigned channel, uint64_t epoch, uint64_t seq, struct span payload,
                        bool is_control)
{
    struct phone         *phone   = link->phone;
    struct world         *world   = world_of(phone);
    const struct message *written = store_sim_at(world->disk, channel, seq);
    struct phone_place   *place   = &phone->has[channel];
    uint64_t              no;

    tell(world, "u%u/%s gets %" PRIu64 " of %s on link %u", phone->user, phone->name, seq, text_of(phone, channel),
         link->came_no);
    truth_scan(all_of(phone)->truth);
    if (link->fenced_at >= 0 && !phone_follows(phone, channel)) {
        link->at_place[channel].seq = seq;  /* what the older link kept, and was not stored; the newer one may keep it again */
        return;
    }
    promise(world, link->at_place[channel].is_placed && phone_follows(phone, channel), "%s has news before it is followed",
            text_of(phone, channel));
    promise(world, written != NULL && written->epoch == epoch && (is_control || span_eq(message_payload(written), payload)),
            "u%u/%s gets %" PRIu64 " of %s, which the log does not have so", phone->user, phone->name, seq,
            text_of(phone, channel));
    check_order(link, channel, seq);
    if (!is_control) {
        must(span_u64(payload, &no));
        check_end(link, channel, seq, all_of(phone)->posted[no].begun_at);
    }
    link->at_place[channel].is_known = true;
    link->at_place[channel].seq      = seq;
    if (link->fenced_at >= 0 && all_of(phone)->roles[channel].role == ROLE_TOPIC)
        return;  /* what was kept begins anew with the newer link */
    if (!place->is_known || place->seq < seq)
        place->seq = seq;
    place->is_known = true;
}

/* --- ends and errors --- */

static bool has_trouble(const struct phone *phone)
{
    const struct device_world *all    = all_of(phone);
    const struct faults       *faults = &all->wire.world.faults;

    return faults->broken || faults->away || faults->stuck || faults->read_io || faults->tight || faults->full ||
           faults->unknown || faults->stalls || faults->refused || faults->crash || all->wire.faults.stops;
}

/* A ticket may be stale because a newer link was opened, and nobody was told. */
static void check_stale(const struct phone_link *link, struct span reason)
{
    const struct phone        *phone  = link->phone;
    const struct phone_ticket *ticket = &link->ticket;
    bool is_next = phone->ticket.generation == ticket->generation && link->came_no == phone->ticket.came_no + 1;

    promise(world_of(phone),
            !is_next || !is_sure(phone) || token_ends(phone, &ticket->token) || may_be_revoked(phone, &ticket->token, ticket->connection),
            "u%u/%s is refused with its newest ticket, and has come by no other link: %.*s", phone->user, phone->name, SPAN_ARG(reason));
}

static void take_refusal(struct phone_link *link, struct span reason)
{
    struct phone *phone = link->phone;

    tell(world_of(phone), "u%u/%s is refused: %.*s", phone->user, phone->name, SPAN_ARG(reason));
    if (link->by_ticket) {
        check_stale(link, reason);
        if (phone->ticket.generation == link->ticket.generation)
            phone->ticket.is_there = false;
        phone->older.is_there = phone->older.is_there && phone->older.generation != link->ticket.generation;
        link->by_ticket       = false;
        link->was_refused     = true;
        link->token           = phone->token;
        link_connect(link);
        return;
    }
    promise(world_of(phone), token_ends(phone, &link->token) || may_be_revoked(phone, &link->token, 0),
            "u%u/%s is refused with a token that is good: %.*s", phone->user, phone->name, SPAN_ARG(reason));
    phone->is_refused = true;
    phone_link_go(link, "it is refused");
}

void phone_take_error(struct phone_link *link, uint64_t code, struct span reason)
{
    struct phone *phone = link->phone;
    struct world *world = world_of(phone);
    bool          is_open = link->state == LINK_OPEN;

    if (code == 401 && !is_open) {
        take_refusal(link, reason);
    } else if (code == 401) {
        promise(world, link->is_refreshing, "u%u/%s is told 401: %.*s", phone->user, phone->name, SPAN_ARG(reason));
        phone->is_refused = link->is_turned_away = true;
    } else if (code == 503 || code == 507) {
        promise(world, has_trouble(phone), "u%u/%s is told %" PRIu64 " for no reason: %.*s", phone->user, phone->name, code,
                SPAN_ARG(reason));
        phone_link_go(link, "it shall come later");
    } else {
        promise(world, is_open && (code == 403 || code == 404 || code == 409), "u%u/%s is told %" PRIu64 ": %.*s", phone->user,
                phone->name, code, SPAN_ARG(reason));
    }
}

void phone_take_replaced(struct phone_link *link)
{
    struct phone *phone = link->phone;

    promise(world_of(phone), phone->came_count > link->came_no, "u%u/%s is replaced, and nobody has come", phone->user, phone->name);
    link->is_told = true;
}

/* Wires and loops may each take their time. */
static bool is_slow_world(const struct device_world *all)
{
    const struct faults      *faults = &all->wire.world.faults;
    const struct wire_faults *wired  = &all->wire.faults;

    return wired->slow || wired->narrow || wired->delays || wired->slow_identity || faults->slow_mail || faults->rests;
}

/* All that a native link says until it has its session has to come in time: where a ticket was refused, that is two
 * questions and an answer. And a node that was paused finds that nothing has come in time. */
static bool is_slow_to_open(const struct phone_link *link)
{
    const struct device_world *all  = all_of(link->phone);
    const struct roam         *roam = all->roam;
    bool is_slow = link->is_native && link->state == LINK_OPENING && (link->was_refused || is_slow_world(all));

    return (is_slow && world_of(link->phone)->now >= link->opened_at + CONNECT_MS) || (roam != NULL && roam->faults.pauses);
}

/* An opening was refused, because nobody knew what became of its raise: then the link before it can store nothing any more. */
static bool may_be_astray(const struct phone *phone)
{
    const struct faults *faults = &all_of(phone)->wire.world.faults;

    return all_of(phone)->roam != NULL && (faults->unknown || faults->broken);
}

void phone_take_closing(struct phone_link *link, uint64_t code)
{
    struct phone *phone = link->phone;
    bool is_possible = (code == 1001 && wire_node_at(&all_of(phone)->wire, link->link.loop)->leave_by != 0) || (code == 4001 && link->is_told) ||
                       (code == 4003 && link->token.ends_s != 0) || (code == 1013 && has_trouble(phone)) ||
                       (code == 4004 && may_be_revoked(phone, &link->token, link->connection)) ||
                       (code == 1008 && (phone->is_refused || link->is_turned_away || is_slow_to_open(link))) || (code == 4002 && may_be_astray(phone));

    promise(world_of(phone), is_possible, "u%u/%s's link %u is closed with %" PRIu64, phone->user, phone->name, link->came_no,
            code);
    if (code == 4004)
        phone->is_refused = true;
}

void phone_take_expiring(struct phone_link *link)
{
    struct phone *phone = link->phone;

    if (link->is_refreshing)
        return;  /* the end of the token that it has just shown */
    promise(world_of(phone), link->token.ends_s != 0, "u%u/%s's token does not end", phone->user, phone->name);
    if (link->state != LINK_OPEN || link->fenced_at >= 0 || !one_in(world_of(phone), OF_READERS, 2))
        return;
    phone_log_in(phone);
    phone->token.names_device = link->token.names_device;
    struct phone_token before = link->token;
    link->next_token          = phone->token;
    link->is_refreshing       = true;
    link->token               = phone->token;
    says(link)->connect(link, false, false);
    link->token = before;
}

/* --- acknowledging --- */

/* What is acknowledged on a link is sure if its node will be asked. */
static void phone_take_acknowledged(struct phone *phone, unsigned channel, uint64_t seq, bool is_sure_by_itself)
{
    struct phone_place *place = &phone->has[channel];
    bool                is_kept;

    if (all_of(phone)->roam != NULL && all_of(phone)->roles[channel].role == ROLE_TOPIC && !is_sure(phone))
        return;  /* it may begin anew with each link */
    promise(world_of(phone), place->is_known && seq <= place->seq,
            "u%u/%s is said to have all up to %" PRIu64 " of %s, and has %" PRIu64, phone->user, phone->name, seq,
            text_of(phone, channel), place->seq);
    tell(world_of(phone), "u%u/%s has acknowledged %" PRIu64 " of %s", phone->user, phone->name, seq, text_of(phone, channel));
    if ((is_sure_by_itself && !is_doubtful(phone)) || all_of(phone)->roam == NULL || stored_place(phone, channel, &is_kept) >= seq)
        place->sure = seq > place->sure ? seq : place->sure;
}

/* Where the next link may be on another node it is stored by then: nobody asks this one. */
void phone_take_called(struct phone *phone, unsigned channel, uint64_t seq)
{
    bool     is_kept;
    uint64_t stored = stored_place(phone, channel, &is_kept);

    promise(world_of(phone), all_of(phone)->roam == NULL || stored >= seq,
            "a call has acknowledged %" PRIu64 " of %s for u%u/%s, and %" PRIu64 " is stored", seq, text_of(phone, channel), phone->user,
            phone->name, stored);
    phone_take_acknowledged(phone, channel, seq, false);
}

void phone_take_ack(struct phone_link *link, unsigned channel, uint64_t seq, uint64_t ref)
{
    promise(world_of(link->phone), link->at_place[channel].ref >= ref && seq <= link->at_place[channel].seq,
            "an ack that nobody sent is answered");
    /* It was taken before this link was fenced, and so before the newer one was told where it goes on. But who asks nobody
     * does not fence it: then it may have been taken too late to be stored. */
    struct phone_link *other     = other_of(link);
    bool               has_newer = other->state != LINK_AWAY && other->came_no > link->came_no;
    phone_take_acknowledged(link->phone, channel, seq, !has_newer || !other->asks_nobody);
    if (has_newer && !other->asks_nobody && is_sure(link->phone) && !is_doubtful(link->phone) &&
        seq > other->at_place[channel].sure)
        other->at_place[channel].sure = seq;
}

static void link_acknowledge(struct phone_link *link)
{
    struct world *world   = world_of(link->phone);
    unsigned      channel = (unsigned)draw(world, OF_READERS, world->channel_count);
    bool          has_ref = one_in(world, OF_READERS, 2);

    if (!link->at_place[channel].is_known || link->at_place[channel].acked == link->at_place[channel].seq)
        return;
    link->at_place[channel].acked = link->at_place[channel].seq;
    if (has_ref)
        link->at_place[channel].ref = ++link->ref;
    tell(world, "u%u/%s acknowledges %" PRIu64 " of %s on link %u", link->phone->user, link->phone->name,
         link->at_place[channel].seq, text_of(link->phone, channel), link->came_no);
    says(link)->ack(link, channel, link->at_place[channel].seq, has_ref ? link->ref : 0);
}

/* What an older link says then must count for nothing. */
static void link_lie(struct phone_link *link)
{
    struct world *world = world_of(link->phone);

    for (unsigned i = 0; i < world->channel_count; i++)
        if (link->at_place[i].is_placed)
            says(link)->ack(link, i, FAR_SEQ, 0);
    link->has_lied = true;
}

/* --- a turn --- */

static void link_keep(struct phone_link *link)
{
    struct phone       *phone   = link->phone;
    unsigned            channel = channel_of_topic(all_of(phone));
    struct phone_place *place   = &phone->has[channel];

    if (!phone->wants_keep || phone->keep == KEEP_HEARD || !is_current(link) || !one_in(world_of(phone), OF_READERS, 5))
        return;
    phone->keep      = KEEP_ASKED;
    place->has_floor = true;  /* from now on as the server sees it, which may be late: anything may be its first */
    says(link)->keep(link, channel);
}

static void link_speak(struct phone_link *link)
{
    struct world *world = world_of(link->phone);

    if (link->state == LINK_OPENING && link->asked_at < 0)
        link_connect(link);
    if (link->state != LINK_OPEN)
        return;
    if (link->fenced_at >= 0) {
        if (!link->has_lied && one_in(world, OF_READERS, 3))
            link_lie(link);
        return;
    }
    link_keep(link);
    if (one_in(world, OF_READERS, 4))
        link_acknowledge(link);
}

/* The next link comes while this one is there: the phone believes it dead. */
static void link_leave(struct phone_link *link)
{
    struct phone *phone = link->phone;
    struct world *world = world_of(phone);

    if (link->state != LINK_OPEN || other_of(link)->state != LINK_AWAY || one_in(world, OF_READERS, 2)) {
        phone_link_go(link, "as it likes");
        return;
    }
    link->at   = world->now + 1 + (msec)draw(world, OF_READERS, all_of(phone)->roam == NULL ? GHOST_MS_MAX : LONG_GHOST_MS_MAX);
    phone->now = other_of(link) == &phone->links[1];
    phone->at  = world->now + (msec)draw(world, OF_READERS, AWAY_MS_MAX);
}

static void link_turn(struct phone_link *link)
{
    struct world *world = world_of(link->phone);
    enum sim_end  end   = client_link_read(&link->link);

    says(link)->hear(link);
    if (link->state == LINK_AWAY)
        return;
    if (end != SIM_OPEN) {
        phone_link_go(link, end == SIM_RESET ? "it broke" : "it ended");
        return;
    }
    link_speak(link);
    if (link->state == LINK_AWAY)
        return;
    if (link->link.heard_at + PATIENCE_MS < world->now ||
        (link->state != LINK_OPEN && link->opened_at + OPENING_MS < world->now))
        phone_link_go(link, "nothing is heard");
    else if (link->at <= world->now && !is_current(link))
        phone_link_go(link, "it is forgotten");
    else if (link->at <= world->now && !world->is_healing)
        link_leave(link);
}

static void phone_turn(struct phone *phone)
{
    for (unsigned i = 0; i < PHONE_LINKS; i++)
        if (phone->links[i].state != LINK_AWAY)
            link_turn(&phone->links[i]);
    bool is_free = phone->links[0].state == LINK_AWAY || phone->links[1].state == LINK_AWAY;
    if (phone->links[phone->now].state == LINK_AWAY && is_free && phone->at <= world_of(phone)->now &&
        !phone->all->are_leaving)
        phone_come(phone);
}

void phones_turn(struct phones *phones)
{
    for (unsigned i = 0; i < phones->count; i++)
        phone_turn(&phones->at[i]);
}

/* What is kept begins anew, if it is dropped and kept again. */
static bool place_only_rises(const struct phone *phone, unsigned channel)
{
    return phone_follows(phone, channel) && all_of(phone)->roles[channel].role != ROLE_TOPIC;
}

static void phone_check_places(struct phone *phone)
{
    for (unsigned channel = 0; channel < world_of(phone)->channel_count; channel++) {
        bool     is_kept;
        uint64_t stored = place_only_rises(phone, channel) ? stored_place(phone, channel, &is_kept) : 0;
        promise(world_of(phone), stored >= phone->stored[channel],
                "the place of u%u/%s in %s goes back from %" PRIu64 " to %" PRIu64, phone->user, phone->name,
                text_of(phone, channel), phone->stored[channel], stored);
        phone->stored[channel] = stored;
    }
}

void phones_check_places(struct phones *phones)
{
    for (unsigned i = 0; i < phones->count; i++)
        phone_check_places(&phones->at[i]);
}

/* --- all of them --- */

static void phone_init(struct phones *phones, struct phone *phone, unsigned user, unsigned no)
{
    *phone = (struct phone){ .all = phones, .user = user, .no = no };
    snprintf(phone->name, sizeof phone->name, "d%u", no);
    phone->wants_keep = one_in(world_of(phone), OF_PLAN, 2);
    phone->at         = (msec)draw(world_of(phone), OF_PLAN, 4 * AWAY_MS_MAX);
    for (unsigned i = 0; i < PHONE_LINKS; i++) {
        phone->links[i].phone = phone;
        client_link_init(&phone->links[i].link, &phones->all->wire, OF_READERS);
        bin_aliases_init(&phone->links[i].aliases);
    }
}

struct phones *phones_new(struct device_world *all)
{
    struct phones *phones = calloc(1, sizeof *phones);

    must(phones != NULL);
    phones->all   = all;
    phones->count = all->user_count * all->phones_a_user;
    phones->at    = calloc(phones->count, sizeof phones->at[0]);
    must(phones->at != NULL);
    object_reader_init(&phones->objects, &all->wire.world);
    for (unsigned i = 0; i < phones->count; i++)
        phone_init(phones, &phones->at[i], i / all->phones_a_user, i % all->phones_a_user);
    return phones;
}

void phones_free(struct phones *phones)
{
    for (unsigned i = 0; i < phones->count; i++)
        for (unsigned j = 0; j < PHONE_LINKS; j++) {
            client_link_fini(&phones->at[i].links[j].link);
            bin_aliases_fini(&phones->at[i].links[j].aliases);
        }
    object_reader_fini(&phones->objects);
    free(phones->at);
    free(phones);
}

struct phone *phones_at(struct phones *phones, unsigned user, unsigned no)
{
    return &phones->at[user * phones->all->phones_a_user + no];
}

struct phone *phones_draw(struct phones *phones, enum purpose purpose)
{
    return &phones->at[draw(&phones->all->wire.world, purpose, phones->count)];
}

void phones_cut(struct phones *phones, struct loop_range range)
{
    for (unsigned i = 0; i < phones->count; i++)
        for (unsigned j = 0; j < PHONE_LINKS; j++)
            if (loop_is_in(range, phones->at[i].links[j].link.loop))
                phone_link_go(&phones->at[i].links[j], "the node is gone");
}

void phones_leave(struct phones *phones)
{
    phones->are_leaving = true;
    phones_cut(phones, world_loops(&phones->all->wire.world));
}

void phones_come_again(struct phones *phones)
{
    phones_cut(phones, world_loops(&phones->all->wire.world));
}

/* --- after a crash --- */

static void place_crashed(struct phone *phone, unsigned channel)
{
    struct phone_place *place = &phone->has[channel];
    bool                is_kept;
    uint64_t            stored = stored_place(phone, channel, &is_kept);

    if (place->sure > stored)
        place->sure = stored;
    if (all_of(phone)->roam == NULL)
        phone_check_kept(phone, NULL);
}

void phones_crashed(struct phones *phones)
{
    for (unsigned i = 0; i < phones->count; i++)
        for (unsigned channel = 0; channel < phones->all->wire.world.channel_count; channel++)
            if (phone_follows(&phones->at[i], channel) || phones->all->roles[channel].role == ROLE_TOPIC)
                place_crashed(&phones->at[i], channel);
}

/* --- at the end --- */

/* The next seq of the channel that it lacks; 0: none. */
static uint64_t phone_lacks_of(const struct phone *phone, unsigned channel)
{
    const struct phone_place *place = &phone->has[channel];

    if (!phone_follows(phone, channel))
        return 0;
    return truth_next_written(all_of(phone)->truth, phone->user, channel, (place->is_known ? place->seq : place->ceiling) + 1);
}

static bool phone_lacks(const struct phone *phone, unsigned *ret_channel)
{
    for (unsigned i = 0; i < world_of(phone)->channel_count; i++) {
        *ret_channel = i;
        if (phone_lacks_of(phone, i) != 0)
            return true;
    }
    return false;
}

static bool phone_is_there(const struct phone *phone)
{
    return phone->links[phone->now].state == LINK_OPEN && (!phone->wants_keep || phone->keep == KEEP_HEARD);
}

bool phones_have_all(struct phones *phones)
{
    unsigned channel;

    truth_scan(phones->all->truth);
    for (unsigned i = 0; i < phones->count; i++)
        if (!phone_is_there(&phones->at[i]) || phone_lacks(&phones->at[i], &channel))
            return false;
    return true;
}

void phones_check_end(struct phones *phones)
{
    for (unsigned i = 0; i < phones->count; i++) {
        struct phone *phone = &phones->at[i];
        unsigned      channel;
        promise(world_of(phone), phone_is_there(phone), "u%u/%s comes to rest: its link is in state %d, its channel is %d",
                phone->user, phone->name, (int)phone->links[phone->now].state, (int)phone->keep);
        if (phone_lacks(phone, &channel))
            promise_broken(world_of(phone), "everybody has everything: u%u/%s has %" PRIu64 " of %s, and lacks %" PRIu64,
                           phone->user, phone->name, phone->has[channel].seq, text_of(phone, channel),
                           phone_lacks_of(phone, channel));
    }
}
