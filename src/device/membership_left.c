/* membership_left.c - the notice is: version 1 | length 1 | user:U | length 1 | group:G */
#include "device/membership_left.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/peer_question.h"
#include "node/shard.h"

enum { LEFT_VERSION = 1 };

/* --- the loops of this node ------------------------------------------------------------------------------------- */

struct membership_left {
    struct command       command;
    struct channel_name *user, *group;  /* owns a reference each */
    struct peer_call    *call;          /* on its way to the writer: the notice that brought it */
};

static void left_free(struct command *command)
{
    struct membership_left *left = container_of(command, struct membership_left, command);

    channel_name_unref(left->user);
    channel_name_unref(left->group);
    if (left->call != NULL)
        command_free(&left->call->command);
    free(left);
}

static void left_at_loop(struct command *command, struct shard *shard)
{
    struct membership_left *left = container_of(command, struct membership_left, command);

    if (shard->port->left != NULL)
        shard->port->left(shard->ctx, left->user, left->group);
    command_free(command);
}

static void left_at_writer(struct command *command, struct writer *writer);

static const struct command_kind membership_left_kind = {
    .name = "membership left", .free = left_free, .at_loop = left_at_loop, .at_writer = left_at_writer,
};

static struct membership_left *left_new(struct channel_name *user, struct channel_name *group)
{
    struct membership_left *left = calloc(1, sizeof *left);

    must(left != NULL);
    left->command.kind = &membership_left_kind;
    left->user         = channel_name_ref(user);
    left->group        = channel_name_ref(group);
    return left;
}

static void left_tell_loops(struct writer *writer, struct channel_name *user, struct channel_name *group)
{
    for (unsigned loop = 0; loop < writer->loop_count; loop++) {
        struct membership_left *left = left_new(user, group);
        left->command.loop           = loop;
        writer->port->send(writer->ctx, loop, &left->command);
    }
}

static void left_at_writer(struct command *command, struct writer *writer)
{
    struct membership_left *left = container_of(command, struct membership_left, command);

    left_tell_loops(writer, left->user, left->group);
    writer_answer_peer(writer, left->call);
    left->call = NULL;
    command_free(command);
}

/* --- other nodes ------------------------------------------------------------------------------------------------ */

static void left_put_name(struct buf *buf, const struct channel_name *name)
{
    buf_putc(buf, (char)name->len);
    buf_put(buf, channel_name_span(name));
}

static void left_told(struct peer_question *question, struct writer *writer)
{
    (void)writer;
    command_free(&question->command);
}

static void left_tell_nodes(struct writer *writer, struct channel_name *user, struct channel_name *group)
{
    struct peer_question *notice = peer_question_new(PEER_LEFT);

    notice->is_notice = true;
    notice->settled   = left_told;
    buf_putc(&notice->body, LEFT_VERSION);
    left_put_name(&notice->body, user);
    left_put_name(&notice->body, group);
    writer_ask_peers(writer, notice);
}

void membership_left_tell(struct writer *writer, struct channel_name *user, struct channel_name *group)
{
    left_tell_loops(writer, user, group);
    if (writer->cluster != NULL)
        left_tell_nodes(writer, user, group);
}

static struct channel_name *left_take_name(struct span *rest, struct namespaces *namespaces, const struct hash_key *hash_key)
{
    struct channel_name *name = NULL;
    size_t               len  = rest->len == 0 ? 0 : (unsigned char)rest->at[0];

    if (rest->len == 0 || len > rest->len - 1 ||
        channel_name_new(namespaces, hash_key, span_head(span_skip(*rest, 1), len), &name) != CHANNEL_NAME_OK)
        return NULL;
    *rest = span_skip(*rest, 1 + len);
    return name;
}

/* NULL: it can't be read. */
static struct membership_left *left_read(struct span body, struct namespaces *namespaces, const struct hash_key *hash_key)
{
    struct membership_left *left = NULL;

    if (body.len == 0 || body.at[0] != LEFT_VERSION)
        return NULL;
    body = span_skip(body, 1);
    struct channel_name *user  = left_take_name(&body, namespaces, hash_key);
    struct channel_name *group = user == NULL ? NULL : left_take_name(&body, namespaces, hash_key);
    if (group != NULL)
        left = left_new(user, group);
    channel_name_unref(user);
    channel_name_unref(group);
    return left;
}

void shard_serve_left(struct shard *shard, struct namespaces *namespaces, const struct hash_key *hash_key,
                      struct peer_call *call)
{
    struct membership_left *left = left_read(buf_span(&call->body), namespaces, hash_key);

    if (left == NULL) {
        call->is_unknown = true;
        peer_call_answer(shard, call);
        return;
    }
    left->call = call;
    shard_send_own(shard, &left->command);
}
