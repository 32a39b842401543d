/* presence_peer.c - the sets of a channel on other nodes. A node with clients that are told of changes knows who is there on the
 * others, so that they are told of all of them:
 *
 *     node A                                                    node B, with clients that are told
 *      ── news: who came, who left, and what A's set is like ──▶   ten times a second, to the nodes that follow the channel
 *      ◀──── what I know of each node's set; who has another one? ─  when the first client comes; then each 30 s; and if news
 *      ── my whole set, if it is another one ──────────────────▶     do not lead to the set that A says it has
 *
 * A set is compared by the number of its devices and a digest over them. So what is lost is found, and a node that is gone
 * answers nothing: its devices leave. Nothing is told to clients until the first answers have come.
 *
 * news    version 1 | kind 1 | count 8 | digest 8 | changes
 * question  version 1 | kind 1 | of each node that is known: incarnation 8 · count 8 · digest 8
 * answer  incarnation 8 | version 1 | kind 1 | count 8 | digest 8 | the set, as changes; or nothing behind the digest where it is the same
 * change  is there 1 | since 8 | length 1 | transport | length 1 | user | length 1 | device */
#include <stdlib.h>

#include "base/must.h"
#include "device/occupancy.h"
#include "device/presence_priv.h"
#include "device/row_priv.h"
#include "node/peer_question.h"

enum {
    PRESENCE_VERSION     = 1,
    PRESENCE_ASK_MS      = 30000,  /* other nodes are asked once in so long */
    PRESENCE_ASK_SOON_MS = 1000,   /* … and so often if something is wrong */
    PRESENCE_ASKING_MAX  = 32,     /* questions under way */
    PRESENCE_WAIT_MS     = 1000,
};

enum presence_word_kind { PRESENCE_NEWS = 1, PRESENCE_QUESTION, PRESENCE_SAME, PRESENCE_SET };

/* --- bytes ------------------------------------------------------------------------------------------------------ */

static void presence_word_put(struct buf *buf, struct span word)
{
    must(word.len <= UINT8_MAX);
    buf_putc(buf, (char)word.len);
    buf_put(buf, word);
}

static bool presence_word_take(struct span *rest, struct span *ret)
{
    if (rest->len == 0 || (unsigned char)rest->at[0] > rest->len - 1)
        return false;
    *ret  = span_head(span_skip(*rest, 1), (unsigned char)rest->at[0]);
    *rest = span_skip(*rest, 1 + ret->len);
    return true;
}

static bool word_number_take(struct span *rest, uint64_t *ret)
{
    if (rest->len < ROW_NUMBER_BYTES)
        return false;
    *ret  = row_get_number(rest->at);
    *rest = span_skip(*rest, ROW_NUMBER_BYTES);
    return true;
}

static void heard_put(struct buf *buf, const struct presence_member *member, msec since, bool is_there)
{
    buf_putc(buf, (char)is_there);
    row_put_number(buf, (uint64_t)since);
    presence_word_put(buf, span_str(member->transport == NULL ? "" : member->transport));
    presence_word_put(buf, presence_device_user(member->device));
    presence_word_put(buf, presence_device_name(member->device));
}

struct presence_heard {
    struct presence_who who;
    msec                since;
    bool                is_there;
};

/* A transport is one of ours, or unknown: the text outlives the frame. */
static const char *transport_known(struct span text)
{
    static const char *const known[] = { "websocket", "native", "sse", "ndjson", "multipart", "poll", "mqtt" };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (span_eq(text, span_str(known[i])))
            return known[i];
    return "unknown";
}

static bool heard_take(struct span *rest, struct presence_heard *ret)
{
    uint64_t    since;
    struct span transport;

    if (rest->len == 0 || (unsigned char)rest->at[0] > 1)
        return false;
    ret->is_there = rest->at[0] != 0;
    *rest         = span_skip(*rest, 1);
    if (!word_number_take(rest, &since) || !presence_word_take(rest, &transport) || !presence_word_take(rest, &ret->who.user) ||
        !presence_word_take(rest, &ret->who.device) || ret->who.user.len > USER_NAME_BYTES_MAX ||
        ret->who.device.len > DEVICE_NAME_BYTES_MAX)
        return false;
    ret->since         = (msec)since;
    ret->who.transport = transport_known(transport);
    return true;
}

static void set_put(struct buf *buf, enum presence_word_kind kind, const struct presence_set *set)
{
    buf_putc(buf, PRESENCE_VERSION);
    buf_putc(buf, (char)kind);
    row_put_number(buf, set->count);
    row_put_number(buf, set->digest);
}

static bool set_take(struct span *rest, enum presence_word_kind *ret_kind, struct presence_set *ret)
{
    if (rest->len < 2 || rest->at[0] != PRESENCE_VERSION)
        return false;
    *ret_kind = (enum presence_word_kind)rest->at[1];
    *rest     = span_skip(*rest, 2);
    return *ret_kind == PRESENCE_QUESTION || (word_number_take(rest, &ret->count) && word_number_take(rest, &ret->digest));
}

static bool set_eq(const struct presence_set *a, const struct presence_set *b)
{
    return a->count == b->count && a->digest == b->digest;
}

/* --- telling other nodes ---------------------------------------------------------------------------------------- */

void presence_say(struct presence *presence, const struct presence_member *member, bool is_there)
{
    struct presence_channel *channel = member->channel;

    if (presence->writer == NULL)
        channel->local.count += is_there ? 1 : UINT64_MAX;
    else
        presence_set_toggle(&channel->local, member->device, is_there);
    if (presence->occupancies != NULL && channel->local.count == (is_there ? 1 : 0))
        occupancy_note(presence->occupancies, channel->name);
    if (presence->writer == NULL)
        return;
    if (!list_is_linked(&channel->in_saying))
        list_push(&presence->saying, &channel->in_saying);
    if (!channel->is_said_over)
        heard_put(&channel->said, member, presence->wall, is_there);
    if (buf_is_over(&channel->said)) {
        channel->is_said_over = true;
        buf_clear(&channel->said);
    }
}

static void notice_sent(struct peer_question *notice, struct writer *writer)
{
    (void)writer;
    command_free(&notice->command);
}

static void presence_send_news(struct presence *presence, struct presence_channel *channel)
{
    struct peer_question *notice = peer_question_new(PEER_PRESENCE);

    notice->is_notice = true;
    notice->channel   = channel_name_ref(channel->name);
    notice->settled   = notice_sent;
    set_put(&notice->body, PRESENCE_NEWS, &channel->local);
    buf_put(&notice->body, buf_span(&channel->said));
    buf_fini(&channel->said);
    buf_init(&channel->said, PRESENCE_SAID_BYTES_MAX);
    channel->is_said_over = false;
    writer_ask_peers(presence->writer, notice);
}

static void presence_send_all_news(struct presence *presence)
{
    struct list *at;

    while ((at = list_pop(&presence->saying)) != NULL) {
        struct presence_channel *channel = container_of(at, struct presence_channel, in_saying);
        presence_send_news(presence, channel);
        presence_channel_settle(presence, channel);
    }
}

/* --- what is known of other nodes ------------------------------------------------------------------------------- */

static struct presence_peer *presence_peer_find(const struct presence_channel *channel, uint64_t incarnation)
{
    struct presence_peer *peer = channel->peers;

    while (peer != NULL && peer->incarnation != incarnation)
        peer = peer->next;
    return peer;
}

static struct presence_peer *presence_peer_get(struct presence_channel *channel, uint64_t incarnation)
{
    struct presence_peer *peer = presence_peer_find(channel, incarnation);

    if (peer != NULL)
        return peer;
    peer = calloc(1, sizeof *peer);
    must(peer != NULL);
    peer->incarnation = incarnation;
    peer->next        = channel->peers;
    channel->peers    = peer;
    return peer;
}

static void presence_peer_drop(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer)
{
    struct presence_peer **at = &channel->peers;

    presence_remote_drop(presence, channel, peer, 0);
    while (*at != peer)
        at = &(*at)->next;
    *at = peer->next;
    free(peer);
}

void presence_peers_forget(struct presence_channel *channel)
{
    while (channel->peers != NULL) {
        struct presence_peer *peer = channel->peers;
        channel->peers             = peer->next;
        free(peer);
    }
}

static void presence_ask_at(struct presence *presence, struct presence_channel *channel, msec when)
{
    struct list *before;

    channel->asked_at = when;
    list_take(&channel->in_watched);
    before = presence->watched.prev;
    while (before != &presence->watched && container_of(before, struct presence_channel, in_watched)->asked_at > when)
        before = before->prev;
    list_push(before->next, &channel->in_watched);
}

static void presence_ask_soon(struct presence *presence, struct presence_channel *channel)
{
    msec soon = presence->now + PRESENCE_ASK_SOON_MS;

    if (list_is_linked(&channel->in_watched) && channel->asked_at > soon)
        presence_ask_at(presence, channel, soon);
}

static void presence_take_changes(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer,
                                  struct span changes, uint32_t set)
{
    struct presence_heard heard;

    while (heard_take(&changes, &heard)) {
        if (heard.is_there)
            presence_remote_come(presence, channel, peer, &heard.who, heard.since, set);
        else if (set == 0)
            presence_remote_go(presence, channel, peer, &heard.who);
    }
}

static void presence_take_news(struct presence *presence, struct channel_name *name, uint64_t from,
                               const struct presence_set *set, struct span changes)
{
    struct presence_channel *channel = presence_channel_find(presence, name);

    if (channel == NULL || channel->watch_count == 0)
        return;
    struct presence_peer *peer = presence_peer_get(channel, from);
    counter_add(&presence->counters.peer_news, 1);
    presence_take_changes(presence, channel, peer, changes, 0);
    if (!set_eq(&peer->set, set))
        presence_ask_soon(presence, channel);
}

static void presence_take_set(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer,
                              struct span changes)
{
    counter_add(&presence->counters.peer_sets, 1);
    peer->set_number++;
    if (peer->set_number == 0)
        peer->set_number = 1;
    presence_take_changes(presence, channel, peer, changes, peer->set_number);
    presence_remote_drop(presence, channel, peer, peer->set_number);
}

/* --- asking other nodes ----------------------------------------------------------------------------------------- */

struct presence_asking {
    struct list          in_asking;
    struct presence     *presence;
    struct channel_name *name;  /* owns a reference: the channel may be gone when the answer comes */
};

static void presence_asking_free(struct presence_asking *asking)
{
    list_take(&asking->in_asking);
    channel_name_unref(asking->name);
    free(asking);
}

void presence_peers_fini(struct presence *presence)
{
    while (!list_is_empty(&presence->asking))
        presence_asking_free(container_of(presence->asking.next, struct presence_asking, in_asking));
}

/* An answer begins with the incarnation of who answers. */
static void presence_take_answer(struct presence *presence, struct presence_channel *channel, struct span body)
{
    enum presence_word_kind kind;
    struct presence_set     set;
    uint64_t                from;

    if (!word_number_take(&body, &from) || !set_take(&body, &kind, &set))
        return;
    struct presence_peer *peer = presence_peer_get(channel, from);
    peer->is_heard             = true;
    if (kind == PRESENCE_SET)
        presence_take_set(presence, channel, peer, body);
}

/* Who was not asked follows the channel no longer, or is gone. */
static void presence_drop_unheard(struct presence *presence, struct presence_channel *channel)
{
    for (struct presence_peer *peer = channel->peers, *next; peer != NULL; peer = next) {
        next = peer->next;
        if (!peer->is_heard)
            presence_peer_drop(presence, channel, peer);
    }
}

static void presence_answered(struct peer_question *question, struct writer *writer)
{
    struct presence_asking  *asking   = question->owner;
    struct presence         *presence = asking->presence;
    struct presence_channel *channel  = presence_channel_find(presence, asking->name);

    (void)writer;
    presence->asking_count--;
    if (channel != NULL && channel->watch_count > 0) {
        for (struct presence_peer *peer = channel->peers; peer != NULL; peer = peer->next)
            peer->is_heard = false;
        for (const struct peer_answer *answer = question->answers; answer != NULL; answer = answer->next)
            presence_take_answer(presence, channel, span_of(answer->body, answer->len));
        if (question->missing == 0 && !question->is_unsure)
            presence_drop_unheard(presence, channel);
        else
            presence_ask_soon(presence, channel);
        channel->is_syncing = false;
        presence_list_news(presence, channel);
    }
    presence_asking_free(asking);
    command_free(&question->command);
}

static void presence_ask(struct presence *presence, struct presence_channel *channel)
{
    struct presence_asking *asking   = calloc(1, sizeof *asking);
    struct peer_question   *question = peer_question_new(PEER_PRESENCE);

    must(asking != NULL);
    *asking           = (struct presence_asking){ .presence = presence, .name = channel_name_ref(channel->name) };
    list_push(&presence->asking, &asking->in_asking);
    question->channel = channel_name_ref(channel->name);
    question->wait_ms = PRESENCE_WAIT_MS;
    question->settled = presence_answered;
    question->owner   = asking;
    buf_putc(&question->body, PRESENCE_VERSION);
    buf_putc(&question->body, PRESENCE_QUESTION);
    for (const struct presence_peer *peer = channel->peers; peer != NULL; peer = peer->next) {
        row_put_number(&question->body, peer->incarnation);
        row_put_number(&question->body, peer->set.count);
        row_put_number(&question->body, peer->set.digest);
    }
    presence->asking_count++;
    presence_ask_at(presence, channel, presence->now + PRESENCE_ASK_MS);
    writer_ask_peers(presence->writer, question);
}

void presence_peers_begin(struct presence *presence, struct presence_channel *channel)
{
    if (presence->writer == NULL)
        return;
    channel->is_syncing = true;
    presence_ask_at(presence, channel, presence->now);
}

void presence_peers_end(struct presence *presence, struct presence_channel *channel)
{
    list_take(&channel->in_watched);
    channel->is_syncing = false;
    while (channel->peers != NULL)
        presence_peer_drop(presence, channel, channel->peers);
}

void presence_peers_tick(struct presence *presence)
{
    if (presence->writer == NULL)
        return;
    presence_send_all_news(presence);
    while (!list_is_empty(&presence->watched) && presence->asking_count < PRESENCE_ASKING_MAX) {
        struct presence_channel *channel = container_of(presence->watched.next, struct presence_channel, in_watched);
        if (channel->asked_at > presence->now)
            return;
        presence_ask(presence, channel);
    }
}

void presence_compare_now(struct presence *presence)
{
    for (struct list *at = presence->watched.next; at != &presence->watched; at = at->next)
        container_of(at, struct presence_channel, in_watched)->asked_at = presence->now;
}

/* --- being asked ------------------------------------------------------------------------------------------------ */

/* Does the one who asks know the set of this node as it is? */
static bool presence_is_known(const struct presence_channel *channel, uint64_t own, struct span known)
{
    struct presence_set set;
    uint64_t            incarnation;

    while (word_number_take(&known, &incarnation) && word_number_take(&known, &set.count) &&
           word_number_take(&known, &set.digest))
        if (incarnation == own)
            return set_eq(&set, &channel->local);
    return channel->local.count == 0;
}

/* What does not fit is found wrong and asked for again, in vain: docs/limits.md. */
static void presence_put_set(struct buf *answer, const struct presence_channel *channel)
{
    struct buf one;

    buf_init(&one, 1024);
    for (size_t i = 0; i < channel->slot_count; i++) {
        const struct presence_member *member = channel->slots[i].member;
        if (member == NULL || !presence_member_is_local(member))
            continue;
        buf_clear(&one);
        heard_put(&one, member, member->since, true);
        if (answer->len + one.len > PEER_BODY_BYTES_MAX)
            break;
        buf_put(answer, buf_span(&one));
    }
    buf_fini(&one);
}

static void presence_put_answer(const struct presence *presence, struct peer_call *call, struct span known)
{
    static const struct presence_channel empty = { .watch_count = 0 };
    const struct presence_channel *channel = presence_channel_find(presence, call->channel);
    bool                           is_known;

    channel  = channel == NULL ? &empty : channel;
    is_known = presence_is_known(channel, presence->incarnation, known);
    row_put_number(&call->answer, presence->incarnation);
    set_put(&call->answer, is_known ? PRESENCE_SAME : PRESENCE_SET, &channel->local);
    if (!is_known)
        presence_put_set(&call->answer, channel);
}

struct presence_serving {
    struct command    command;
    struct presence  *presence;
    struct peer_call *call;
};

static void presence_serving_free(struct command *command)
{
    struct presence_serving *serving = container_of(command, struct presence_serving, command);

    if (serving->call != NULL)
        command_free(&serving->call->command);
    free(serving);
}

static void presence_serve(struct command *command, struct writer *writer)
{
    struct presence_serving *serving = container_of(command, struct presence_serving, command);
    struct peer_call        *call    = serving->call;
    struct span              body    = buf_span(&call->body);
    enum presence_word_kind  kind;
    struct presence_set      set;

    if (call->channel == NULL || !set_take(&body, &kind, &set))
        call->is_unknown = true;
    else if (kind == PRESENCE_NEWS)
        presence_take_news(serving->presence, call->channel, call->from_incarnation, &set, body);
    else if (kind == PRESENCE_QUESTION)
        presence_put_answer(serving->presence, call, body);
    else
        call->is_unknown = true;
    serving->call = NULL;
    writer_answer_peer(writer, call);
    command_free(command);
}

static const struct command_kind presence_serving_kind = {
    .name = "presence of another node", .free = presence_serving_free, .at_writer = presence_serve,
};

void shard_serve_presence(struct shard *shard, struct presence *presence, struct peer_call *call)
{
    struct presence_serving *serving = calloc(1, sizeof *serving);

    must(serving != NULL);
    *serving = (struct presence_serving){ { .kind = &presence_serving_kind }, presence, call };
    shard_send_own(shard, &serving->command);
}
